"""Warm-up, rounds and turns, with a scripted clock."""

import numpy as np

from lotbench.measure import protocol
from lotbench.measure.protocol import (
    AGAIN,
    DENSE_NAME,
    PACKED,
    Call,
    CallTimer,
    run_rounds,
    warm_up,
)
from lotbench.measure.spec import sums


class Machine:
    """A clock that only calls advance, each by the result of its cost function."""

    def __init__(self, costs, reading=0.0):
        self.now = 0.0
        self.reading = reading
        self.calls = []
        self.costs = costs
        self.timer = CallTimer(lambda: self.now)

    def contenders(self, batches=1):
        return {name: [self.call(name)] * batches for name in self.costs}

    def call(self, name):
        def run(given):
            assert given == name
            self.calls.append(name)
            self.now += self.costs[name](self)

        def prepare():
            self.now += self.reading
            return name

        return Call(run, prepare)


def steady(**costs):
    names = {"dense": DENSE_NAME, "again": AGAIN, "packed": PACKED}
    return Machine({names.get(k, k): (lambda _, v=v: v) for k, v in costs.items()})


def test_a_sample_is_one_pass_over_all_batches():
    machine = steady(dense=2.0, fast=0.5)
    run_rounds(machine.contenders(batches=3), 2, 0.0, seed=0, timer=machine.timer)
    assert sums(machine.timer.encoder) == {DENSE_NAME: [6.0, 6.0], "fast": [1.5, 1.5]}


def test_the_encoder_is_timed_apart_from_the_call():
    # Two batches of 0.5 s to tokenise; the encoder takes 1, 2, 4 and 8 s.
    seconds = iter([1.0, 2.0, 4.0, 8.0])
    machine = Machine({DENSE_NAME: lambda _: next(seconds)}, reading=0.5)
    timer = machine.timer
    run_rounds(machine.contenders(batches=2), 2, 0.0, seed=0, timer=timer)
    assert sums(timer.encoder) == {DENSE_NAME: [3.0, 12.0]}
    assert timer.encoder == {DENSE_NAME: [[1.0, 2.0], [4.0, 8.0]]}
    assert sums(timer.call) == {DENSE_NAME: [4.0, 13.0]}
    assert timer.call == {DENSE_NAME: [[1.5, 2.5], [4.5, 8.5]]}


def test_every_round_times_every_contender_once_in_shuffled_order():
    machine = steady(dense=1.0, again=1.0, a=1.0, b=1.0)
    run_rounds(machine.contenders(), 12, 0.0, seed=3, timer=machine.timer)
    rounds = [machine.calls[i : i + 4] for i in range(0, 48, 4)]
    assert len(machine.calls) == 48
    assert all(sorted(r) == sorted([DENSE_NAME, AGAIN, "a", "b"]) for r in rounds)
    assert len({tuple(r) for r in rounds}) > 4
    again = steady(dense=1.0, again=1.0, a=1.0, b=1.0)
    run_rounds(again.contenders(), 12, 0.0, seed=3, timer=again.timer)
    assert again.calls == machine.calls


def test_contenders_take_turns_of_four_calls():
    # Nine calls are two turns, of four and five.  The call before a turn is made first, untimed.
    log, wanted = [], []
    calls = {name: [Call(lambda _, n=n, name=name: log.append((name, n))) for n in range(9)]
             for name in (DENSE_NAME, "fast")}  # fmt: skip
    timer = CallTimer()
    run_rounds(calls, 3, 0.0, seed=1, timer=timer)
    assert [sum(map(len, own)) for own in timer.call.values()] == [27, 27]
    assert [len(own) for own in sums(timer.call).values()] == [3, 3]
    for _ in range(3):
        for turn in ([8, 0, 1, 2, 3], [3, 4, 5, 6, 7, 8]):
            names = [log[len(wanted)][0], log[len(wanted) + len(turn)][0]]
            assert sorted(names) == [DENSE_NAME, "fast"]
            wanted += [(name, number) for name in names for number in turn]
    assert log == wanted


def test_slow_moments_fall_on_all_contenders(monkeypatch):
    # Moments of 16 seconds, about one in three of them three times as slow, and passes of 32.
    slow = np.random.default_rng(0).random(10_000) < 1 / 3

    def cost(machine):
        return 3.0 if slow[int(machine.now / 16)] else 1.0

    def spread():
        machine = Machine({DENSE_NAME: cost, "other": cost})
        run_rounds(machine.contenders(batches=32), 100, 0.0, seed=0, timer=machine.timer)
        passes = sums(machine.timer.call)
        return np.log(np.divide(passes[DENSE_NAME], passes["other"])).std()

    in_turns = spread()
    monkeypatch.setattr(protocol, "TURN", 32)
    assert in_turns < 0.6 * spread()


def test_rounds_go_on_until_dense_has_its_seconds():
    # A call of dense takes 2 s, 1.5 of them in the encoder: 2 rounds are asked for, 9 s need 5.
    machine = steady(dense=1.5, fast=0.1)
    machine.reading = 0.5
    run_rounds(machine.contenders(), 2, 9.0, seed=0, timer=machine.timer)
    assert [len(own) for own in sums(machine.timer.call).values()] == [5, 5]


def test_warm_up_ends_when_no_contender_gets_faster():
    # 8, 4, 2, 1, 1: the fifth pass is the first that is not over 5% faster than the best.
    cold = iter([8.0, 4.0, 2.0, 1.0, 1.0, 1.0])
    machine = Machine({DENSE_NAME: lambda _: 1.0, "cold": lambda _: next(cold)})
    assert warm_up(machine.contenders(), machine.timer) == 5


def test_only_what_still_gets_faster_is_warmed_up_further():
    # Its first pass was made before; the second is not over 5% faster, that of "cold" is.
    cold = iter([4.0, 3.9])
    machine = Machine({DENSE_NAME: lambda _: 1.0, "cold": lambda _: next(cold)})
    first = {DENSE_NAME: 1.0, "cold": 8.0}
    assert warm_up(machine.contenders(), machine.timer, first) == 3
    assert machine.calls == [DENSE_NAME, "cold", "cold"]


def test_warm_up_ignores_slow_passes_and_is_bounded():
    noisy = iter([1.0, 3.0])
    machine = Machine({DENSE_NAME: lambda _: next(noisy)})
    assert warm_up(machine.contenders(), machine.timer) == 2
    ever_faster = iter(0.5**k for k in range(100))
    machine = Machine({DENSE_NAME: lambda _: next(ever_faster)})
    assert warm_up(machine.contenders(), machine.timer) == 10
