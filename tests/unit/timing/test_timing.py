"""The examples of a timing pass, and the passes that are stored."""

import itertools
import logging
from types import SimpleNamespace

import numpy as np
import pytest
from simulated import SETTINGS, mark
from stores import contender, evaluation, timing, trial, with_call, write
from typer.testing import CliRunner

from lotbench import cli, engine, machine
from lotbench.backends import TORCH
from lotbench.budget import Budget
from lotbench.config.sections import MeasureConfig
from lotbench.data.tokens import Split
from lotbench.errors import InputError, PassFailed
from lotbench.lot import LeapOfThought
from lotbench.measure import protocol
from lotbench.measure.calls import chunks
from lotbench.measure.spec import Entry, Example, PassSpec
from lotbench.store.files import write_json
from lotbench.store.passes import TimingPass
from lotbench.store.rows import Trial
from lotbench.store.store import Store
from lotbench.timing import prepare, run, select
from lotbench.timing.prepare import of_queries, pick
from lotbench.timing.run import time_models


def split(lengths) -> Split:
    """A split of these lengths; each text's seed is its row."""
    rows = [[2] * length for length in lengths]
    count = len(rows)
    return Split(rows, rows, np.zeros(count, np.int64), np.arange(count), [("",)] * count)


def lengths(examples) -> list[int]:
    return [len(example.input_ids) for example in examples]


# 100 texts of 1 to 100 tokens, in an order that sorting has to mend.
HUNDRED = split((37 * np.arange(100)) % 100 + 1)


def test_two_runs_are_at_the_quarters_of_the_split():
    # Centres at 25 and 75 of 100, runs of 10: positions 20 to 29 and 70 to 79.
    assert lengths(pick(HUNDRED, 20, 10)) == [*range(21, 31), *range(71, 81)]


@pytest.mark.parametrize("size", [1, 2, 5, 10])
def test_batches_of_a_size_that_divides_the_run_hold_neighbours_alone(size):
    for batch in chunks(pick(HUNDRED, 30, 10), size):  # as the worker cuts them
        found = lengths(batch)
        assert found == list(range(found[0], found[0] + size))


@pytest.mark.parametrize(
    ("count", "run", "runs", "longest"),
    [
        (15, 10, 2, 80),  # rounded up to whole runs
        (100, 10, 10, 100),  # all of it
        (95, 30, 3, 98),  # four runs of 30 are more than there are
        (500, 30, 3, 98),
    ],
)
def test_the_number_of_whole_runs_is_as_requested_or_as_available(count, run, runs, longest):
    found = lengths(pick(HUNDRED, count, run))
    assert len(found) == len(set(found)) == runs * run
    assert found == sorted(found) and found[-1] == longest


def test_a_batch_is_whole_however_few_examples_are_asked_for():
    # The 8 neighbours around the median.
    assert lengths(pick(HUNDRED, 4, 8)) == [*range(47, 55)]
    assert lengths(pick(split([5, 3, 9]), 64, 32)) == [3, 5, 9]


def test_a_call_of_a_ranking_has_passages_of_one_query():
    ranked = split([9, 5, 7, 2, 30, 3, 20, 8, 1])
    ranked.groups = np.array([0, 1, 0, 1, 2, 3, 2, 0, 1])
    # Query 3 has one passage. Of two runs of three queries, the least and the most tokens.
    assert lengths(of_queries(ranked, 4, 2)) == [2, 5, 20, 30]
    assert lengths(of_queries(ranked, 1, 3)) == [7, 8, 9]
    with pytest.raises(InputError, match="no query has 4 passages; the most is 3"):
        of_queries(ranked, 4, 4)
    with pytest.raises(InputError, match="only a ranking has queries"):
        of_queries(HUNDRED, 4, 4)


def test_an_example_keeps_its_text_seed():
    (example,) = pick(split([7, 3, 5]), 1, 1)
    assert example == Example([2] * 5, [2] * 5, text_seed=2, text=("",))


def ready(store, selection, config, folder, plugins):
    """A pass over all that is selected in each setting, without graphs and scores."""
    dense, examples = [Entry("dense", None, "dense")], [Example([2], [0])] * 32
    sizes, more = selection.batch_sizes, SETTINGS | {"plugins": plugins}
    task = selection.trials[0].task
    return [
        PassSpec(
            task, setting, dense, entries, examples, selection.picked, "dense", 128, sizes, **more
        )
        for setting, entries in selection.entries.items()
    ], SimpleNamespace(failed=[])


@pytest.fixture
def passes(monkeypatch):
    """The specs of the passes that are run; they have no records."""
    specs = []
    monkeypatch.setattr(run, "run_pass", lambda spec: specs.append(spec) or ([], {}))
    return specs


@pytest.fixture
def timed_store(tmp_path, monkeypatch):
    """A store with one model, whose passes are steady at batch 1 and noisy at batch 32."""
    sweep = {"name": "toy", "backbone": "tiny", "tasks": {"sst2": None}, "methods": {"lot": None}}
    write_json(tmp_path / "sweep.json", sweep)
    config = {"backbone": "tiny", "task": "toy", "teacher": {}, "method": "lot"}
    for name, version in (("a", LeapOfThought.version), ("old", LeapOfThought.version - 1)):
        card = {"method": "lot", "version": version, "plugins": [], "params": {}}
        card |= {"n_labels": 2, "max_length": 128}
        write_json(tmp_path / "models" / name / "lotbench.json", card)
        row = trial(name, "lot", [evaluation(0.9, 2.0)], model=f"models/{name}", config=config)
        write(tmp_path, row)

    rows = [contender("dense", 1.0), contender("a", 1.8, "a")]
    steady = timing("steady", "2025-01-01", rows, batch_size=1, processes=1)
    call = with_call(contender("b", 1.8), 1.8, 0.01)
    call["call"]["noisy"] = True
    noisy = timing("noisy", "2025-01-02", [rows[0], rows[1] | {"noisy": True}, call])
    records = [TimingPass.model_validate(each) for each in (steady, noisy)]
    monkeypatch.setattr(run, "run_pass", lambda _: (records, {}))
    monkeypatch.setattr(run, "prepare", ready)
    monkeypatch.setattr(run, "narrowed", lambda spec, _: spec)
    monkeypatch.setattr(select.backends, "chosen", lambda *_: [TORCH])
    monkeypatch.setattr(select, "dense_rate", lambda *_: 1e9)
    monkeypatch.setenv("LOTBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path


def test_measure_imports_only_the_plugins_that_the_caller_names(
    timed_store, tmp_path, caplog, passes
):
    plugin = tmp_path / "a_plugin_to_time.py"
    plugin.write_text(
        "from pathlib import Path\n"
        "from lotbench.reducer import TokenReducer\n"
        "Path(__file__).with_suffix('.imported').touch()\n"
        "class M(TokenReducer):\n    name = 'method-to-time'\n"
    )
    write_json(
        timed_store / "models" / "a" / "lotbench.json",
        {"method": "method-to-time", "version": 1, "plugins": [str(plugin)], "params": {}}
        | {"n_labels": 2, "max_length": 128},
    )
    store = Store(timed_store)
    time_models(store, MeasureConfig(), again=True)
    assert (
        "'method-to-time' is not installed" in caplog.text and f"--plugin {plugin}" in caplog.text
    )
    assert not passes and not plugin.with_suffix(".imported").exists()
    time_models(store, MeasureConfig(), again=True, plugins=[str(plugin)])
    assert [each.trial_id for each in passes[0].entries] == ["a"]
    assert passes[0].plugins == [str(plugin)]
    with pytest.raises(InputError, match=r"absent\.py"):
        time_models(store, MeasureConfig(), again=True, plugins=["absent.py"])


@pytest.mark.parametrize(
    ("options", "code", "stored"), [([], 0, ["steady", "noisy"]), (["--strict"], 1, ["steady"])]
)
@pytest.mark.slow
def test_strict_stores_the_passes_that_are_not_noisy(timed_store, options, code, stored, caplog):
    done = CliRunner().invoke(cli.app, ["measure", str(timed_store), *options])
    assert done.exit_code == code, done.output
    assert [record.pass_id for record in Store(timed_store).timings()] == stored
    said = "2 timing passes added" if len(stored) == 2 else "1 timing pass added"
    assert said in done.output
    complaint = "noisy, not stored: toy, cpu-1t-b32: torch-fp32: a, torch-fp32: b\n"
    assert (complaint in done.output) is bool(options)
    assert ("raise rounds" in done.output) is bool(options)
    (old,) = [line for line in caplog.messages if "not timed" in line]
    assert "models/old" in old
    assert len([line for line in caplog.messages if "timed by one process" in line]) == 1


def test_models_are_timed_against_dense_of_their_own_backbone_alone(timed_store, passes, caplog):
    other = {"backbone": "huge", "task": "toy", "teacher": {}, "method": "lot"}
    row = trial("b", "lot", [evaluation(0.9, 2.0)], model="models/a", config=other)
    write(timed_store, row)
    for each in Store(timed_store).trials():
        row = each.content()
        row["evaluations"][0]["examples"] = 5
        write(timed_store, row)
    caplog.set_level(logging.INFO)
    time_models(Store(timed_store), MeasureConfig(batch_sizes=[1, 5, 8]))
    # Five texts fill no batch of eight.
    (whole,) = [line for line in caplog.messages if line.startswith("timing: about ")]
    assert whole.endswith(" in all")
    found = [([each.name for each in spec.entries], spec.batch_sizes) for spec in passes]
    assert sorted(found) == [(["a"], [1, 5]), (["b"], [1, 5])]
    assert "toy: 5 texts are too few for a batch of 8" in caplog.messages
    passes.clear()
    time_models(Store(timed_store), MeasureConfig(batch_sizes=[8]))
    assert passes == []


def test_of_a_search_the_confirmed_choices_alone_are_timed(timed_store, passes):
    row = Store(timed_store).trial("a").content()
    for name, seed, part in (("s", 10, "search"), ("c", 0, "confirmation"), ("o", 1, "superseded")):
        own = row | {"trial_id": name, "seed": seed, "search": mark(0, part=part)}
        own["evaluations"] = [evaluation(0.9, 2.0, target=8.0 if part == "search" else 2.0)]
        write(timed_store, own)
    time_models(Store(timed_store), MeasureConfig(batch_sizes=[8]))
    assert {each.trial_id for spec in passes for each in spec.entries} == {"a", "c"}
    with pytest.raises(InputError, match="8 is not a target"):
        select.check_targets(Store(timed_store), MeasureConfig(targets=[8]))


def test_only_the_targets_asked_for_are_timed(timed_store, passes, caplog):
    row = Store(timed_store).trial("a").content()
    points = {2: 0.5, 4: 0.7, 8: 0.9}
    row["evaluations"] = [
        evaluation(0.9, target, {"threshold": budget}, target=target)
        for target, budget in points.items()
    ]
    write(timed_store, row)
    caplog.set_level(logging.INFO)
    time_models(Store(timed_store), MeasureConfig(batch_sizes=[8], targets=[2, 8]))
    assert "timing toy, seed 0, on cpu: 2 models, 1 backend: about " in caplog.text
    time_models(Store(timed_store), MeasureConfig(batch_sizes=[8]))
    timed = [[each.budget.value for each in spec.entries] for spec in passes]
    assert timed == [[0.5, 0.9], [0.5, 0.7, 0.9]]
    dry = CliRunner().invoke(cli.app, ["measure", str(timed_store), "--dry-run"])
    assert "toy, seed 0, on cpu: 3 models, 1 backend: about " in dry.output
    assert len(passes) == 2 and not Store(timed_store).timings()
    wrong = CliRunner().invoke(cli.app, ["measure", str(timed_store), "--set", "targets=[3]"])
    assert "3 is not a target of the trials" in str(wrong.exception)
    assert str(wrong.exception).endswith("(known: 2, 4, 8)")


@pytest.mark.slow
def test_a_model_that_cannot_be_timed_does_not_stop_the_others(timed_store, monkeypatch, caplog):
    """A worker that dies ends its own pass; a contender that raises is named."""
    config = {"backbone": "tiny", "task": "other", "teacher": {}, "method": "lot"}
    row = trial("b", "lot", [evaluation(0.9, 2.0)], model="models/a", config=config, task="other")
    write(timed_store, row)
    row = trial("c", "dense", [evaluation(0.9, 1.0)], seed=1, config=config | {"task": "toy"})
    write(timed_store, row)

    def timed(spec):
        if (spec.task, spec.setting.threads) == ("other", 2):
            raise PassFailed("its last lines: killed")
        rows = [contender("dense", 1.0), contender("a", 1.8, "a")]
        record = timing(f"{spec.task}-{spec.setting.threads}-{next(count)}", "2025-01-01", rows)
        broken = {"a k=3": "RuntimeError: no"} if spec.task == "toy" else {}
        return [TimingPass.model_validate(record)], broken

    count = itertools.count()
    monkeypatch.setattr(run, "run_pass", timed)
    caplog.set_level(logging.INFO)
    block = MeasureConfig(batch_sizes=[32], threads=[2, 1])
    done = time_models(Store(timed_store), block)
    stored = {record.pass_id: record for record in Store(timed_store).timings()}
    assert sorted(stored) == ["other-1-0", "toy-1-2", "toy-2-1"] and done.written == 3
    assert not any("broken" in record.content() for record in stored.values())
    assert done.failed == [
        "its last lines: killed",
        *["toy, cpu-1t-b32: a k=3: RuntimeError: no"] * 2,
    ]
    assert "toy, seed 1: nothing but dense, so there is nothing to time" in caplog.messages
    printed = CliRunner().invoke(cli.app, ["measure", str(timed_store), "--set", "threads=[2]"])
    assert printed.exit_code == 1 and "failed: its last lines: killed" in printed.output


def test_a_stored_configuration_that_cannot_be_read_is_named(timed_store):
    row = Store(timed_store).trial("a").content()
    row["config"]["rounds"] = 3
    write(timed_store, row)
    with pytest.raises(InputError, match=r"^trials/a\.json: config\.rounds: unknown key"):
        time_models(Store(timed_store), MeasureConfig())


def test_a_pass_on_another_machine_does_not_count(timed_store, passes):
    picked = {"examples": 64, "run": 32}
    here = {"device_name": select.device_name("cpu"), "picked": picked}
    origin = {"machine": machine.record(), "versions": machine.versions()}
    origin |= {"protocol": protocol.VERSION, "engine": engine.VERSION}

    def again(name, created, setting, **origin):
        rows = [contender("a", 1.8, "a", backend=TORCH)]
        record = timing(name, created, rows, backends=[TORCH], **setting) | origin
        write(timed_store, record)
        passes.clear()
        time_models(Store(timed_store), MeasureConfig(batch_sizes=[32]))
        return len(passes)

    assert again("a", "2025-01-01", here | {"device_name": "elsewhere"}, **origin) == 1
    assert again("b", "2025-01-02", here | {"picked": {"examples": 96, "run": 32}}, **origin) == 1
    for library in ("torch", "transformers"):
        other = {"versions": machine.versions() | {library: "0.1"}}
        assert again(f"c-{library}", "2025-01-03", here, **origin | other) == 1
    assert again("d", "2025-01-04", here, **origin | {"machine": {"cpu_id": "0-0-0"}}) == 1
    for version in ("protocol", "engine"):
        assert again(f"d-{version}", "2025-01-04", here, **origin | {version: 0}) == 1
    assert again("e", "2025-01-05", here, **origin) == 0
    # What a newer pass of another machine has superseded is timed anew.
    assert again("f", "2025-01-06", here | {"device_name": "elsewhere"}, **origin) == 1


def test_models_are_not_timed_on_changed_data(tmp_path, monkeypatch):
    config = {"backbone": "tiny", "task": "toy", "teacher": {}, "method": "lot"}
    row = trial("a", "lot", [evaluation(0.9, 2.0)], config=config)
    row["data"]["fingerprint"] = "old"
    changed = Trial.model_validate(row)
    monkeypatch.setattr(prepare, "load_tokenizer", lambda _: None)
    task = SimpleNamespace(name="toy", fingerprint="new")
    monkeypatch.setattr(prepare, "task_of", lambda *_: task)
    with pytest.raises(InputError, match="the data of toy is no longer what its trials"):
        prepare._open(Store(tmp_path), SimpleNamespace(trials=[changed]))


def test_timed_texts_are_cut_where_the_scored_ones_are(timed_store, monkeypatch):
    row = Store(timed_store).trial("a").content()
    row["config"] |= {"data": {"max_length": 16}, "evaluate": {"max_length": 64}}
    task = SimpleNamespace(asks_dense=False)
    teacher = SimpleNamespace(teacher=timed_store, key="teacher")
    monkeypatch.setattr(prepare, "load_tokenizer", lambda _: None)
    monkeypatch.setattr(prepare, "task_of", lambda *_: task)
    monkeypatch.setattr(prepare, "check_data", lambda *_: None)
    monkeypatch.setattr(prepare, "Artefacts", lambda *_: teacher)
    selection = SimpleNamespace(trials=[Trial.model_validate(row)])
    assert prepare._open(Store(timed_store), selection)[1] == 64


def test_a_graph_at_a_fixed_budget_serves_no_other_budget(tmp_path, monkeypatch):
    def load(entry: Entry, plugins: object) -> SimpleNamespace:
        return SimpleNamespace(reducer=SimpleNamespace(budget="trained"))

    def export(encoder: SimpleNamespace) -> SimpleNamespace:
        content = str(encoder.reducer.budget).encode()
        return SimpleNamespace(model=SimpleNamespace(SerializeToString=lambda: content), fixed="k")

    monkeypatch.setattr(prepare, "load_engine", load)
    monkeypatch.setattr(prepare, "export", export)
    model = tmp_path / "model"
    write_json(model / "lotbench.json", {})
    entries = [
        Entry("t k=1", "t", str(model), Budget("k", 1), "onnx-fp32"),
        Entry("t", "t", str(model), None, "onnx-fp32"),
        Entry("t k=2", "t", str(model), Budget("k", 2), "onnx-fp32"),
    ]
    prepared = prepare.Preparation(None, tmp_path, [])
    graphs = [prepared._graph(each) for each in entries * 2]
    assert [path.read_text() for path in graphs] == ["1", "trained", "2"] * 2
    assert len(set(graphs)) == 3
    # That of an interrupted pass serves no other model.
    write_json(model / "lotbench.json", {"changed": 1})
    assert prepared._graph(entries[0]) not in graphs


def test_a_record_does_not_name_the_folder_of_graphs(tmp_path):
    def refuse(entry: Entry):
        raise InputError(f"{tmp_path}/graphs/1a.onnx: onnx-fp32 cannot load it")

    scorer = SimpleNamespace(task=SimpleNamespace(name="t"), scores=refuse)
    prepared = prepare.Preparation(scorer, tmp_path / "graphs", [])
    entry = Entry("t", "trial", "model", None, "onnx-fp32")
    assert prepared.scored(entry) is None
    assert [own.why for own in prepared.unable] == ["1a.onnx: onnx-fp32 cannot load it"]
