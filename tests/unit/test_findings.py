"""The sentences of a report are true: of winners, ties, nothing, one method and older rows."""

from __future__ import annotations

import re
from pathlib import Path

from stores import (
    contender,
    evaluation,
    failed,
    fill,
    fill_predicted,
    predicted,
    timing,
    trial,
    write,
)

from lotbench.report.content import read
from lotbench.report.findings import findings

DATA = {"labels": {split: "1" * 200 for split in ("selection", "validation")}}


def sentences(folder: Path) -> list[str]:
    return findings("toy", read(folder))


def both(selection: float, validation: float, speedup: float, **more) -> list[dict]:
    """Evaluations on both splits without predictions, as in older rows."""
    scores = {"selection": selection, "validation": validation}
    return [evaluation(score, speedup, split=split, **more) for split, score in scores.items()]


def older(folder: Path, **methods: list[tuple[float, float, float]]) -> Path:
    """A store of older rows: dense at 90%, and methods as (selection, validation, speed-up)."""
    write(folder, trial("d", "dense", both(0.9, 0.9, 1.0)))
    for method, points in methods.items():
        rows = [
            row
            for place, (selection, validation, speedup) in enumerate(points)
            for row in both(selection, validation, speedup, budget={"b": place})
        ]
        write(folder, trial(method, method, rows))
    return folder


def test_winners_with_intervals(tmp_path):
    opening, main, others, curve, clock = sentences(fill_predicted(tmp_path))
    assert opening.startswith("2 methods with 3 models (1 seed) against dense 90.0% (")
    assert "chosen on 200 selection texts, read on 200 validation texts." in opening
    # LTP at 4x is one point below dense on both splits; TR-BERT ends at 2x.
    assert main == (
        "Within 1 point of dense, LTP saves most: 4.0\u00d7 (2 to 4) fewer FLOPs at -1.0 (-3 to 0) "
        "points on validation, in a tie with TR-BERT. No faster model of it was scored, so it may "
        "go further."
    )
    # Within half a point both have 2x.
    assert others.startswith("Within 0.5 points: LTP, 2.0\u00d7 (2 to 4), in a tie with TR-BERT.")
    assert curve.startswith("Over all speed-ups up to 4.0\u00d7, LTP has clearly the largest area")
    assert clock.startswith("Nothing was timed")


def test_at_most_five_sentences_without_doubled_spaces_or_dots(tmp_path):
    for text in sentences(fill_predicted(tmp_path)):
        assert text.endswith(".")
        assert not re.search(r"  |\.\.| [.,;]", text)
    assert len(sentences(tmp_path)) == 5


def test_older_rows_have_no_intervals_and_say_so(tmp_path):
    older(tmp_path, ltp=[(0.895, 0.88, 3.0)], mine=[(0.9, 0.9, 2.0)])
    opening, main, *_ = sentences(tmp_path)
    assert "no predictions, so there are no intervals" in opening
    assert main == (
        "Within 1 point of dense, LTP saves most: 3.0\u00d7 fewer FLOPs at -2.0 points on "
        "validation, ahead of mine at 2.0\u00d7. On validation that is past the limit. No faster "
        "model of it was scored, so it may go further."
    )
    assert "clearly" not in " ".join(sentences(tmp_path))


def test_nothing_wins(tmp_path):
    older(tmp_path, ltp=[(0.7, 0.6, 3.0)], mine=[(0.8, 0.75, 2.0)])
    _, main, others, _, _ = sentences(tmp_path)
    # The nearest on selection, with its loss on validation.
    assert main == (
        "Within 1 point of dense: none. The nearest is mine: 2.0\u00d7 fewer FLOPs at -15.0 points "
        "on validation."
    )
    assert others == "Within 0.5 points: none. Within 2 points: none."


def test_one_method_is_not_ahead_of_anything(tmp_path):
    older(tmp_path, ltp=[(0.9, 0.9, 3.0), (0.9, 0.9, 4.0)])
    _, main, others, curve, _ = sentences(tmp_path)
    assert main.startswith("Within 1 point of dense, LTP, the only method, needs 4.0\u00d7 fewer")
    assert "other method" not in main
    assert "ahead" not in main + others
    assert curve.endswith("no other has one.")


def test_a_lead_in_rounding_is_narrow(tmp_path):
    older(tmp_path, ltp=[(0.9, 0.9, 3.04)], mine=[(0.9, 0.9, 3.01)])
    assert "narrowly ahead of mine at 3.0\u00d7" in sentences(tmp_path)[1]


def test_a_clear_lead_and_a_tie_need_predictions(tmp_path):
    write(
        tmp_path,
        trial("d", "dense", predicted({"selection": 180, "validation": 180}, 1), data=DATA),
    )
    equal = {"selection": 180, "validation": 180}
    for name, method, speedup in (("l", "ltp", 4.0), ("m", "mine", 2.0)):
        write(tmp_path, trial(name, method, predicted(equal, speedup, target=speedup), data=DATA))
    # All predictions are equal, so every resample chooses these models.
    assert "clearly ahead of mine at 2.0\u00d7" in sentences(tmp_path)[1]
    write(tmp_path, trial("n", "other", predicted(equal, 4.0, target=4.0), data=DATA))
    main = sentences(tmp_path)[1]
    assert "in a tie with" in main
    assert "ahead" not in main


def test_no_reference_only_dense_and_only_failures(tmp_path):
    bare = {"teacher": None}
    write(tmp_path / "a", trial("l", "ltp", both(0.9, 0.9, 2.0), **bare))
    assert "nothing to compare with" in sentences(tmp_path / "a")[0]
    write(tmp_path / "b", trial("d", "dense", both(0.9, 0.9, 1.0)))
    assert sentences(tmp_path / "b")[1].startswith("Only dense models are here")
    write(tmp_path / "c", failed("f"))
    assert sentences(tmp_path / "c") == ["No trial is done and scored on validation."]


def test_rows_without_selection_name_no_winner(tmp_path):
    opening, why = sentences(fill(tmp_path))
    assert opening.startswith("2 methods with 3 models (mean of 1 to 2 seeds)")
    assert why.startswith("No winner is named")


def test_correlations_are_in_hundredths(tmp_path):
    for name, method, speedup in (("d", "dense", 1.0), ("l", "ltp", 2.0)):
        rows = [
            evaluation(None, speedup, split=split, metrics={"pearson": 0.8})
            for split in ("selection", "validation")
        ]
        write(tmp_path, trial(name, method, rows, metric="pearson", teacher=None))
    assert "Within 1 hundredth of dense, LTP" in sentences(tmp_path)[1]


def test_the_clock_names_the_fastest_and_those_near_it(tmp_path):
    older(tmp_path, ltp=[(0.9, 0.9, 3.0)], mine=[(0.9, 0.9, 2.0)], slow=[(0.5, 0.5, 9.0)])
    rows = [
        contender("dense", 1.0, "d"),
        contender("ltp", 2.5, "ltp", budget={"b": 0}),
        contender("mine", 2.4, "mine", budget={"b": 0}),
        contender("slow", 8.0, "slow", budget={"b": 0}),
    ]
    write(tmp_path, timing("p", "2025", rows))
    # 2.4 to 2.6 and 2.3 to 2.5 meet; slow is not within a point.
    assert sentences(tmp_path)[4] == (
        "On the clock, of the models within 1 point, against the fastest dense model: LTP runs "
        "2.5\u00d7 (2.4 to 2.6) as fast, not told apart from mine (CPU, 1 thread, batch 32, fp32)."
    )
