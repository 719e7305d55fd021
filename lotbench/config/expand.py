"""The blocks of a sweep, and grids in the parameters of a method: ``{grid: [first, second]}``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from lotbench.config.document import Document, Place
from lotbench.config.sections import SweepConfig, TrialConfig
from lotbench.config.spaces import Space, is_space, space_of
from lotbench.errors import InputError
from lotbench.validation import KeyPath

MOST_TRIALS = 2_000


@dataclass(frozen=True)
class Block:
    """The parameters of a method on one task with one seed, and the spaces of those to search."""

    config: TrialConfig
    """Without the searched parameters."""
    spaces: dict[str, Space]
    """By parameter; empty if nothing is searched."""
    place: Place
    """Where the file describes it."""


def expand(sweep: SweepConfig, document: Document) -> list[Block]:
    """The blocks of a sweep; without a search each is a trial.

    The order is that of the file: task, seed, method, block, grid.  A block that the file describes
    several times is listed once.
    """
    settings: list[tuple[dict, dict, Place]] = []
    count = 0
    for params, place in _settings(sweep, document):
        settings.append((*_divided(params, place, sweep.search is not None), place))
        tried = sweep.search.trials if sweep.search and settings[-1][1] else 1
        count += (tried + sweep.confirmed_trials) * len(sweep.tasks) * len(sweep.trained_seeds)
        # Checked here, since grids can multiply to more than any memory holds.
        if count > MOST_TRIALS:
            factors = "tasks x seeds x methods x grids"
            if sweep.search:
                factors = "tasks x methods x grids x trials of the search and of its confirmation"
            message = f"more than {MOST_TRIALS:,} trials ({factors}); divide the sweep"
            raise InputError(document.fault(("methods",), message))
    blocks: dict[tuple[str, str], Block] = {}
    for (task, data), seed, (params, spaces, place) in product(
        sweep.tasks.items(), sweep.trained_seeds, settings
    ):
        method = str(place.path[1])
        own = {"task": task, "data": data, "seed": seed, "method": method, "params": params}
        trial = TrialConfig.of(sweep, suite=sweep.suite, **own)
        blocks.setdefault((trial.trial_id(0), repr(spaces)), Block(trial, spaces, place))
    return list(blocks.values())


def _divided(params: dict, place: Place, searching: bool) -> tuple[dict, dict[str, Space]]:
    """The fixed parameters, and the spaces of the others."""
    fixed, spaces = {}, {}
    for name, value in params.items():
        if not is_space(value):
            fixed[name] = value
            continue
        if not searching:
            message = "a space needs `search: {trials: N}` in the sweep; or list values in a grid"
            raise InputError(place.fault((name,), message))
        try:
            spaces[name] = space_of(value)
        except ValueError as error:
            raise InputError(place.fault((name,), str(error))) from None
    return fixed, spaces


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
