"""The engine and its exported graphs against the physical limit at twelve layers.

The limit is the dense model fed sequences as short as the kept tokens.  The weights are random, and
the first tokens are kept from the first layer on.  Each of several processes measures all selected
cells.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import paired
import pytest
import torch
from paired import Cell, Measured, in_processes
from transformers import BertConfig, BertForSequenceClassification

from baselines.dense import Dense
from baselines.first_k import FirstK
from lotbench.batch import Batch
from lotbench.deploy.graph import export
from lotbench.deploy.quantise import quantise_file
from lotbench.engine.backbone import Backbone
from lotbench.engine.encoder import ReducedEncoder
from lotbench.ragged import Ragged

RATIO = "limit / reduced, twelve layers"
PROCESSES, ROUNDS = 3, 5
HEADS = {384: 12, 768: 12}
TARGETS = {"fp32": 0.95, "onnx-fp32": 0.85, "onnx-int8": 0.70}

CELLS = [
    Cell(runs_in, f"12 x {width}", keep, batch, 256)
    for width in HEADS
    for runs_in in TARGETS
    for keep in (0.1, 0.3)
    for batch in (1, 16)
]


def model_of(cell: Cell, k: int | None) -> ReducedEncoder:
    """An encoder of the cell's size that keeps k tokens, or all."""
    width = int(cell.method.rpartition(" ")[2])
    torch.manual_seed(0)
    config = BertConfig(
        hidden_size=width,
        num_hidden_layers=12,
        num_attention_heads=HEADS[width],
        intermediate_size=4 * width,
    )
    backbone = Backbone(BertForSequenceClassification(config).eval())
    method, values = (Dense, {}) if k is None else (FirstK, {"k": k})
    return ReducedEncoder(backbone, method(method.Params(**values), 12, width)).eval()


@pytest.fixture(scope="module")
def graphs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the graphs of dense and of the first tokens, of every size and precision."""
    folder = tmp_path_factory.mktemp("graphs")
    chosen = [item.callspec.params["cell"] for item in request.session.items]
    for cell in {own.method: own for own in chosen if own.runs_in != "fp32"}.values():
        for name, k in (("dense", None), ("first", 1)):
            path = folder / f"{cell.method}-{name}-onnx-fp32.onnx"
            path.write_bytes(export(model_of(cell, k)).model.SerializeToString())
            quantise_file(path, folder / f"{cell.method}-{name}-onnx-int8.onnx")
    return folder


def sides(cell: Cell, whole: Batch, folder: Path) -> tuple[list[paired.Step], list[paired.Step]]:
    """The calls of the limit and of the reduced model."""
    ids = whole.input_ids.view(cell.batch, cell.length)
    short = ids[:, : cell.kept].contiguous()
    if cell.runs_in != "fp32":

        def call(name: str, rows: list[list[int]], budget: int | None = None) -> paired.Step:
            path = folder / f"{cell.method}-{name}-{cell.runs_in}.onnx"
            return paired.graph_call(path, cell.runs_in, rows, budget)

        return [call("dense", short.tolist())], [call("first", ids.tolist(), cell.kept)]
    encoder = model_of(cell, cell.kept)
    model, types = encoder.backbone.model, torch.zeros_like(short)

    def packed() -> object:
        layout = Ragged(whole.layout.cu_seqlens, whole.layout.sizes)  # caches nothing yet
        return encoder(replace(whole, layout=layout)).logits

    return [lambda: model(input_ids=short, token_type_ids=types)], [packed]


@pytest.fixture(scope="module")
def runs(request: pytest.FixtureRequest, graphs: Path) -> list[Measured]:
    return in_processes(request, paired.measure_sides, PROCESSES, sides, graphs, ROUNDS)


@pytest.mark.parametrize("cell", CELLS, ids=str)
def test_twelve_layers_are_near_the_physical_limit(graphs, make_batch, runs, record, cell):
    if not cell.is_native:
        pytest.skip(f"this processor has no instructions for {cell.runs_in}")
    _, reduced = sides(cell, make_batch([cell.length] * cell.batch), graphs)
    record(cell, [run[cell] for run in runs], reduced, TARGETS[cell.runs_in])
