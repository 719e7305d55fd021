"""Which contenders a screening leaves, with times by hand."""

from dataclasses import replace

import pytest
from simulated import SETTINGS

from lotbench.budget import Budget
from lotbench.measure import launch
from lotbench.measure.protocol import DENSE_NAME, PACKED
from lotbench.measure.spec import (
    DeviceSetting,
    Entry,
    Example,
    GroupTimes,
    PassSpec,
    WorkerResult,
    key,
)
from lotbench.measure.worker import Worker
from lotbench.store.passes import BackendScore, Pair, Picked
from lotbench.timing.screen import narrowed, promising

SECONDS = {"a": [1.0, 4.0], "b": [1.2, 9.0], "c": [1.21, 3.0], "d": [8.0, 8.0]}


@pytest.mark.parametrize(
    ("lost", "kept"),
    [
        # At batch 1 a is fastest and b within a fifth; at batch 32 c, and a takes a third longer.
        ("", "abc"),
        # c and what is a fifth slower are left at both sizes, and what is faster than c.
        ("ab", "abc"),
        # At batch 1 b, and all up to 1.44 s; at batch 32 d, the first that holds its score.
        ("ac", "abcd"),
        # None holds its score, so the fastest counts.
        ("abcd", "abc"),
    ],
)
def test_what_is_close_to_the_fastest_that_holds_its_score_is_left(lost, kept):
    assert promising("abcd", SECONDS, lambda name: name not in lost) == {*kept}


def test_scores_are_asked_for_from_the_fastest_on_until_one_holds():
    asked = []
    promising("abcd", SECONDS, lambda name: asked.append(name) or name == "b")
    # Batch 1: a, b.  Batch 32: c, a, d, b.
    assert "".join(asked) == "abcadb"


def test_what_raised_is_left_for_its_scoring_to_say_why():
    assert promising("ae", SECONDS, lambda _: True) == {"a", "e"}
    assert promising("ab", {}, lambda _: False) == {"a", "b"}


TORCH, BF16, COMPILED, INT8 = "torch-fp32", "torch-bf16", "compile-fp32", "onnx-int8"
NAMES = [TORCH, BF16, COMPILED, INT8]
DENSES = [
    (DENSE_NAME, TORCH),
    (PACKED, TORCH),
    (DENSE_NAME, BF16),
    (PACKED, BF16),
    (DENSE_NAME, COMPILED),
]
DENSES += [(DENSE_NAME, INT8), (PACKED, INT8)]
# Seconds of a pass.  Dense is fastest packed in int8, far ahead of torch, and so of compiled.
TIMES = {key(*own): at for own, at in zip(DENSES, (9, 8, 6, 5, 0, 4, 3), strict=True)}
TIMES |= {key("lot", TORCH): 5, key("lot", BF16): 2, key("lot", INT8): 1}


class Scores:
    """Stands for the preparation: ``lot`` loses its score in int8."""

    def __init__(self, lost=("lot",)):
        self.unable, self.asked, self.lost = [], [], lost

    def scored(self, entry):
        self.asked.append(entry.key)
        change = -0.1 * (entry.backend == INT8 and entry.name in self.lost)
        score = BackendScore(score=0.5, change=change, flips=0)
        return replace(entry, scores=dict.fromkeys(("selection", "validation"), score))


@pytest.fixture
def spec(monkeypatch, tmp_path) -> PassSpec:
    """A pass whose screening takes `TIMES`."""

    def run_worker(module, short, kind, label):
        assert short.screening and not any("compile" in each.backend for each in short.entries)
        assert [example.text_seed for example in short.examples] == [2, 3]
        times = {
            each.key: [[TIMES[each.key] * 3.0], [TIMES[each.key] * 1.0]] for each in short.entries
        }
        return WorkerResult(None, {2: [GroupTimes({}, times, {}, {})]}, {})

    monkeypatch.setattr(launch, "LOCK", tmp_path / "lock")
    monkeypatch.setattr(launch, "run_worker", run_worker)
    examples = [Example([2], [0], seed) for seed in range(6)]
    return PassSpec(
        *("toy", DeviceSetting("cpu", 1)),
        dense=[Entry(name, None, "dense", backend=backend) for name, backend in DENSES],
        entries=[
            Entry("lot", "a", "lot", Budget("k", 1), backend) for backend in (TORCH, BF16, INT8)
        ],
        examples=examples,
        picked=Picked(examples=6, run=2),
        tokenizer="dense",
        max_length=8,
        batch_sizes=(2,),
        **{**SETTINGS, "backends": NAMES},
    )


def test_a_pass_keeps_each_model_where_it_may_be_fastest_and_dense_beside_it(spec):
    found, scores = narrowed(spec, own := Scores()), own.asked
    # int8 is faster than bf16, where lot holds its score; both are reported.
    assert [each.backend for each in found.entries] == [BF16, INT8]
    assert all(each.scores for each in (*found.dense, *found.entries))
    # Packed is over a fifth faster than padded in int8, but `speedup_padded` needs the latter.
    assert [each.key for each in found.dense] == [key(*own) for own in DENSES[2:4] + DENSES[5:]]
    assert found.backends == NAMES
    assert {(own.trial_id, own.backend) for own in found.slower} == {
        *((DENSE_NAME, TORCH), (PACKED, TORCH), (DENSE_NAME, COMPILED), ("a", TORCH))
    }
    assert Pair(trial_id="a", budget=Budget("k", 1), backend=TORCH) in found.slower
    assert not any(TORCH in name or COMPILED in name for name in scores)


def test_one_backend_is_not_screened(spec, monkeypatch):
    monkeypatch.setattr(launch, "run_worker", None)
    of_int8 = {"dense": spec.dense[5:], "entries": spec.entries[2:], "backends": [INT8]}
    found = narrowed(replace(spec, **of_int8), Scores())
    assert (len(found.dense), len(found.entries), found.slower) == (2, 1, [])


def test_a_screening_makes_at_most_eight_calls(spec):
    worker = Worker.__new__(Worker)
    worker.spec, worker.examples = spec, [*range(20)]
    assert len(worker._batches(1)) == 20
    worker.spec = replace(spec, dense=[])
    assert worker._batches(1) == [[own] for own in range(0, 20, 3)]
    assert worker._batches(8) == [[*range(8)], [*range(8, 16)], [*range(16, 20)]]
