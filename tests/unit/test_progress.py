"""News of long work, posted and read out."""

import threading

import pytest

from lotbench.study.progress import Board, posted, read_out


def test_a_board_has_the_latest_line_of_what_still_runs():
    board = Board()
    for name, line in (("a", "1 of 3"), ("b", "1 of 9"), ("a", "2 of 3")):
        board.put(name, line)
    assert board.read() == ["b: 1 of 9", "a: 2 of 3"]
    board.put("b", None)
    board.put("never posted", None)
    assert board.read() == ["a: 2 of 3"]


def test_progress_is_posted_every_quarter_of_a_minute_and_taken_down():
    board, now = Board(), [0.0]
    seen = []
    with posted(board.put, "teacher", lambda: now[0]) as progress:
        for step in range(1, 41):
            progress("fine-tune", step, 40)
            seen += board.read()
            now[0] += 1.0
        progress("evaluate", 0, 2)
        seen += board.read()
    # Steps 1, 16 and 31 are 15 seconds apart; other work is news at once.
    assert list(dict.fromkeys(seen)) == [
        *(f"teacher: fine-tune, step {step} of 40" for step in (1, 16, 31)),
        "teacher: evaluate, step 0 of 2",
    ]
    assert board.read() == []


def test_news_are_read_out_until_the_work_is_done_or_fails():
    heard = threading.Event()
    said = []

    def say(line):
        said.append(line)
        heard.set()

    with pytest.raises(RuntimeError, match="no memory"), read_out(lambda: ["half"], say, 0.01):
        assert heard.wait(10)
        raise RuntimeError("no memory")
    assert set(said) == {"half"}
    after = len(said)
    heard.clear()
    assert not heard.wait(0.05) and len(said) == after
