"""A pass over several backends in figures and on the page."""

import pytest
from stores import evaluation, in_backend, over_backends, trial, with_call, write

from lotbench.report.figures import base, front, speed, time_shares
from lotbench.report.figures.draw import missing
from lotbench.report.tables.backends import backends
from lotbench.report.tables.clock import real_speedups
from lotbench.report.tables.models import models
from lotbench.report.text import NONE
from lotbench.statistics.store_view import StoreView
from lotbench.statistics.timed import Where

WHERE = Where("cpu", 1, 32)


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


def drawn(study, where):
    """The mark of Leap-of-Thought over real speed, and what a page tells of it."""
    models = [own for own in study.validated("toy") if where in own.timed]
    shown = front.Front(study, "toy", models, where).shown
    (mark,) = [own for own in shown if own.model.method == "LoT (ours)"]
    return mark.x, base.tip(mark.model)


def row(study):
    """The speeds of Leap-of-Thought in the table of all models, by timing setting."""
    table = models("toy", study)
    (cells,) = [row for group in table.groups for row in group if row[0].startswith("LoT")]
    lines = zip(table.columns, map(str.splitlines, cells), strict=True)
    return {name: cell for name, cell in lines if name.startswith("CPU")}


def test_a_model_is_shown_in_its_best_backend(store):
    study = StoreView(store)
    (model,) = [own for own in study.validated("toy") if own.method != "dense"]
    # The helper's intervals are 0.2 and 0.1 either way, and x best is noisy.
    speedup, tip = drawn(study, WHERE)
    assert tuple(speedup) == (2.5, 2.3, 2.7)
    assert tip["CPU, 1 thread, batch 32"] == "2.5\u00d7 (2.3 to 2.7), noisy, in openvino-bf16"
    assert tip["CPU, 1 thread, batch 32, same backend"] == "2.0\u00d7 (1.9 to 2.1)"
    assert "of any backend" in real_speedups([model], [WHERE])
    # Calls were not timed.
    assert real_speedups([model], [WHERE]).startswith("The encoder alone")
    assert base.real_axis([model], WHERE) == "Speed-up of the encoder (log scale)"
    lines = ["!2.5 \u00b10.2", "same backend 2.0 \u00b10.1", "openvino-bf16"]
    assert row(study) == {"CPU, 1 thread, batch 32": lines}


def test_a_model_that_no_timed_backend_holds_is_named(store):
    write(store, trial("b", "ltp", [evaluation(0.80, 3.0)]))
    rows = [
        in_backend("dense", "onnx-int8", 1.0, 1.0, 0.0, 0.1),
        in_backend("b", "onnx-int8", 3.0, 4.0, -0.02, 0.05, trial_id="b"),
    ]
    write(store, over_backends("later", "2025-01-02", rows))
    table = models("toy", StoreView(store))
    assert table.groups[1][0][:1] + table.groups[1][0][-1:] == ["LTP *", NONE]
    (note,) = [own for own in table.notes if own.startswith("not timed")]
    assert note == "not timed where every backend costs more than half a point: LTP"


def test_what_a_backend_costs(store):
    table = backends("toy", StoreView(store))
    rows = {row[0]: row[1:] for group in table.groups for row in group}
    where = "CPU, 1 thread, batch 32"
    # Intervals are 0.2 either way, two and no answers of 1,000 changed, dense-packed was not timed.
    assert rows == {
        "onnx-int8": [where, "1.33 \u00b10.20", "\u2013", "1", "-2.0 (-2.0 to -2.0)", "0.2%"],
        "openvino-bf16": [where, "1.25 \u00b10.20", "\u2013", "1", "-0.4 (-0.4 to -0.4)", "0.0%"],
        "torch-fp32": [where, "0.25 \u00b10.20", "\u2013", "1", "\u2013", "\u2013"],
    }
    assert "in points: the mean" in table.notes[2]
    (store / "timings" / "t.json").unlink()
    own = in_backend("dense", "torch-fp32", 1.0, 1.0, 0.0, 0.5)
    write(store, over_backends("u", "2025-01-02", [own]))
    assert backends("toy", StoreView(store)) is None


def test_with_calls_the_best_is_about_the_call(store):
    """The encoder is fastest in bf16, the call in torch."""
    rows = [
        with_call(in_backend("dense", "torch-fp32", 1.0, 1.5, 0.0, 0.5), 1.2, 0.6),
        with_call(in_backend("a", "torch-fp32", 2.0, 3.0, 0.0, 0.2, trial_id="a"), 2.0, 0.25),
        with_call(in_backend("a", "openvino-bf16", 2.0, 4.0, 0.0, 0.1, trial_id="a"), 1.5, 0.3),
    ]
    # The noise of all passes, of their calls; that of their encoders is 1%.
    for name, ratio in (("u", 0.03), ("v", 0.02)):
        call = {"fastest": {}, "best": "openvino-bf16", "noise_floor": {"ratio": ratio}}
        write(store, over_backends(name, "2025-01-02", rows) | {"call": call})
    study = StoreView(store)
    noise = "dense against itself (A/A noise): 2.0 to 3.0% (CPU, 1 thread, batch 32)"
    assert noise in models("toy", study).notes
    (model,) = [own for own in study.validated("toy") if own.method != "dense"]
    timed = model.timed[WHERE]
    assert (timed.backend, timed.best.value, timed.same.value) == ("torch-fp32", 2.0, 2.0)
    assert (timed.call.value, timed.encoder.value, timed.noisy) == (2.0, 3.0, False)
    _, tip = drawn(study, WHERE)
    assert tip["CPU, 1 thread, batch 32"] == "2.0\u00d7 (1.7 to 2.3), in torch-fp32"
    assert tip["CPU, 1 thread, batch 32, encoder alone"] == "3.0\u00d7 (2.8 to 3.2)"
    assert base.real_axis([model], WHERE) == "Speed-up of a call (log scale)"
    assert real_speedups([model], [WHERE]).startswith("Calls, from text to answer")
    lines = ["2.0 \u00b10.3", "encoder 3.0 \u00b10.2", "same backend 2.0 \u00b10.1"]
    assert row(study) == {"CPU, 1 thread, batch 32": [*lines, "torch-fp32"]}


def test_a_store_with_both_kinds_of_times_names_both(store):
    rows = [
        with_call(in_backend("dense", "torch-fp32", 1.0, 1.5, 0.0, 0.5), 1.2, 0.6),
        with_call(in_backend("a", "torch-fp32", 2.0, 3.0, 0.0, 0.2, trial_id="a"), 2.0, 0.25),
    ]
    write(store, over_backends("u", "2025-01-02", rows, batch_size=64))
    study, alone = StoreView(store), Where("cpu", 1, 64)
    timed = study.validated("toy")
    assert real_speedups(timed, [WHERE]).startswith("The encoder alone, timed against")
    assert real_speedups(timed, [alone]).startswith("Calls, from text to answer, timed against")
    both = "Calls, from text to answer, or, where an axis says so, the encoder alone, timed against"
    assert real_speedups(timed, [alone, WHERE]).startswith(both)
    figure = speed.figure(study, "toy")
    labels = [label.get_text() for label in figure.legends[0].get_texts()]
    assert labels == ["LoT (ours)", "dense", "real = FLOPs", "as fast as dense"]


def test_shares_are_those_of_torch(store):
    (bars,) = time_shares.data(StoreView(store).validated("toy"))
    assert (bars.where, bars.backend) == (WHERE, "torch-fp32")
    assert (str(bars.where), bars.backend) == ("cpu-1t-b32", "torch-fp32")
    assert [bar.total for bar in bars.rows] == pytest.approx([100, 100 / 1.6])


def test_a_model_that_holds_its_score_nowhere_is_not_drawn(store):
    rows = [
        in_backend("dense", "onnx-int8", 1.0, None, -0.1, 0.2),
        in_backend("a", "onnx-int8", 2.0, None, -0.1, 0.1, trial_id="a"),
    ]
    (store / "timings" / "t.json").unlink()
    write(store, over_backends("u", "2025-01-02", rows))
    study = StoreView(store)
    assert not any(own.timed for own in study.validated("toy"))
    assert all(own.backends for own in study.validated("toy"))
    assert "not drawn, no timings" in missing(study)[0]
