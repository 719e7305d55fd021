"""Fixtures of the benchmarks: a backbone, and a table of paired ratios.

Every test is pinned to one thread and seeded by ``tests/conftest.py``.
"""

import statistics
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import paired
import pytest
import torch

from lotbench.batch import Batch
from lotbench.engine.backbone import Backbone
from lotbench.engine.loading import load_backbone
from lotbench.measure import protocol
from lotbench.store.passes import Interval

Check = Callable[..., None]


class Row(NamedTuple):
    """What a bench found: reference / contender, and the contender's seconds."""

    ratio: Interval
    seconds: float


Rows = dict[paired.Cell, Row]


@pytest.fixture(scope="session", autouse=True)
def _allocator() -> None:
    paired.keep_memory()


@pytest.fixture(scope="session")
def backbone() -> Backbone:
    """MiniLM with two labels, in float32 and eval mode; do not change it."""
    return load_backbone(paired.BACKBONE, 2, seed=0).eval()


@pytest.fixture(scope="session")
def make_batch() -> Callable[[Sequence[int]], Batch]:
    """A function that makes a ragged batch of given lengths from film reviews."""
    reviews = paired.reviews()
    return lambda lengths: paired.cut(reviews, lengths)


@pytest.fixture(scope="module")
def table(request: pytest.FixtureRequest) -> Iterator[Rows]:
    """Paired ratios of a module's cases; printed when it is done."""
    rows: Rows = {}
    yield rows
    print(f"\n\n{request.module.RATIO}, one thread, torch {torch.__version__}")
    for case, (ratio, seconds) in rows.items():
        interval = f"({ratio.low:.3f} to {ratio.high:.3f})"
        print(f"{case!s:<52}{ratio.median:>9.3f} {interval:<18}{1000 * seconds:>10.3f} ms")


@pytest.fixture
def record(benchmark, table: Rows) -> Check:
    """A function: checks the median of paired ratios, reference / contender, over processes.

    The ratio goes to the table and, with its 95% interval, to the record of pytest-benchmark,
    whose own numbers are the seconds of the contender's calls in this process.
    """

    def check(
        case: paired.Cell,
        runs: Sequence[protocol.Samples],
        contender: Sequence[paired.Step],
        target: float,
    ) -> None:
        both = protocol.pool(runs, (protocol.DENSE_NAME, paired.CONTENDER))
        rounds = [len(run[protocol.DENSE_NAME]) for run in runs]
        ratio = protocol.speedup(*both.values(), runs=rounds)
        seconds = statistics.median(both[paired.CONTENDER])
        with torch.inference_mode():
            benchmark.pedantic(
                protocol.CallTimer(),
                (paired.CONTENDER, paired.calls_of(contender)),
                rounds=3,
                iterations=min(int(paired.SAMPLE / seconds) + 1, 100),
            )
        table[case] = Row(ratio, seconds)
        benchmark.extra_info.update(ratio.model_dump())
        assert ratio.median >= target

    return check
