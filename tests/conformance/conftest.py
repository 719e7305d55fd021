"""Fixtures of the conformance tests: a shared teacher cache in a test folder, and one thread."""

import os
from collections.abc import Iterator

import pytest

from lotbench import registry


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:  # all workers share what their folders are in
        folder = folder.parent
    monkeypatch.setenv("LOTBENCH_CACHE", str(folder / "cache"))
    monkeypatch.setattr(registry, "_plugins", {})
    yield
