"""Both ways to run the engine."""

import pytest
from scripted import MODES


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> str:
    """The packed path, and the reference that it must equal."""
    return request.param
