"""Results go to stdout; progress goes to stderr, and so does each note, once."""

import logging

import pytest
from commands import call
from stores import evaluation, trial, write

from lotbench.cli.progress_lines import LogHandler, progress_bar


@pytest.mark.slow
def test_plot_prints_a_screen_on_stdout_and_what_is_left_out_on_stderr(tmp_path):
    write(tmp_path, trial("dense", "dense", [evaluation(0.9, 1.0)]))
    # Wider than any terminal, and what rich would read as markup.
    damaged = tmp_path / "trials" / f"[red]{'x' * 150}.json"
    damaged.write_text("{")
    done = call("plot", tmp_path, "--format", "svg")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"All   {tmp_path / 'README.md'}"
    *notes, drawn = done.stderr.splitlines()
    assert drawn.startswith("drew ") and drawn.endswith(f"; wrote {tmp_path / 'README.md'}")
    assert all(line.startswith("note: ") for line in notes) and len(notes) == len(set(notes))
    assert sum(line.startswith(f"note: {damaged}: skipped, ") for line in notes) == 1
    assert any("not drawn, no timings" in line for line in notes)
    assert {path.suffix for path in (tmp_path / "figures").iterdir()} == {".png", ".svg"}


def test_progress_has_no_prefix_and_a_note_is_shown_once(capsys):
    log = logging.Logger("lotbench")
    log.addHandler(LogHandler())
    for _ in range(2):
        log.info("step %d of %d", 1, 2)
        log.warning("%s: skipped", "a.json")
    found = capsys.readouterr()
    assert found.err.splitlines() == ["step 1 of 2", "note: a.json: skipped", "step 1 of 2"]
    assert found.out == ""


def test_without_a_terminal_the_end_of_each_work_is_a_line(caplog):
    caplog.set_level(logging.INFO)
    with progress_bar() as show:
        for step in (1, 2):
            show("train", step, 2)
    assert caplog.messages == ["train: step 2 of 2"]
