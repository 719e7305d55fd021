"""Exported graphs against the physical limit, in ONNX Runtime on one thread.

The limit is the exported dense model fed sequences that are really as short as the kept tokens,
plus the time of the routers on all tokens; 1 means that leaving tokens out is free. A table of
words, which decides before the embedding, adds nothing to its limit. Each of several processes
measures all selected cells, and a cell's ratio is the median of all rounds.
"""

from pathlib import Path
from typing import Any

import numpy as np
import paired
import pytest
import torch
from paired import Cell, Measured, in_processes
from torch import Tensor, nn

from baselines.dense import Dense
from baselines.first_k import FirstK
from lotbench.batch import Batch
from lotbench.deploy.graph import export, silent
from lotbench.deploy.quantise import quantise_file
from lotbench.deploy.session import open_session
from lotbench.engine.encoder import ReducedEncoder
from lotbench.lot import ALL_LAYERS, FixedBudget
from lotbench.reducer import TokenReducer

RATIO = "limit / exported"
PROCESSES, ROUNDS = 3, 5
# What is done beside the layers weighs most where few tokens are kept.
KEEP = 0.1
BACKENDS = ("onnx-fp32", "onnx-int8")
TARGET = 0.90
FIRST, ROUTERS, ONE_ROUTER, TABLE = "first tokens", "routers 32", "one router 32", "table"
ALONE: dict[str, Any] = {"router_context": False, "leaping_keys": "none"}
# The first keeps the same tokens in every layer; the second has a router before every layer, the
# third before the first alone; the fourth looks words up before the embedding.
METHODS: dict[str, tuple[type[TokenReducer], dict]] = {
    FIRST: (FirstK, {"k": 16}),
    ROUTERS: (FixedBudget, ALONE),
    ONE_ROUTER: (FixedBudget, {**ALONE, "decision_every": ALL_LAYERS}),
    TABLE: (FixedBudget, {"router": "table"}),
}


CELLS = [
    Cell(backend, method, KEEP, batch, length)
    for backend in BACKENDS
    for method in METHODS
    for batch in (1, 16, 32)
    for length in (128, 256, 512)
]


class Routers(nn.Module):
    """All routers of a model on the same tokens."""

    def __init__(self, reducer: FixedBudget) -> None:
        super().__init__()
        self.routers = reducer.routers

    def forward(self, hidden: Tensor) -> Tensor:
        """``(T, D) -> (T, 2)``."""
        parts = [
            router.outer(nn.functional.gelu(router.inner(router.norm(hidden))))
            for router in self.routers
        ]
        return torch.stack(parts).sum(0)


@pytest.fixture(scope="module")
def graphs(backbone, tmp_path_factory) -> Path:
    """A folder with the graphs of all methods, of dense and of the routers, in both precisions."""
    folder = tmp_path_factory.mktemp("graphs")
    layers, width = len(backbone.layers), backbone.width
    for name, (cls, values) in {"dense": (Dense, {}), **METHODS}.items():
        reducer = cls(cls.Params(**values), layers, width)
        with torch.no_grad():
            reducer.after_training(backbone.words)
        model = export(ReducedEncoder(backbone, reducer).eval()).model
        path = folder / f"{name}-onnx-fp32.onnx"
        path.write_bytes(model.SerializeToString())
        quantise_file(path, folder / f"{name}-onnx-int8.onnx")
        if name in (ROUTERS, ONE_ROUTER):
            rows = torch.export.Dim.DYNAMIC
            with silent(), torch.no_grad():
                made = torch.onnx.export(
                    Routers(reducer).eval(),
                    (torch.zeros(8, width),),
                    input_names=["hidden"],
                    dynamic_shapes=({0: rows},),
                    dynamo=True,
                    optimize=False,
                )
            (folder / f"only {name}.onnx").write_bytes(made.model_proto.SerializeToString())
    return folder


def sides(cell: Cell, whole: Batch, folder: Path) -> tuple[list[paired.Step], list[paired.Step]]:
    """The calls of the limit and of the exported graph."""
    ids = whole.input_ids.view(cell.batch, cell.length).tolist()

    def call(name: str, rows: list[list[int]], budget: float | None = None) -> paired.Step:
        path = folder / f"{name}-{cell.runs_in}.onnx"
        return paired.graph_call(path, cell.runs_in, rows, budget)

    limit = [call("dense", [row[: cell.kept] for row in ids])]
    if cell.method == FIRST:
        return limit, [call(cell.method, ids, cell.kept)]
    exported = [call(cell.method, ids, cell.kept / cell.length)]
    if cell.method == TABLE:
        return limit, exported
    router = open_session(folder / f"only {cell.method}.onnx", "onnx-fp32", threads=1)
    states = np.random.default_rng(0).normal(size=(whole.layout.total, 384)).astype(np.float32)
    return [*limit, lambda: router({"hidden": states})], exported


@pytest.fixture(scope="module")
def runs(request: pytest.FixtureRequest, graphs: Path) -> list[Measured]:
    return in_processes(request, paired.measure_sides, PROCESSES, sides, graphs, ROUNDS)


@pytest.mark.parametrize("cell", CELLS, ids=str)
def test_an_exported_graph_is_near_the_physical_limit(graphs, make_batch, runs, record, cell):
    if not cell.is_native:
        pytest.skip(f"this processor has no instructions for {cell.runs_in}")
    _, exported = sides(cell, make_batch([cell.length] * cell.batch), graphs)
    record(cell, [run[cell] for run in runs], exported, TARGET)
