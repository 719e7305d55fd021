"""The conformance tests share one teacher, outside the user's cache, and one core."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lotbench import registry


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("LOTBENCH_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    monkeypatch.setattr(registry, "_plugins", {})
    yield
