"""The screen of a store: 25 lines of 80 columns, whatever is in the store, that can be pasted."""

import shlex
from pathlib import Path

import pytest
from stores import (
    contender,
    evaluation,
    failed,
    fill,
    fill_predicted,
    fill_vectors,
    timing,
    trial,
    with_call,
    write,
)

from lotbench.cli.output import show
from lotbench.report.layout import HEIGHT, WIDTH, aligned, fit, labelled, shortened
from lotbench.report.screen import of_store
from lotbench.statistics.store_view import StoreView

NAMES = [f"a-method-with-quite-a-long-name-{place}" for place in range(30)]
FOLDER = Path("results/toy")


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path, monkeypatch):
    """Screens name the store as it was given."""
    monkeypatch.chdir(tmp_path)


def screen(folder: Path = FOLDER, *before: str) -> list[str]:
    """The lines, of which none may be too long and which may not be too many."""
    lines = of_store(StoreView(folder), before)
    assert len(lines) <= HEIGHT == 25
    assert max(map(len, lines)) <= WIDTH == 80
    return lines


def pasted(lines: list[str], label: str) -> list[str]:
    """The words that a shell gets from the command after a label."""
    start = next(place for place, line in enumerate(lines) if line.startswith(f"{label} "))
    text = lines[start][len(label) :]
    while text.endswith("\\"):
        start += 1
        text = text[:-1] + lines[start]
    return shlex.split(text)


def fill_groups(folder: Path) -> Path:
    """Rankings: the nDCG of 200 groups, of dense and of a method at 2x."""
    config = {"seed": 0, "plugins": [], "data": {"kind": "ranking"}}
    own = {"metric": "ndcg", "config": config, "teacher": None, "data": {"fingerprint": "f"}}
    for method, value, speedup in (("dense", 0.95, 1.0), ("ltp", 0.93, 2.0)):
        more = {"metrics": {"ndcg": value}, "predictions": [value] * 200, "examples": 200}
        more |= {"target": speedup} if method == "ltp" else {}
        rows = [evaluation(None, speedup, split=s, **more) for s in ("selection", "validation")]
        write(folder, trial(method, method, rows, **own))
    return folder


def fill_numbers(folder: Path) -> Path:
    """A regression: dense has the labels, a method at 2x has them with some swapped."""
    config = {"seed": 0, "plugins": [], "data": {"regression": True}}
    labels = [float(place) for place in range(200)]
    own = {"metric": "spearman", "config": config, "teacher": None}
    own |= {"data": {"labels": {split: labels for split in ("selection", "validation")}}}
    for method, speedup in (("dense", 1.0), ("ltp", 2.0)):
        told = [*labels[:20][::-1], *labels[20:]] if method == "ltp" else labels
        more = {"metrics": {"spearman": 0.9}, "predictions": told, "examples": 200}
        more |= {"target": speedup} if method == "ltp" else {}
        rows = [evaluation(None, speedup, split=s, **more) for s in ("selection", "validation")]
        write(folder, trial(method, method, rows, **own))
    return folder


@pytest.mark.parametrize(
    ("make", "head", "unit"),
    [
        (fill_predicted, "TOY, 200 texts: dense 90.0% (", "points"),
        (fill_vectors, "TOY, 200 texts: dense 0.9", "hundredths"),
        (fill_groups, "TOY, 200 groups: dense 0.9", "hundredths"),
        (fill_numbers, "TOY, 200 texts: dense 1.0", "hundredths"),
    ],
)
def test_every_kind_of_task_has_its_units(make, head, unit):
    make(FOLDER)
    lines = screen()
    assert lines[0].startswith(head) and "One seed: a demonstration." in " ".join(lines[:2])
    assert any(line.startswith(f"  {unit} with fewer FLOPs:") for line in lines)
    assert pasted(lines, "Page") == ["lotbench", "report", "results/toy"]
    assert pasted(lines, "Next")[:2] == ["lotbench", "recommend"]


def test_the_answer_is_the_fastest_model_within_a_point():
    fill_predicted(FOLDER)
    lines = screen()
    rows = {line.split("  ")[1]: line.split()[1:] for line in lines if line.startswith("  ")}
    # TR-BERT is at 181 of 200 texts at 2x, LTP at 179 there and at 178 at 4x; dense is at 180.
    assert rows["TR-BERT"] == ["+0.5~", "\N{EN DASH}"] and rows["LTP"] == ["-0.5~", "-1.0"]
    answer = " ".join(lines)
    fastest = "Fastest within 1 point of dense on selection: LTP with 4.0\N{MULTIPLICATION SIGN} ("
    assert fastest in answer and "fewer FLOPs, a tie with TR-BERT, at -1.0" in answer
    assert "Nothing is timed." in answer


def test_with_times_the_answer_is_that_of_recommend_and_can_be_exported():
    fill_predicted(FOLDER)
    rows = [contender("dense", 1.0, "d"), contender("l", 3.1, "l", budget={"scale": 2.0})]
    rows = [with_call(own, own["speedup"]["median"], own["seconds_per_example"]) for own in rows]
    call = {"fastest": {}, "best": "torch-fp32", "noise_floor": {"ratio": 0.01}}
    write(FOLDER, timing("p", "2025", rows, batch_size=8) | {"call": call})
    name = FOLDER / "models" / "toy-a-rather-long-name-s0-0123456789"
    name.mkdir(parents=True)
    stored = next(own for own in StoreView(FOLDER).trials if own.trial_id == "l").content()
    write(FOLDER, stored | {"model": f"models/{name.name}"})
    (FOLDER / "sweep.json").write_text("{}")
    lines = screen()
    assert any("call 4\N{MULTIPLICATION SIGN}" in line for line in lines)
    assert "torch-fp32, a call 3.1\N{MULTIPLICATION SIGN} (2.8 to 3.4) as fast" in " ".join(lines)
    place = lines.index(f'Load  lotbench.load("{name}")')
    assert lines[place + 1].strip() == "# .budget = 2.0 sets the speed"
    command = ["lotbench", "export", str(name), "exported", "--budget", "2.0"]
    assert pasted(lines, "ONNX") == command
    again = ["lotbench", "sweep", "results/toy/sweep.json", "--set", "seeds=[0,1,2]"]
    assert pasted(lines, "Next") == again


def test_without_targets_a_method_shows_its_largest_speedup():
    labels = {"labels": {split: "1" * 1000 for split in ("selection", "validation")}}
    for method, right in (("dense", 0.9), ("ltp", 0.895), ("static", 0.7)):
        rows = [
            evaluation(right, 2.0 if method != "dense" else 1.0, split=split)
            for split in ("selection", "validation")
        ]
        write(FOLDER, trial(method, method, rows, data=labels))
    lines = screen()
    assert any(line.split() == ["static", "none", "\N{EN DASH}"] for line in lines)
    assert any(line.startswith("  within 1 point of dense") for line in lines)


def test_many_methods_long_names_and_a_teacher_that_learned_nothing():
    labels = {"labels": {split: "01" * 100 for split in ("selection", "validation")}}
    for method in ("dense", *NAMES):
        rows = [
            evaluation(
                0.5,
                at,
                split=split,
                examples=200,
                predictions="1" * 200,
                target=at if method != "dense" else None,
            )
            for at in ([1.0] if method == "dense" else [1.5, 2, 4, 8, 16])
            for split in ("selection", "validation")
        ]
        own = {"labels": labels["labels"], "fingerprint": "f"}
        write(FOLDER, trial(method, method, rows, data=own, teacher=None))
    lines = screen(FOLDER, "31 trials ran, 0 done before, 0 failed; 0 timing passes added")
    assert lines[0].startswith("toy: The teacher has learned nothing")
    header = next(line for line in lines if "with fewer FLOPs" in line)
    assert header.split()[-3:] == [f"{at}\N{MULTIPLICATION SIGN}" for at in (2, 4, 8)]
    (left,) = [line for line in lines if line.startswith("  ... ")]
    shown = sum(line.startswith("  a-method") for line in lines)
    assert left == f"  ... {30 - shown} more methods"


def test_many_tasks_have_some_lines_each_and_an_order_over_all():
    for place in range(12):
        fill_predicted(FOLDER, f"task_{place}")
    lines = screen()
    assert any(line.endswith("more tasks") for line in lines)
    assert any(line.startswith("Mean drop over all tasks, least first: ") for line in lines)


@pytest.mark.parametrize("make", [fill, lambda folder: write(folder, failed("bad"))])
def test_a_store_without_a_choice_says_so(make):
    make(FOLDER)
    text = "\n".join(screen())
    assert "Nothing can be chosen" in text or "No trial is done" in text


def test_lines_are_wrapped_beside_their_label_and_words_stay_whole():
    path = "x" * 90
    assert fit([f"Open  {path}"]) == [f"Open  {path}"]
    text = "some words " * 10
    first, second = fit([f"faster, but  {text}"])
    assert first.startswith("faster, but  some") and second.startswith(" " * 13 + "some")
    command = f"lotbench export {'y' * 60} exported"
    assert labelled({"Do": command}) == ["Do  lotbench export \\", f"    {'y' * 60} exported"]
    assert fit(["", "a"]) == ["", "a"]


def test_columns_are_cut_to_the_width_and_lines_are_counted():
    first, second = aligned([["name", "1"], ["n" * 100, "22"]])
    assert first.split() == ["name", "1"] and len(first) == len(second) == 80
    assert shortened(["a", "b", "c"], 2, "letters") == ["a", "  ... 2 more letters"]


def test_a_page_that_cannot_be_written_is_a_note(monkeypatch, capsys, caplog):
    fill_predicted(FOLDER)
    monkeypatch.setattr("lotbench.cli.output.draw", lambda study: True)

    def fail(*_):
        raise OSError("the disk is full")

    monkeypatch.setattr("lotbench.report.page.page.write", fail)
    show(FOLDER, ["2 trials ran"])
    assert "report.html is not written: OSError: the disk is full" in caplog.text
    assert capsys.readouterr().out.startswith("2 trials ran\nTOY, 200 texts")
