"""The status of remote workers: posted by each, logged by the driver."""

import logging
import threading

import pytest

from lotbench.study.progress import report
from lotbench.study.status import StatusBoard, logging_statuses, noting, posting


def test_a_board_has_the_latest_status_of_each_running_job():
    board = StatusBoard()
    for job, line in (("a", "1 of 3"), ("b", "1 of 9"), ("a", "2 of 3")):
        board.post(job, line)
    assert board.lines() == ["b: 1 of 9", "a: 2 of 3"]
    board.post("b", None)
    board.post("never posted", None)
    assert board.lines() == ["a: 2 of 3"]


def test_a_line_says_for_how_long_a_job_has_been_quiet():
    now = [0.0]
    board = StatusBoard(lambda: now[0])
    with posting(board.post, "small lot"):
        assert board.lines() == ["small lot: started"]
        report("route", 12, 90)
        now[0] = 119.0
        assert board.lines() == ["small lot: route, step 12 of 90"]
        now[0] = 420.0
        (line,) = board.lines()
    assert line.startswith("small lot: route, step 12 of 90, nothing new for 7 min (train.max_min")


def test_progress_is_posted_every_quarter_of_a_minute_and_removed_at_the_end():
    board, now = StatusBoard(), [0.0]
    seen = []
    with posting(board.post, "teacher", lambda: now[0]):
        assert board.lines() == ["teacher: started"]
        for step in range(1, 41):
            report("fine-tune", step, 40)
            seen += board.lines()
            now[0] += 1.0
        report("evaluate", 0, 2)
        seen += board.lines()
    # Steps 1, 16 and 31 are 15 seconds apart; other work is posted at once.
    assert list(dict.fromkeys(seen)) == [
        *(f"teacher: fine-tune, step {step} of 40" for step in (1, 16, 31)),
        "teacher: evaluate, step 0 of 2",
    ]
    assert board.lines() == []


def test_the_status_of_a_job_that_fails_is_removed():
    board = StatusBoard()
    with pytest.raises(RuntimeError, match="no memory"), posting(board.post, "teacher"):
        report("fine-tune", 1, 40)
        assert board.lines()
        raise RuntimeError("no memory")
    assert board.lines() == []


def test_statuses_are_logged_until_the_work_is_done_or_fails(caplog):
    heard = threading.Event()

    def lines():
        heard.set()
        return ["half"]

    caplog.set_level(logging.INFO)
    with pytest.raises(RuntimeError, match="no memory"), logging_statuses(lines, 0.01):
        assert heard.wait(10)
        raise RuntimeError("no memory")
    assert set(caplog.messages) == {"half"}
    heard.clear()
    assert not heard.wait(0.05)


def test_the_warnings_of_a_worker_are_collected():
    ours = logging.getLogger("lotbench.somewhere")
    with noting() as notes:
        ours.warning("%s: damaged", "a.npy")
        ours.info("step 3")
    ours.warning("later")
    assert notes == ["a.npy: damaged"]
