"""The sentences of a report are true: of winners, ties, nothing, one method."""

import re
from pathlib import Path

import pytest
from stores import (
    contender,
    evaluation,
    failed,
    fill,
    fill_predicted,
    timing,
    trial,
    with_call,
    write,
)

from lotbench.report.advice import as_text
from lotbench.report.findings import answer, findings
from lotbench.report.recommend import Limits, recommend
from lotbench.report.screen import of_store
from lotbench.report.tables.of_task import tables
from lotbench.report.tables.overview import overview
from lotbench.statistics.store_view import StoreView

X = "\N{MULTIPLICATION SIGN}"


def sentences(folder: Path) -> list[str]:
    return findings("toy", StoreView(folder))


def both(selection: float, validation: float, speedup: float, **more) -> list[dict]:
    """Evaluations on both splits of 1000 texts, whose first texts are right."""
    scores = {"selection": selection, "validation": validation}
    return [evaluation(score, speedup, split=split, **more) for split, score in scores.items()]


def store(folder: Path, **methods: list[tuple[float, float, float]]) -> Path:
    """A store of dense at 90%, and methods as (selection, validation, speed-up and target)."""
    write(folder, trial("d", "dense", both(0.9, 0.9, 1.0)))
    for method, models in methods.items():
        rows = [
            row
            for selection, validation, speedup in models
            for row in both(selection, validation, speedup, budget={"b": speedup}, target=speedup)
        ]
        write(folder, trial(method, method, rows))
    return folder


def test_methods_that_tie_win_nothing(tmp_path):
    curve, main, targets, opening = sentences(fill_predicted(tmp_path))
    assert opening.startswith("2 methods with 3 models (1 seed) against dense 90.0% (")
    assert "chosen on 200 selection texts, read on 200 validation texts;" in opening
    # LTP at 4x is one point below dense on both splits; TR-BERT ends at 2x.
    assert main.startswith(
        f"Fastest within 1 point of dense on selection: LTP with 4.0{X} (2 to 4)"
    )
    assert ", a tie with TR-BERT, at -1.0 (-3 to 0) points on validation." in main
    # At 2x TR-BERT has two texts more, the same that LTP has otherwise; alone at 4x, LTP wins
    # nothing.
    assert targets.startswith(f"Best at equal FLOPs, in points: at 2{X} ")
    assert f"at 4{X}" not in targets
    assert curve.startswith(f"From 1{X} to 4.0{X} fewer FLOPs, LTP is best, at -0.5 (")
    assert opening.endswith("; nothing was timed (see `lotbench measure`).")
    for text in (opening, main, targets, curve):
        assert text.endswith(".")
        assert not re.search(r"  |\.\.| [.,;]", text)


@pytest.mark.parametrize(
    ("right", "ending"),
    [
        (0.5, " is 40.0 (37 to 43) points."),
        (0.895, " is 0.5 (0.1 to 1.0) points: a task that needs no encoder."),
        # Three points below dense it needs one.
        (0.869, "points."),
        (0.871, "points: a task that needs no encoder."),
    ],
)
def test_a_model_without_layers_says_what_the_task_needs(tmp_path, right, ending):
    rows = both(right, right, 500.0, keep_ratio=[0.0, 0.0])
    store(tmp_path, ltp=[(0.9, 0.9, 2.0)])
    write(tmp_path, trial("bag", "truncated", rows))
    study = StoreView(tmp_path)
    *_, last = answer("toy", study)
    assert last.startswith("The no-layer gap, dense minus a model without layers, is ")
    assert last.endswith(ending)
    # The table that people look at first says the same, and every table has it in its title.
    assert last in overview("toy", study).notes
    gap = last.partition(" layers, is ")[2].removesuffix(".")
    titles = [own.title for own in tables("toy", study).values()]
    assert len(titles) > 1 and all(own.endswith(f"; no-layer gap {gap}") for own in titles)
    assert f"; no-layer gap {gap}." in " ".join(of_store(study))


def test_a_winner_that_misses_its_limit_on_validation_says_so(tmp_path):
    store(tmp_path, ltp=[(0.895, 0.86, 3.0), (0.895, 0.895, 2.0)])
    past = "past the limit there; the fastest that keeps to it on both splits"
    assert sentences(tmp_path)[1].endswith(
        f": LTP with 3.0{X} (3.0 to 3.0) fewer FLOPs, at -4.0 (-5 to -3) points on "
        f"validation, {past}: 2.0{X}. No faster model of it was scored, so it may go further."
    )
    store(tmp_path, ltp=[(0.895, 0.86, 3.0)])
    assert f"{past}: none." in sentences(tmp_path)[1]


def test_a_teacher_that_has_learned_nothing_comes_first(tmp_path):
    labels = {split: "1" * 600 + "0" * 400 for split in ("selection", "validation")}
    for right, nothing in ((0.6, True), (0.9, False)):
        # The first texts are right, all of class 1; beyond 600 all of class 0 are.
        answers = "1" * 600 + "0" * round(1000 * right - 600) + "1" * round(1000 * (1 - right))
        rows = [row | {"predictions": answers} for row in both(right, right, 1.0)]
        write(tmp_path, trial("d", "dense", rows, data={"labels": labels}))
        first = sentences(tmp_path)[0]
        assert nothing == first.startswith(
            "The teacher has learned nothing: dense is at 60.0% (57 to 63), and one class for all "
            "texts gives 60.0%; train it with more epochs or texts"
        )


def test_nothing_wins(tmp_path):
    store(tmp_path, ltp=[(0.7, 0.6, 3.0)], mine=[(0.8, 0.75, 2.0)])
    # The nearest on selection, with its loss on validation.
    assert sentences(tmp_path)[1] == (
        f"Within 1 point of dense on selection: none. The nearest is mine: 2.0{X} fewer FLOPs at "
        "-15.0 (-17 to -13) points on validation."
    )


def test_one_method_is_not_ahead_of_anything(tmp_path):
    store(tmp_path, ltp=[(0.9, 0.9, 3.0), (0.9, 0.9, 4.0)])
    curve, *others = sentences(tmp_path)
    assert curve.endswith(
        "LTP, the only method, is at 0.0 (0.0 to 0.0) points against dense on average."
    )
    assert "ahead" not in " ".join(others)


def test_a_clear_winner_is_named(tmp_path):
    store(tmp_path, ltp=[(0.9, 0.9, 4.0)], mine=[(0.9, 0.9, 2.0)])
    # All answers are those of dense, so every resample chooses these models.
    main = sentences(tmp_path)[1]
    assert main.startswith(f"Fastest within 1 point of dense on selection: LTP with 4.0{X} (4.0")
    assert "tie" not in main
    write(tmp_path, trial("n", "other", both(0.9, 0.9, 4.0, target=4.0)))
    assert f"LTP with 4.0{X} (4.0 to 4.0) fewer FLOPs, a tie with other," in sentences(tmp_path)[1]


def test_at_a_target_the_better_method_is_ahead_and_equal_ones_tie(tmp_path):
    models = {"ltp": [(0.9, 0.9, 2.0)], "mine": [(0.9, 0.9, 2.0)], "slow": [(0.8, 0.8, 2.0)]}
    targets = sentences(store(tmp_path / "a", **models))[2]
    best = f"Best at equal FLOPs, in points: at 2{X} LTP, 0.0 (0.0 to 0.0)"
    assert targets == f"{best}, a tie of 2."
    del models["mine"]
    targets = sentences(store(tmp_path / "b", **models))[2]
    assert targets == f"{best}, ahead of all others."


def test_no_reference_only_dense_and_only_failures(tmp_path):
    bare = {"teacher": None}
    write(tmp_path / "a", trial("l", "ltp", both(0.9, 0.9, 2.0), **bare))
    assert "nothing to compare with" in sentences(tmp_path / "a")[0]
    write(tmp_path / "b", trial("d", "dense", both(0.9, 0.9, 1.0)))
    assert sentences(tmp_path / "b")[0].startswith("Only dense models are here")
    write(tmp_path / "c", failed("f"))
    assert sentences(tmp_path / "c") == ["No trial is done and scored on validation."]


def test_rows_without_selection_name_no_winner(tmp_path):
    why, opening = sentences(fill(tmp_path))
    assert opening.startswith("2 methods with 3 models (mean of 1 to 2 seeds)")
    assert why.startswith("No winner is named")


def test_correlations_are_in_hundredths(tmp_path):
    values = [0.1, 0.5, 0.9, 0.3]
    for name, method, speedup in (("d", "dense", 1.0), ("l", "ltp", 2.0)):
        rows = [
            evaluation(None, speedup, split=split, metrics={"pearson": 1.0}, predictions=values)
            for split in ("selection", "validation")
        ]
        data = {"labels": {split: values for split in ("selection", "validation")}}
        write(tmp_path, trial(name, method, rows, metric="pearson", teacher=None, data=data))
    assert "Fastest within 1 hundredth of dense on selection: LTP" in sentences(tmp_path)[1]


def test_the_clock_names_those_that_tie(tmp_path):
    store(tmp_path, ltp=[(0.9, 0.9, 3.0)], mine=[(0.9, 0.9, 2.0)], slow=[(0.5, 0.5, 9.0)])
    rows = [
        contender("dense", 1.0, "d"),
        contender("ltp", 2.5, "ltp", budget={"b": 3.0}),
        contender("mine", 2.4, "mine", budget={"b": 2.0}),
        contender("slow", 8.0, "slow", budget={"b": 9.0}),
    ]
    write(tmp_path, timing("p", "2025", rows))
    # 2.4 to 2.6 and 2.3 to 2.5 meet; slow is not within a point.
    start = "Fastest on the clock within 1 point on selection (CPU, 1 thread, batch 32): LTP at "
    start, end = f"{start}3{X} in torch-fp32", ", at 0.0 (0.0 to 0.0) points on validation."
    fast = f"{start}, the encoder 2.5{X} (2.4 to 2.6) as fast as dense"
    assert sentences(tmp_path)[1] == f"{fast}, a tie with mine{end}"
    rows[1] = contender("ltp", 3.5, "ltp", budget={"b": 3.0})
    write(tmp_path, timing("q", "2026", rows))
    fast = f"{start}, the encoder 3.5{X} (3.4 to 3.6) as fast as dense"
    assert sentences(tmp_path)[1] == f"{fast}{end}"
    for name, mine, tie in (("r", 1.5, ""), ("s", 2.0, ", a tie with mine")):
        speeds = zip(rows, (1, 2.2, mine, 6), strict=True)
        called = [with_call(row, best, 0.1 / best) for row, best in speeds]
        write(tmp_path, timing(name, f"2027-{name}", called))
        answers = f"{start}, a call 2.2{X} (1.9 to 2.5) as fast as dense{tie}"
        assert sentences(tmp_path)[1] == f"{answers}{end}"


def test_the_clock_says_what_recommend_does(tmp_path):
    """Past the limit on validation, both say so in the same words."""
    store(tmp_path, ltp=[(0.9, 0.87, 3.0), (0.9, 0.9, 2.0)])
    rows = [contender("ltp", speed, "ltp", budget={"b": speed}) for speed in (2.0, 3.0)]
    write(tmp_path, timing("p", "2025", rows))
    study = StoreView(tmp_path)
    (found,) = recommend(study, limits := Limits(1.0, None, 32, 1, "cpu"))
    past = "past the limit there; the fastest that keeps to it on both splits: LTP"
    assert f"{past} at b=2.0 in torch-fp32 (ltp)" in as_text(found, study, limits)
    own = f", at -3.0 (-4 to -2) points on validation, {past} at 2{X} in torch-fp32, 2.0{X}."
    assert own in sentences(tmp_path)[1]
