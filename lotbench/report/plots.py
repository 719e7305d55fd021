"""The figures of a store, drawn from the store alone: ``draw("results/quickstart")``.

As PNG, SVG and PDF in ``figures/``: per task ``<task>-`` and a name of `FIGURES`, and for several
tasks `ALL_TASKS`.  Drawing again gives the same bytes.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from lotbench.report import style
from lotbench.report.all_tasks import all_tasks_figure, drops_of
from lotbench.report.breakdown import time_points, time_shares
from lotbench.report.content import Content, read
from lotbench.report.keep_ratio import keep_ratio
from lotbench.report.panels import Devices, device_names
from lotbench.report.pareto import reduced_points, settings_of
from lotbench.report.realised import real_vs_flops
from lotbench.report.scores import accuracy_vs_flops, accuracy_vs_real, gain_title
from lotbench.report.settings import setting_grids, setting_map
from lotbench.report.training_cost import gain_vs_training
from lotbench.store.store import Store

if TYPE_CHECKING:
    from matplotlib.figure import Figure

log = logging.getLogger(__name__)

FIGURES = (
    *("accuracy-vs-flops", "accuracy-vs-real", "real-vs-flops", "time-shares", "keep-ratio"),
    *("settings", "gain-vs-training"),
)
ALL_TASKS = "all-tasks"


def draw(folder: str | Path) -> list[Path]:
    """Draw all figures that the store has data for, and return their files.

    A warning names each figure that cannot be drawn.

    Raises
    ------
    InputError
        If the folder is not a store.
    """
    content = read(folder)
    timings = Store(folder).timings()
    for sentence in missing(content):
        log.warning(sentence)
    files = []
    with style.drawing():
        for task in map(str, content.rows["task"].unique()):
            if task not in content.references:
                continue
            devices = device_names([timing for timing in timings if timing.task == task])
            for name, figure in _figures(task, content, devices).items():
                files += style.save(figure, Path(folder) / "figures" / f"{task}-{name}")
        compared = drops_of(content)
        if compared:
            figure = all_tasks_figure(compared, content.table)
            files += style.save(figure, Path(folder) / "figures" / ALL_TASKS)
    return files


def missing(content: Content) -> list[str]:
    """One sentence for each figure that cannot be drawn from a store, with the reason."""
    sentences = []
    for task in content.table["task"].unique():
        own = content.rows[content.rows["task"] == task]
        if not len(own):
            sentences.append(f"{task}: no figures, no trial is done and scored on validation")
            continue
        if task not in content.references:
            sentences.append(f"{task}: no figures, neither dense nor the teacher has a score")
            continue
        if not settings_of(own):
            names = f"{task}-accuracy-vs-real, {task}-real-vs-flops and {task}-time-shares"
            sentences.append(f"{names}: not drawn, no timings (see `lotbench measure`)")
        elif not len(time_points(own)):
            name = f"{task}-time-shares"
            sentences.append(f"{name}: not drawn, no timings with shares (see `lotbench measure`)")
        if not len(reduced_points(own)):
            sentences.append(f"{task}-keep-ratio: not drawn, no reduced model has keep ratios")
    return sentences or ([] if len(content.table) else ["no figures, the store has no trials"])


def _figures(task: str, content: Content, devices: Devices) -> dict[str, Figure]:
    """The figures of one task by the end of their file names."""
    rows = content.rows[content.rows["task"] == task]
    trials = content.table[content.table["task"] == task]
    shown = rows, trials, content.references[task]
    figures = {"accuracy-vs-flops": accuracy_vs_flops(*shown, content.open_ends(task))}
    if settings_of(rows):
        figures["accuracy-vs-real"] = accuracy_vs_real(*shown, devices)
        figures["real-vs-flops"] = real_vs_flops(rows, trials, devices)
    if len(time_points(rows)):
        figures["time-shares"] = time_shares(rows, trials, devices)
    if len(reduced_points(rows)):
        figures["keep-ratio"] = keep_ratio(rows, trials)
    grids = setting_grids(task, content)
    if grids:
        label = gain_title(rows["score_name"].iloc[0], content.references[task])
        figures["settings"] = setting_map(rows, trials, label, grids)
    cost = gain_vs_training(task, content)
    if cost:
        figures["gain-vs-training"] = cost
    return figures
