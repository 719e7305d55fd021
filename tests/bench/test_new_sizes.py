"""A text of a new length against the same text later, on one thread.

oneDNN and OpenVINO compile a kernel for every size that they have not met.  Timing passes repeat
their texts after a warm-up, so their speed-ups leave this out.  A ratio of 1 means that a new
length costs nothing; if it is lower for the reduced model than for dense, a service that meets
new lengths all the time sees less of the speed-up.
"""

from __future__ import annotations

import statistics
from pathlib import Path

import paired
import pytest
import torch
from paired import Cell, Measured, in_processes

from baselines.dense import Dense
from lotbench.backends import EXPORTED
from lotbench.batch import Batch
from lotbench.deploy.graph import export
from lotbench.deploy.quantise import quantise_file
from lotbench.deploy.session import feed, open_session
from lotbench.engine.backbone import Backbone
from lotbench.engine.encoder import ReducedEncoder
from lotbench.engine.loading import load_backbone
from lotbench.lot import FixedBudget
from lotbench.measure import protocol
from lotbench.measure.devices import DTYPES

RATIO = "later / new"
PROCESSES, CALLS, LATER = 3, 40, 3
METHODS = {"dense": Dense, "routers 32": FixedBudget}
KEEP = 0.1
CELLS = [
    Cell(backend, method, KEEP if method != "dense" else 1.0, batch, 256)
    for backend in (*DTYPES, "onnx-int8", "openvino-bf16")
    for method in METHODS
    for batch in (1, 32)
]


def model_of(cell: Cell, backbone: Backbone) -> ReducedEncoder:
    """A model that keeps the cell's share of each text, in float32."""
    cls = METHODS[cell.method]
    values = {} if cls is Dense else {"keep_ratio": KEEP}
    reducer = cls(cls.Params(**values), len(backbone.layers), backbone.width)
    return ReducedEncoder(backbone, reducer).eval()


@pytest.fixture(scope="module")
def graphs(backbone, tmp_path_factory) -> Path:
    """A folder with the graphs of both methods, in float32 and int8."""
    folder = tmp_path_factory.mktemp("graphs")
    for cell in CELLS:
        path = folder / f"{cell.method}.onnx"
        if cell.runs_in in EXPORTED and not path.exists():
            path.write_bytes(export(model_of(cell, backbone)).model.SerializeToString())
            quantise_file(path, folder / f"{cell.method}-int8.onnx")
    return folder


def calls_of(cell: Cell, folder: Path) -> list[paired.Step]:
    """A call for each batch; at batch 1 no two have the same length, but kept counts repeat."""
    generator = torch.Generator().manual_seed(0)
    reviews = paired.texts("imdb", 1200, cell.length)
    shape = (CALLS if cell.batch == 1 else CALLS // 4, cell.batch)
    lengths = torch.randint(cell.length // 4, cell.length, shape, generator=generator)
    order = torch.randperm(cell.length // 2, generator=generator) + cell.length // 2
    lengths[:, 0] = order[: shape[0]]
    batches = [paired.cut(reviews, row) for row in lengths.tolist()]
    if cell.runs_in not in EXPORTED:
        backbone = load_backbone(paired.BACKBONE, 2, seed=0)
        encoder = model_of(cell, backbone).to(dtype=DTYPES[cell.runs_in])
        return [lambda batch=batch: encoder(batch) for batch in batches]
    suffix = "-int8" if cell.runs_in.endswith("int8") else ""
    session = open_session(folder / f"{cell.method}{suffix}.onnx", cell.runs_in, threads=1)
    feeds = [feed(session.inputs, *arrays(batch)) for batch in batches]
    return [lambda each=each: session(each) for each in feeds]


def arrays(batch: Batch) -> tuple[list[list[int]], list[list[int]], list[int]]:
    """Token ids, token types and seeds of each text."""
    sizes = list(batch.layout.sizes)
    ids, types = (
        [part.tolist() for part in flat.split(sizes)]
        for flat in (batch.input_ids, batch.token_type_ids)
    )
    return ids, types, batch.text_seed.tolist()


def measure(cells: list[Cell], folder: Path) -> Measured:
    """Seconds of each batch at first and later, measured in a new process.

    Cells of one backend share their kernels, but have no number of tokens in common.
    """
    paired.keep_memory()
    torch.set_num_threads(1)
    found = {}
    for cell in cells:
        calls = paired.calls_of(calls_of(cell, folder))
        with torch.inference_mode():
            timer = protocol.CallTimer()
            timer(paired.CONTENDER, calls[:1])  # what a process does only once
            new = [timer(paired.CONTENDER, [call]) for call in calls[1:]]
            later = [
                statistics.median(timer(protocol.DENSE_NAME, [call]) for _ in range(LATER))
                for call in calls[1:]
            ]
        found[cell] = {protocol.DENSE_NAME: later, paired.CONTENDER: new}
    return found


@pytest.fixture(scope="module")
def runs(request: pytest.FixtureRequest, graphs: Path) -> list[Measured]:
    return in_processes(request, measure, PROCESSES, graphs)


@pytest.mark.parametrize("cell", CELLS, ids=str)
def test_a_text_of_a_new_length(graphs, runs, record, cell):
    if not cell.is_native:
        pytest.skip(f"this processor has no instructions for {cell.runs_in}")
    record(cell, [run[cell] for run in runs], calls_of(cell, graphs)[:1])
