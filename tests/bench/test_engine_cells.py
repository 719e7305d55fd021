"""The packed engine against the physical limit.

The limit is the dense Hugging Face model fed sequences that are really as short as the kept tokens;
1 means that packing is free. With routers on, before every layer or before the first alone, the
limit also gets the routers' own time on all tokens. A table of words, which decides before the
embedding, gets none. Processes differ by more than their rounds do (a process lays out its memory
once), so each of several measures all selected cells, and a cell's ratio is the median of all
rounds.
"""

from dataclasses import replace

import paired
import pytest
import torch
from paired import Cell, Measured, in_processes
from torch import Tensor

from lotbench.batch import Batch
from lotbench.engine.backbone import Backbone
from lotbench.engine.encoder import ReducedEncoder
from lotbench.engine.loading import load_backbone
from lotbench.lot import ALL_LAYERS, FixedBudget, LeapOfThought
from lotbench.measure.devices import DTYPES
from lotbench.ragged import Ragged
from lotbench.reducer import Leap, Params, TokenReducer, Tokens

RATIO = "limit / packed"
PROCESSES, ROUNDS = 3, 5
# What is done beside the layers weighs most where few tokens are kept.
KEEP = 0.1
NO_ROUTER, ROUTERS, ONE_ROUTER, TABLE = "no router", "routers 32", "one router 32", "table"
TARGET, WITH_ROUTERS, DECIDED_ONCE = 0.95, {"fp32": 0.92, "bf16": 0.90}, 0.90


CELLS = [
    Cell(precision, method, KEEP, batch, length)
    for precision in DTYPES
    for method in (NO_ROUTER, ROUTERS, ONE_ROUTER, TABLE)
    for batch in (1, 16, 32)
    for length in (128, 256, 512)
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
        kept = score.argsort(1, descending=True).argsort(1) < cell.kept
        masks.append(kept.flatten())
    return masks


def make_reducer(cell: Cell, backbone: Backbone, layers: int) -> TokenReducer:
    """The method of a cell, which keeps its share of the tokens."""
    if cell.method == TABLE:
        share = cell.kept / cell.length
        params = FixedBudget.Params(router="table", keep_ratio=share)
        reducer = FixedBudget(params, layers, backbone.width)
        with torch.no_grad():
            reducer.after_training(backbone.words.float())
        return reducer
    masks = fixed_masks(cell, layers)
    if cell.method == NO_ROUTER:
        reducer = FixedLeap(Params(), layers, backbone.width)
    else:  # no context token, since the limit has none
        every = ALL_LAYERS if cell.method == ONE_ROUTER else 1
        params = LeapOfThought.Params(leaping_keys="none", decision_every=every)
        reducer = RoutedLeap(params, layers, backbone.width)
        masks = masks[:1] * layers if cell.method == ONE_ROUTER else masks
    reducer.masks = masks
    return reducer


def sides(
    cell: Cell, backbone: Backbone, whole: Batch
) -> tuple[list[paired.Step], list[paired.Step]]:
    """The calls of the limit and of the engine; the backbone has the cell's precision."""
    layers, dtype = len(backbone.layers), DTYPES[cell.runs_in]
    reducer = make_reducer(cell, backbone, layers)
    encoder = ReducedEncoder(backbone, reducer).eval().to(dtype=dtype)
    ids = whole.input_ids.view(cell.batch, cell.length)
    short = ids[:, : cell.kept].contiguous()
    types = torch.zeros_like(short)
    hidden = torch.randn(cell.batch * cell.length, backbone.width, dtype=dtype)

    def packed():
        layout = Ragged(whole.layout.cu_seqlens, whole.layout.sizes)  # caches nothing yet
        return encoder(replace(whole, layout=layout)).logits

    def limit():
        return backbone.model(input_ids=short, token_type_ids=types).logits

    def routers():
        for router in getattr(reducer, "routers", ()):
            router(hidden, whole.layout)

    return [limit, routers], [packed]


def measure(cells: list[Cell]) -> Measured:
    """Samples of every cell, measured in a new process."""
    paired.keep_memory()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    backbones = {name: load_backbone(paired.BACKBONE, 2, seed=0).eval() for name in DTYPES}
    reviews = paired.reviews()
    return {
        cell: paired.samples(
            *sides(cell, backbones[cell.runs_in], paired.cut(reviews, [cell.length] * cell.batch)),
            rounds=ROUNDS,
        )
        for cell in cells
    }


@pytest.fixture(scope="module")
def runs(request: pytest.FixtureRequest) -> list[Measured]:
    return in_processes(request, measure, PROCESSES)


@pytest.mark.parametrize("cell", CELLS, ids=str)
def test_packed_engine_is_near_the_physical_limit(make_batch, runs, record, cell):
    if not cell.is_native:
        pytest.skip(f"this processor has no instructions for {cell.runs_in}")
    backbone = load_backbone(paired.BACKBONE, 2, seed=0).eval()
    _, packed = sides(cell, backbone, make_batch([cell.length] * cell.batch))
    if cell.method in (ONE_ROUTER, TABLE):
        target = DECIDED_ONCE
    else:
        target = TARGET if cell.method == NO_ROUTER else WITH_ROUTERS[cell.runs_in]
    record(cell, [run[cell] for run in runs], packed, target)
