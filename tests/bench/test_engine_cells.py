"""The packed engine against the physical limit.

The limit is the dense Hugging Face model fed sequences that are really as short as the kept
tokens; 1 means that packing is free.  With routers on, the limit also gets the routers' own time
on all tokens.  Processes differ by more than their rounds do (a process lays out its memory once),
so each of several measures all selected cells, and a cell's ratio is the median of all rounds.
"""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from typing import NamedTuple

import paired
import pytest
import torch
from torch import Tensor

from lotbench.batch import Batch
from lotbench.engine.backbone import Backbone
from lotbench.engine.encoder import ReducedEncoder
from lotbench.engine.loading import load_backbone
from lotbench.lot import LeapOfThought
from lotbench.measure import protocol
from lotbench.ragged import Ragged
from lotbench.reducer import Leap, Params, TokenReducer, Tokens

RATIO = "limit / packed"
PROCESSES, ROUNDS = 5, 5
WIDTHS = {"no router": None, "router 32": 32, "router 256": 256}
TARGETS = {"no router": 0.95, "router 32": 0.92, "router 256": 0.92}


class Cell(NamedTuple):
    """One setting: the method, the share of tokens kept, and the size of the batch."""

    method: str
    keep: float
    batch: int
    length: int

    def __str__(self) -> str:
        return f"{self.method}, keep {self.keep:.0%}, {self.batch} x {self.length} tokens"


CELLS = [
    Cell(method, keep, batch, length)
    for method in WIDTHS
    for keep in (0.1, 0.3, 0.5)
    for batch in (1, 16)
    for length in (128, 512)
]


class FixedLeap(TokenReducer):
    """Every layer computes the same number of randomly chosen tokens of each sequence."""

    masks: list[Tensor]

    def before_layer(self, layer: int, tokens: Tokens) -> Leap:
        return Leap(self.masks[layer])


class RoutedLeap(LeapOfThought):
    """Leap-of-Thought whose routers run in full, but whose decisions are fixed."""

    masks: list[Tensor]

    def before_layer(self, layer: int, tokens: Tokens) -> Leap:
        decision = super().before_layer(layer, tokens)
        return Leap(self.masks[layer], aux=decision.aux)


def fixed_masks(cell: Cell, layers: int) -> list[Tensor]:
    """Masks (T,) of every layer: the first token and random others, the same number in each."""
    generator = torch.Generator().manual_seed(0)
    masks = []
    for _ in range(layers):
        score = torch.rand(cell.batch, cell.length, generator=generator)
        score[:, 0] = 2.0
        kept = score.argsort(1, descending=True).argsort(1) < round(cell.keep * cell.length)
        masks.append(kept.flatten())
    return masks


def sides(
    cell: Cell, backbone: Backbone, whole: Batch
) -> tuple[list[protocol.Call], list[protocol.Call]]:
    """The calls of the limit and of the engine."""
    layers, width = len(backbone.layers), WIDTHS[cell.method]
    if width is None:
        reducer = FixedLeap(Params(), layers, backbone.width)
    else:  # no context token, since the limit has none
        params = LeapOfThought.Params(router_width=width, leaping_keys="none")
        reducer = RoutedLeap(params, layers, backbone.width)
    reducer.masks = fixed_masks(cell, layers)
    encoder = ReducedEncoder(backbone, reducer).eval()
    ids = whole.input_ids.view(cell.batch, cell.length)
    short = ids[:, : round(cell.keep * cell.length)].contiguous()
    types = torch.zeros_like(short)
    hidden = torch.randn(cell.batch * cell.length, backbone.width)

    def packed():
        layout = Ragged(whole.layout.cu_seqlens, whole.layout.sizes)  # caches nothing yet
        return encoder(replace(whole, layout=layout)).logits

    def limit():
        return backbone.model(input_ids=short, token_type_ids=types).logits

    def routers():
        for router in getattr(reducer, "routers", ()):
            router(hidden, whole.layout)

    return [limit, routers], [packed]


def measure(cells: list[Cell]) -> dict[Cell, protocol.Samples]:
    """Samples of every cell, measured in a new process."""
    paired.keep_memory()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    backbone = load_backbone(paired.BACKBONE, 2, seed=0).eval()
    reviews = paired.texts("imdb", 100, 256)
    return {
        cell: paired.samples(
            *sides(cell, backbone, paired.cut(reviews, [cell.length] * cell.batch)),
            rounds=ROUNDS,
            training=False,
        )
        for cell in cells
    }


@pytest.fixture(scope="module")
def runs(request: pytest.FixtureRequest) -> list[dict[Cell, protocol.Samples]]:
    """What each process measured of the selected cells."""
    cells = [
        item.callspec.params["cell"]
        for item in request.session.items
        if item.module is request.module
    ]
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, spawn, max_tasks_per_child=1) as pool:
        return list(pool.map(measure, [cells] * PROCESSES))


@pytest.mark.parametrize("cell", CELLS, ids=str)
def test_packed_engine_is_near_the_physical_limit(backbone, make_batch, runs, record, cell):
    _, packed = sides(cell, backbone, make_batch([cell.length] * cell.batch))
    assert record(str(cell), [run[cell] for run in runs], packed) >= TARGETS[cell.method]
