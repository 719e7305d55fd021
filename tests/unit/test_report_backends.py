"""A pass over backends in tables, figures and the page; and an older pass beside it."""

import pytest
from stores import contender, evaluation, in_backend, over_backends, shares, timing, trial, write

from lotbench.audit import audit
from lotbench.report import plots, words
from lotbench.report.breakdown import time_points
from lotbench.report.content import read
from lotbench.report.html import page
from lotbench.report.panels import note_on_timings, timed_on
from lotbench.report.pareto import backends_of, settings_of
from lotbench.report.rows import PLUS_MINUS, point_table
from lotbench.store.frame import frame
from lotbench.store.records import TimingPass
from lotbench.store.store import Store

LABEL = "cpu-1t-b32"


@pytest.fixture
def store(tmp_path):
    """lot is fastest in int8, where it loses too much, and next in bf16."""
    write(tmp_path, trial("d", "dense", [evaluation(0.90, 1.0)]))
    write(tmp_path, trial("a", "lot", [evaluation(0.89, 2.0)]))
    rows = []
    for backend, change, same, best, seconds in (
        ("torch-fp32", 0.0, 1.6, 0.4, 0.5),
        ("openvino-bf16", -0.004, 2.0, 2.5, 0.1),
        ("onnx-int8", -0.02, 3.0, 4.0, 0.05),
    ):
        own = {} if backend == "torch-fp32" else {"time_shares": None}
        rows.append(in_backend("dense", backend, 1.0, best / same, change, seconds * same, **own))
        rows.append(in_backend("a", backend, same, best, change, seconds, trial_id="a", **own))
    write(tmp_path, over_backends("t", "2025-01-01", rows))
    return tmp_path


def test_tables_name_both_ratios_and_the_backend(store):
    content = read(store)
    table = point_table("toy", content.rows, content.references["toy"], {})
    assert table.columns[-3:] == [f"{LABEL} x best", f"{LABEL} x same", f"{LABEL} backend"]
    rows = {row[0].removesuffix(" *"): row[-3:] for group in table.groups for row in group}
    # The helper's intervals are 0.2 and 0.1 either way, and x best is noisy.
    assert rows["LoT (ours)"] == [
        f"!2.50 {PLUS_MINUS}0.20",
        f"2.00 {PLUS_MINUS}0.10",
        "openvino-bf16",
    ]
    assert any(note.startswith("x best: in the backend") for note in table.notes)


def test_a_setting_is_one_panel_and_shares_are_those_of_torch(store):
    rows = read(store).rows
    assert settings_of(rows) == [LABEL]
    assert backends_of(rows) == [
        f"{LABEL}-{name}" for name in ("onnx-int8", "openvino-bf16", "torch-fp32")
    ]
    assert "(x best)" in note_on_timings(rows)
    assert timed_on(rows, {LABEL: {"Abacus 9000"}}) == "Abacus 9000, 1 thread"
    (share,) = {name for name in time_points(rows) if str(name).endswith(".share.attention")}
    assert share == f"real.{LABEL}-torch-fp32.share.attention"
    assert words.timing_setting(LABEL) == "CPU, 1 thread, batch 32"
    assert words.timing_setting(f"{LABEL}-onnx-int8") == "CPU, 1 thread, batch 32, onnx-int8"
    assert words.timing_setting(f"{LABEL}-fp32") == "CPU, 1 thread, batch 32, fp32"


@pytest.mark.slow
def test_figures_and_page_are_made(store, tmp_path):
    write(store, timing("old", "2024-01-01", [contender("a", 1.7, "a", time_shares=shares())]))
    names = {path.name for path in plots.draw(store)}
    assert {"toy-accuracy-vs-real.png", "toy-real-vs-flops.png", "toy-time-shares.png"} <= names
    page.write([store], tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    assert "CPU, 1 thread, batch 32, x best" in text and "in openvino-bf16" in text
    assert "CPU, 1 thread, batch 32, fp32" in text


def test_a_model_that_holds_its_score_nowhere_has_no_best(store):
    rows = [
        in_backend("dense", "onnx-int8", 1.0, None, -0.1, 0.2),
        in_backend("a", "onnx-int8", 2.0, None, -0.1, 0.1, trial_id="a"),
    ]
    write(store, over_backends("u", "2025-01-02", rows))
    content = read(store)
    assert settings_of(content.rows) == [] and len(backends_of(content.rows)) == 1
    table = point_table("toy", content.rows, content.references["toy"], {})
    assert not any("x best" in name for name in table.columns)


def test_passes_of_an_older_version_are_read_as_they_were(tmp_path):
    """Of one backend, in float32, with one speed-up."""
    write(tmp_path, trial("d", "dense", [evaluation(0.90, 1.0)]))
    write(tmp_path, trial("a", "lot", [evaluation(0.89, 2.0)]))
    rows = [contender("dense", 1.0, "d"), contender("lot", 1.8, "a")]
    write(tmp_path, timing("p", "2025-01-01", rows))
    (own,) = Store(tmp_path).timings()
    assert own.setting.backends is None
    assert {own.backend(each) for each in own.contenders} == {"torch-fp32"}
    table = frame(tmp_path)
    assert table.set_index("method")["real.cpu-1t-b32-fp32"].to_dict() == {"dense": 1.0, "lot": 1.8}
    assert not any(name.endswith(".backend") for name in table)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda own: own.update(best="onnx-int8"), "best: dense in onnx-int8 does not hold"),
        (lambda own: own.update(best="compile-fp32"), "best: compile-fp32 has no dense model"),
        (
            lambda own: own["contenders"][1].update(
                speedup_best={"median": 3.0, "low": 2.9, "high": 3.1, "flagged": False}
                | {"noisy": False}
            ),
            "contenders.1.speedup_best.median: 3, but the samples give 2",
        ),
        (
            lambda own: own["contenders"][1]["scores"]["validation"].update(score=0.91),
            "contenders.1.scores.validation.score: less change 0.91, the row has 0.75",
        ),
        (
            lambda own: own["contenders"][3]["scores"]["validation"].update(flips=0),
            "contenders.3.scores.validation.flips: 0 texts, but 1 changed the score",
        ),
    ],
)
def test_validate_finds_what_does_not_add_up_in_a_pass_over_backends(tmp_path, change, fault):
    row = evaluation(0.75, 2.0, predictions="0110", examples=4)
    write(tmp_path, trial("a", "lot", [row]))
    rows = []
    for backend, seconds, lost in (("torch-fp32", 4.0, 0.0), ("onnx-int8", 1.0, 0.25)):
        dense = in_backend("dense", backend, 1.0, None, 0.0, seconds, samples=[seconds] * 2)
        own = in_backend("a", backend, 2.0, None, 0.0, 2 * seconds, trial_id="a")
        own["samples"] = [seconds / 2] * 2
        for each in (dense, own):
            score = {"score": 0.75 - lost, "change": -lost, "flips": round(4 * lost)}
            each["scores"] = {"selection": dict(score), "validation": dict(score)}
            ratio = 4.0 / each["samples"][0]
            if each["backend"] == "torch-fp32":
                each["speedup_best"] = {"median": ratio, "low": ratio, "high": ratio}
                each["speedup_best"] |= {"flagged": False, "noisy": False}
            each["speedup_padded"] = each["speedup"]
        rows += [dense, own]
    names = {"torch-fp32": "dense", "onnx-int8": "dense"}
    record = over_backends("t", "2025-01-01", rows, examples=None)
    record |= {"fastest": names, "best": "torch-fp32"}
    record["setting"]["backends"] = list(names)

    def found():
        return [
            f"{own.key}: {own.message}"
            for own in audit(tmp_path).faults
            if own.file == "timings/t.json" and own.key.startswith(("best", "contenders"))
        ]

    TimingPass.model_validate(record)
    write(tmp_path, record)
    assert found() == []
    change(record)
    (tmp_path / "timings" / "t.json").unlink()
    write(tmp_path, record)
    assert any(each.startswith(fault) for each in found()), found()
