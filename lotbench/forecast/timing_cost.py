"""The timing passes of a sweep before it runs: how long they take here."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from itertools import chain, groupby

import torch

from lotbench import backends
from lotbench.config.sections import MeasureConfig
from lotbench.data.task import Task
from lotbench.engine.loading import random_backbone
from lotbench.measure import launch
from lotbench.measure.cost import Work, pass_seconds
from lotbench.measure.flops import dense_flops
from lotbench.plan.groups import Group, groups, part_of
from lotbench.plan.plan import Plan
from lotbench.store.store import Store

UNKNOWN = 2.0
"""FLOPs speed-up of a model whose budget is not searched for a target."""


def timing_seconds(planned: Plan, tasks: Mapping[str, Task]) -> dict[str, float]:
    """Seconds of the parts of all passes; of the models that the store has not timed.

    ``tasks`` are those that have trials to do; of the others, the rows of the store say what is
    needed.
    """
    config, found = planned.sweep.measure, dict[str, float]()
    if config is None:
        return found
    every = launch.settings(config.devices, config.threads)
    works = _works(planned, config, tasks)
    for device, own in groupby(every, key=lambda setting: setting.device):
        names, settings = backends.chosen(config.backends, device), list(own)
        for work, passes in works:
            for part, seconds in pass_seconds(work, config, names, settings).items():
                found[part] = found.get(part, 0.0) + passes * seconds
    return found


def _works(
    planned: Plan, config: MeasureConfig, tasks: Mapping[str, Task]
) -> list[tuple[Work, int]]:
    """What a pass of each task has to do, and the number of passes: one for each seed."""
    store, sweep = Store(planned.folder), planned.sweep
    rows = {row.task: row.evaluations for row in store.done().values() if row.evaluations}
    timed = {each.trial_id for own in store.timings() for each in own.contenders}
    models: dict[str, list[list[float]]] = defaultdict(list)
    for group in groups(planned):
        models[group.task] += _untimed(group, config, timed) if group.method != "dense" else []
    seeds = len(sweep.trained_seeds if sweep.search is None else sweep.confirmation.seeds)
    found = []
    for name, own in models.items():
        if name in tasks:
            task = tasks[name]
            backbone = random_backbone(sweep.backbone, task.n_labels, sweep.layers)
            flops = float(dense_flops(torch.tensor(task.validation.lengths), backbone).mean())
            texts = len(task.validation) + len(task.selection)
        elif name in rows:
            flops = rows[name][0].dense_flops
            texts = sum({each.split: each.examples for each in rows[name]}.values())
        else:  # not in this run
            continue
        first = own[::seeds]
        if first:
            found.append((Work([*chain.from_iterable(first)], len(first), texts, flops), seeds))
    return found


def _untimed(
    group: Group, config: MeasureConfig, timed: Collection[str | None]
) -> list[list[float]]:
    """The FLOPs speed-ups of each model of a group that no pass has timed."""
    shown = [
        trial
        for name, trial in group.trials.items()
        if name not in timed and (trial.mark is None or part_of(trial) == "confirmation")
    ]
    one = next(iter(group.trials.values()), None)
    asked = [own for own in (one.targets if one else ()) if own in (config.targets or (own,))]
    points = asked or [UNKNOWN] * max(1, len(one.budgets) if one else 0)
    return [points] * (len(shown) + group.coming["confirmation"])
