"""The trials of a sweep."""

from __future__ import annotations

from itertools import product

from lotbench.config.document import Document, Place
from lotbench.config.grid import count, variants
from lotbench.config.sections import SweepConfig, TeacherConfig, TrialConfig


def number_of_trials(sweep: SweepConfig) -> int:
    """The trials that `expand` makes, or more where several blocks describe the same one."""
    blocks = [block for name, given in sweep.methods.items() for _, block in _blocks(name, given)]
    return len(sweep.tasks) * len(sweep.seeds) * sum(map(count, blocks))


def expand(sweep: SweepConfig, document: Document) -> list[tuple[TrialConfig, Place]]:
    """The trials of a sweep, each with its place in the file.

    The order is that of the file: task, seed, method, block, grid.  A trial that several blocks
    describe is listed once.
    """
    trials: dict[str, tuple[TrialConfig, Place]] = {}
    for (task, data), seed, (method, blocks) in product(
        sweep.tasks.items(), sweep.seeds, sweep.methods.items()
    ):
        for path, block in _blocks(method, blocks):
            for params, chosen in variants(block):
                trial = TrialConfig(
                    backbone=sweep.backbone,
                    layers=sweep.layers,
                    data_root=sweep.data_root,
                    task=task,
                    data=data,
                    seed=seed,
                    train=sweep.train,
                    teacher=TeacherConfig.like(sweep.train, sweep.teacher),
                    method=method,
                    params=params,
                    targets=sweep.targets,
                    plugins=sweep.plugins,
                )
                place = Place(document, ("methods", *path), chosen)
                trials.setdefault(trial.trial_id(0), (trial, place))
    return list(trials.values())


def _blocks(method: str, blocks: dict | list[dict]) -> list[tuple[tuple[str | int, ...], dict]]:
    """The parameter blocks of a method, each with its key path relative to ``methods``."""
    if isinstance(blocks, list):
        return [((method, i), block) for i, block in enumerate(blocks)]
    return [((method,), blocks)]
