"""The trials of a sweep before it runs: which are done, and what each costs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from lotbench.data.task import load_task
from lotbench.engine.loading import load_backbone, load_tokenizer, read_config
from lotbench.measure.flops import dense_flops
from lotbench.reducer import Stage
from lotbench.store.store import Store
from lotbench.study.plan import Plan
from lotbench.study.planned import PlannedTrial
from lotbench.study.progress import duration
from lotbench.study.training import total_steps

if TYPE_CHECKING:
    from rich.table import Table


def preview(planned: Plan) -> Table:
    """One line per trial: status, steps, and the FLOPs of training it with every token kept.

    A training step counts as three forward passes, without the teacher's; a method that drops
    tokens while it trains costs less.

    Raises
    ------
    InputError
        If the data or the backbone is at fault.
    """
    from rich.table import Table

    done = Store(planned.folder).done()
    tokenizer = load_tokenizer(planned.sweep.backbone)
    sizes: dict[str, tuple[int, float]] = {}
    table = Table("trial", "parameters", "status", "steps", "TFLOPs to train")
    total = 0.0
    for name, trial in planned.trials.items():
        config = trial.config
        if config.task not in sizes:
            with trial.place.document.at(("tasks", config.task)):
                task = load_task(config.task, config.data, tokenizer, config.seed, config.data_root)
                backbone = load_backbone(config.backbone, task.n_labels, config.layers)
            flops = dense_flops(torch.from_numpy(task.train.lengths), backbone)
            # Forward and backward.
            sizes[config.task] = len(task.train), 3 * float(flops.mean())
        examples, flops = sizes[config.task]
        steps = total_steps(examples, config.train, _stages(trial))
        tera = flops * steps * config.train.batch_size / 1e12
        status = "done" if name in done else "to do" if name in planned.todo else "later"
        total += tera if status == "to do" else 0.0
        params = " ".join(f"{key}={value}" for key, value in config.params.items())
        table.add_row(name, params, status, str(steps), f"{tera:.1f}")
    limit = duration(planned.sweep.train.max_minutes * 60)
    table.caption = (
        f"{len(planned.todo)} trials to do, at most {total:.1f} TFLOPs, and the teachers; a trial "
        f"ends after {limit} at the latest (train.max_minutes)"
    )
    return table


def _stages(trial: PlannedTrial) -> list[Stage]:
    """The method's stages; a single one if its code raises, since its trial will say so."""
    backbone = read_config(trial.config.backbone)
    n_layers = trial.config.layers or backbone.num_hidden_layers
    try:
        return trial.method(trial.params, n_layers, backbone.hidden_size).stages()
    except (Exception, SystemExit):
        return [Stage("unknown")]
