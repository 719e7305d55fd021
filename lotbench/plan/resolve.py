"""The checks of one trial: its method, parameters, budgets or targets, and id."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from lotbench import registry
from lotbench.config.document import Document, Place
from lotbench.config.sections import TrialConfig
from lotbench.config.values import Section, Targets
from lotbench.errors import Faults, InputError
from lotbench.reducer import Params, TokenReducer
from lotbench.trial.planned import PlannedTrial
from lotbench.validation import validate


def resolve(config: TrialConfig, place: Place | None = None) -> PlannedTrial:
    """The trial with its method's class, parameters, budgets or targets, and id.

    Among the parameters may be a list of budgets under the plural of the budget's name
    (``thresholds``), or ``targets``; both go before the targets of the sweep.  With a ``place``,
    messages name file and line.
    """
    place = place or Place(Document(""), ("methods", config.method))
    method = _method(config, place)
    values = dict(config.params)
    key = f"{method.budget_name}s"
    budgets = values.pop(key, None) if method.budget_name else None
    listed = None
    if "targets" in values:
        listed = validate(_Targets, {"targets": values.pop("targets")}, place.fault).targets
    params = registry.make_params(method, values, place.fault)
    if budgets is not None:
        _check_budgets(method, params, budgets, key, place)
    of_sweep = budgets is None and listed is None and method.budget_name is not None
    shared = config.targets if of_sweep else None
    targets = shared if listed is None else listed
    if targets and (budgets is not None or method.budget_range is None):
        raise InputError(place.fault(("targets",) if listed else (), _no_targets(method, key)))
    draws = config.train.budgets == "sampled" and method.budget_range is not None
    if targets or draws:
        _check_range(method, params, place)
    whole = isinstance(getattr(params, method.budget_name or "", None), int)
    plugins = [str(Path(p).resolve()) if p.endswith(".py") else p for p in config.plugins]
    # Without targets of no use, so that they change no trial id.
    config = config.model_copy(update={"plugins": plugins, "targets": shared})
    return PlannedTrial(
        config,
        method,
        params,
        tuple(budget if whole else float(budget) for budget in budgets or ()),
        tuple(targets or ()),
        config.trial_id(method.version),
        place,
    )


def _method(config: TrialConfig, place: Place) -> type[TokenReducer]:
    """The method's class.

    Plugins are imported for it, but none changes what torch computes with: their code also runs in
    the workers of other methods.
    """
    threads, dtype = torch.get_num_threads(), torch.get_default_dtype()
    faults = Faults()
    try:
        for i, plugin in enumerate(config.plugins):
            with faults.collected(), place.document.at(("plugins", i)):
                registry.load_plugin(plugin)
        faults.check()
        try:
            return registry.get(config.method)
        except InputError as error:
            raise InputError(place.fault(place.name, str(error))) from error
    finally:
        torch.set_num_threads(threads)
        torch.set_default_dtype(dtype)


class _Targets(Section):
    targets: Targets


def _no_targets(method: type[TokenReducer], key: str) -> str:
    """Why a method cannot be given targets."""
    if method.budget_name is None:
        return f"{method.name} has no budget after training, so it cannot be moved to a target"
    if method.budget_range is None:
        return f"{method.name} does not say its budget_range, so list {key} instead of targets"
    return f"give targets or {key}, not both"


def _check_range(method: type[TokenReducer], params: Params, place: Place) -> None:
    """Refuses a range of budgets that targets cannot be searched in, nor budgets drawn from."""
    assert method.budget_range is not None, "a method without it gets neither"
    low, high = method.budget_range
    if (low, high) == (0, 1):  # the ends themselves are not tried
        return
    name = f"{method.__name__}.budget_range"
    if not 0 < low < high:
        message = f"{name}: (0, 1), or two positive ends in order (given: {low:g}, {high:g})"
        raise InputError(place.fault((), message))
    for end in (low, high):
        method.check_budget(
            params, end, lambda _, why, end=end: place.fault((), f"{name}: {end:g}: {why}")
        )


def _check_budgets(
    method: type[TokenReducer], params: Params, budgets: Any, key: str, place: Place
) -> None:
    numbers = isinstance(budgets, list) and all(type(x) in (int, float) for x in budgets)
    if not numbers or not budgets or len(set(budgets)) < len(budgets):
        message = f"a list of different numbers is needed (given: {budgets!r:.60})"
        raise InputError(place.fault((key,), message))
    for i, budget in enumerate(budgets):
        method.check_budget(params, budget, lambda _, message, i=i: place.fault((key, i), message))
