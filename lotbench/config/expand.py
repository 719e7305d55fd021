"""The trials of a sweep, and grids in the parameters of a method: ``{grid: [first, second]}``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

from lotbench.config.document import Document, Place
from lotbench.config.sections import SweepConfig, TrialConfig
from lotbench.errors import InputError
from lotbench.validation import KeyPath

MOST_TRIALS = 2_000


def expand(sweep: SweepConfig, document: Document) -> list[tuple[TrialConfig, Place]]:
    """The trials of a sweep, each with its place in the file.

    The order is that of the file: task, seed, method, block, grid.  A trial that several blocks
    describe is listed once.

    Raises
    ------
    InputError
        If a grid or block is malformed, or there are more than 2,000 trials.
    """
    settings: list[tuple[dict, Place]] = []
    for params, place in _settings(sweep, document):
        settings.append((params, place))
        # Checked here, since grids can multiply to more than any memory holds.
        if len(settings) * len(sweep.tasks) * len(sweep.seeds) > MOST_TRIALS:
            message = f"more than {MOST_TRIALS:,} trials (tasks x seeds x methods x grids)"
            raise InputError(document.fault(("methods",), f"{message}; divide the sweep"))
    trials: dict[str, tuple[TrialConfig, Place]] = {}
    for (task, data), seed, (params, place) in product(sweep.tasks.items(), sweep.seeds, settings):
        method = str(place.path[1])
        trial = TrialConfig.of(sweep, task=task, data=data, seed=seed, method=method, params=params)
        trials.setdefault(trial.trial_id(0), (trial, place))
    return list(trials.values())


def _settings(sweep: SweepConfig, document: Document) -> Iterator[tuple[dict, Place]]:
    """The parameters of each method in every block and grid, with their places."""
    for method, given in sweep.methods.items():
        listed = [((i,), each) for i, each in enumerate(given)] if isinstance(given, list) else []
        for key, block in listed or [((), given)]:
            for params, place in _variants(block, Place(document, ("methods", method, *key))):
                if not isinstance(params, dict):
                    raise InputError(place.fault((), "a method has a mapping of parameters"))
                yield params, place


def _variants(value: Any, place: Place) -> Iterator[tuple[Any, Place]]:
    """The value for every choice of an entry from every grid; the last grid varies fastest."""
    path = _grid_in(value)
    if path is None:
        yield value, place
        return
    grid = value
    for part in path:
        grid = grid[part]
    if len(grid) > 1 or not isinstance(grid["grid"], list) or not grid["grid"]:
        raise InputError(place.fault(path, "a grid is written {grid: [first, second, ...]}"))
    for i, entry in enumerate(grid["grid"]):
        way = (*place.chosen.get(path, ()), "grid", i)
        chosen = Place(place.document, place.path, place.chosen | {path: way})
        yield from _variants(_replaced(value, path, entry), chosen)


def _grid_in(value: Any, path: KeyPath = ()) -> KeyPath | None:
    """The key path of the first grid at any depth; None if there is none."""
    if isinstance(value, dict) and "grid" in value:
        return path
    items = value.items() if isinstance(value, dict) else []
    if isinstance(value, list):
        items = enumerate(value)
    found = (_grid_in(item, (*path, key)) for key, item in items)
    return next((each for each in found if each is not None), None)


def _replaced(value: Any, path: Sequence[str | int], entry: Any) -> Any:
    """A copy of the value with the entry at a key path."""
    if not path:
        return entry
    copy = value.copy()
    copy[path[0]] = _replaced(value[path[0]], path[1:], entry)
    return copy
