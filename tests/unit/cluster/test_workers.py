"""The board of running jobs: what each does, which are quiet, and which must be ended."""

from pathlib import Path

import pytest

from lotbench.cluster.workers import Board, Job, posting
from lotbench.trial.progress import post


@pytest.fixture
def now(monkeypatch) -> list[float]:
    """The time, in a list so that tests can move it."""
    now = [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    return now


def job(name: str, seconds: float = 3600) -> Job:
    return Job(name, f"small {name}", [], seconds, "", 1, Path())


def test_a_board_says_once_a_minute_what_each_job_does(now):
    board = Board()
    now[0] += 60
    assert board.look() == (["waiting for Ray to start a worker"], [])
    for name in "abc":
        assert board.begin(job(name))
    for name, status in (("a", "1 of 3"), ("b", "1 of 9"), ("a", "2 of 3"), ("gone", "1 of 1")):
        board.post(name, status)
    assert board.look() == ([], [])
    now[0] += 60
    assert board.look() == (["small a: 2 of 3", "small b: 1 of 9", "small c: started"], [])
    for name in ("b", "never begun"):
        board.end(name)
    now[0] += 59
    assert board.look() == ([], [])
    now[0] += 300
    board.post("c", "2 of 2")
    (quiet, other), _ = board.look()
    assert quiet.startswith("small a: 2 of 3, nothing new for 7 min (train.max_min")
    assert other == "small c: 2 of 2"


def test_a_job_that_hangs_past_its_limit_is_named_once_and_not_begun_again(now):
    board = Board()
    hanging, fine = job("hanging", 90), job("fine", 3600)
    assert board.begin(hanging) and board.begin(fine)
    board.post("hanging", "route, step 3 of 9")
    now[0] += 149  # the limit and most of the grace
    assert board.look()[1] == []
    now[0] += 2
    (found,) = board.look()[1]
    assert found[0] is hanging
    assert found[1].startswith("took more than 90 s (train.max_minutes) in a call that did not ret")
    assert found[1].endswith("route, step 3 of 9")
    assert board.look()[1] == [] and list(board.jobs) == ["fine"]
    assert not board.begin(hanging)


def test_progress_is_posted_at_every_new_phase_and_every_quarter_of_a_minute(now):
    seen = []
    with posting(seen.append):
        for step in range(1, 41):
            post("fine-tune", step, 40)
            now[0] += 1
        post("evaluate", 0, 2)
    post("evaluate", 1, 2)
    steps = [f"fine-tune, step {step} of 40" for step in (1, 16, 31)]
    assert seen == [*steps, "evaluate, step 0 of 2"]
