"""Time limits: what is interrupted, what is ended, and what is left alone."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from lotbench.deadline import TimeUp, duration, limited
from lotbench.study.progress import following, report


def endless() -> None:
    while True:
        try:
            sum(range(100))
        except Exception:
            continue  # a method may take every exception


def test_a_loop_is_interrupted_where_it_is() -> None:
    with pytest.raises(TimeUp, match=r"^took more than 0.2 s$") as caught, limited(0.2):
        endless()
    assert "endless" in [entry.name for entry in caught.traceback]


def test_what_ends_in_time_is_left_alone() -> None:
    with limited(0.05):
        value = 3
    time.sleep(0.1)
    assert value == 3


def test_a_fault_of_the_block_is_its_own() -> None:
    with pytest.raises(KeyError), limited(60):
        raise KeyError("x")


def test_the_outer_limit_passes_through_the_inner_one() -> None:
    inner = []
    with pytest.raises(TimeUp, match=r"0\.2 s"), limited(0.2):
        try:
            with limited(60):
                endless()
        except TimeUp:
            inner.append("took it")
    assert inner == []


def test_code_that_cannot_be_interrupted_ends_its_process(tmp_path: Path) -> None:
    dump = tmp_path / "dump"
    code = (
        "import re; from lotbench import deadline\n"
        "deadline.GRACE_SECONDS = 0.1\n"
        f"with open({str(dump)!r}, 'w') as file, deadline.limited(0.1, file):\n"
        "    re.match('(a*)*b', 'a' * 40)\n"  # holds the interpreter for hours
    )
    done = subprocess.run([sys.executable, "-c", code], timeout=60)
    assert done.returncode == 1
    assert 'File "<string>", line 4 in <module>' in dump.read_text()


def test_the_last_progress_is_kept_and_passed_on() -> None:
    with following() as outer, following() as place:
        assert place() == "preparation"
        report("route", 3, 9)
        assert place() == outer() == "stage 'route', step 3 of 9"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.25, "0.25 s"), (90, "90 s"), (600, "10 min"), (86_400, "24 h")]
)
def test_times_are_written_for_people(seconds: float, text: str) -> None:
    assert duration(seconds) == text
