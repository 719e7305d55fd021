"""Fixtures of the conformance tests: a shared teacher cache in a test folder, and one thread."""

from collections.abc import Iterator

import pytest

from lotbench import registry


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("LOTBENCH_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    monkeypatch.setattr(registry, "_plugins", {})
    yield
