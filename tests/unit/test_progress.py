"""Progress in steps reaches the innermost listener, and nobody without one."""

from lotbench.study.progress import listening, report


def test_the_innermost_listener_hears_what_is_reported():
    outer, inner = [], []
    with listening(lambda *step: outer.append(step)):
        report("train", 1, 3)
        with listening(lambda *step: inner.append(step)):
            report("evaluate", 0, 2)
        report("train", 2, 3)
    report("train", 3, 3)
    assert outer == [("train", 1, 3), ("train", 2, 3)]
    assert inner == [("evaluate", 0, 2)]
