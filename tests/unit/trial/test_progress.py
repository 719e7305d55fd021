"""Progress in steps reaches the innermost listener, and ends work that takes too long."""

import pytest

from lotbench.trial.progress import TimeUp, duration, limited, listening, post


def test_the_innermost_listener_hears_what_is_posted():
    outer, inner = [], []
    with listening(lambda *step: outer.append(step)):
        post("train", 1, 3)
        with listening(lambda *step: inner.append(step)):
            post("evaluate", 0, 2)
        post("train", 2, 3)
    post("train", 3, 3)
    assert outer == [("train", 1, 3), ("train", 2, 3)]
    assert inner == [("evaluate", 0, 2)]


def test_the_first_step_after_the_limit_ends_the_work_and_says_where(monkeypatch):
    now, heard = [0.0], []
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    with (
        listening(lambda *step: heard.append(step)),
        pytest.raises(TimeUp, match=r"^took more than 12 s \(train.max_minutes\), in stage 'rou"),
        limited(12),
    ):
        for step in range(9):
            now[0] += 5
            post("route", step, 9)
    # The listener outside goes on listening.
    assert heard == [("route", 0, 9), ("route", 1, 9), ("route", 2, 9)]
    post("evaluate", 0, 2)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.25, "0.25 s"), (90, "90 s"), (600, "10 min"), (86_400, "24 h")]
)
def test_times_are_written_for_people(seconds, text):
    assert duration(seconds) == text
