"""LoTBench: benchmarks and ablations for token reduction in transformer encoders.

The Python interface; torch is imported on first use::

    trial = lotbench.run("trial.yaml")                  # one trial, no Ray
    model = lotbench.load("results/quickstart/models/...")
    logits = model(["a text", ("a pair", "of texts")])
    vectors = model.encode(["a text"])                  # of an embedding model
    scores = lotbench.results("results/quickstart")     # tidy DataFrame of scored models
    times = lotbench.timings("results/quickstart")      # tidy DataFrame of timed models
    encoder = lotbench.ReducedEncoder(backbone, reducer)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lotbench.api import TrainedModel, load, run
    from lotbench.engine.encoder import ReducedEncoder
    from lotbench.errors import InputError
    from lotbench.statistics.frames import results, timings

__all__ = [
    "InputError",
    "ReducedEncoder",
    "TrainedModel",
    "load",
    "results",
    "run",
    "timings",
]
__version__ = "0.1.0"

_HOME = {
    "InputError": "lotbench.errors",
    "ReducedEncoder": "lotbench.engine.encoder",
    "TrainedModel": "lotbench.api",
    "load": "lotbench.api",
    "results": "lotbench.statistics.frames",
    "run": "lotbench.api",
    "timings": "lotbench.statistics.frames",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'lotbench' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
