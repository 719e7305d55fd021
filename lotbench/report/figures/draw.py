"""The figures of a store: `FIGURES` says where each is made.

They are files in ``figures/``, PNG and on request SVG and PDF: per task ``<task>-`` and a name of
`FIGURES`, for several tasks `ALL_TASKS`, and for break-even maps ``break-even-<setting>``.
Drawing again gives the same bytes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lotbench.report.figures import (
    all_tasks,
    break_even,
    cost,
    front,
    hero,
    keep_ratio,
    search,
    settings,
    speed,
    style,
    time_shares,
)
from lotbench.report.figures.base import reduced
from lotbench.report.tables.all_tasks import drops_of
from lotbench.statistics.store_view import StoreView
from lotbench.store.files import subfolder

if TYPE_CHECKING:
    from matplotlib.figure import Figure

log = logging.getLogger(__name__)

# Each gives None if the store has no data for it.
FIGURES: dict[str, Callable[[StoreView, str], Figure | None]] = {
    "score-vs-flops": front.flops_figure,
    "score-vs-real": front.real_figure,
    "real-vs-flops": speed.figure,
    "time-shares": time_shares.figure,
    "keep-ratio": keep_ratio.figure,
    "settings": settings.figure,
    "gain-vs-training": cost.figure,
    "search": search.figure,
}
ALL_TASKS = "all-tasks"
HERO = "hero"


def draw(study: StoreView, formats: Sequence[str] = ("png",)) -> list[Path]:
    """Draw all figures that a store has data for, and return their files.

    A warning names the main figures that cannot be drawn.
    """
    for sentence in missing(study):
        log.warning(sentence)
    folder, files = subfolder(study.folder, "figures"), []
    with style.drawing():
        for task in study.tasks:
            for name, figure in FIGURES.items():
                # A search needs no reference.
                comparable = task in study.references or figure is search.figure
                if comparable and (drawn := figure(study, task)):
                    files += style.save(drawn, folder / f"{task}-{name}", formats)
        if compared := drops_of(study):
            drawn = all_tasks.figure(compared, study.runs)
            files += style.save(drawn, folder / ALL_TASKS, formats)
        for record in study.maps:
            name = f"break-even-{record.setting.label}"
            files += style.save(break_even.figure(record), folder / name, formats)
    return files


def draw_hero(study: StoreView) -> list[Path]:
    """Draw the figure of a front page, of the store's first task, and return its files."""
    with style.drawing(hero.SETTINGS):
        drawn = hero.figure(study, study.tasks[0]) if study.tasks else None
        return style.save(drawn, subfolder(study.folder, "figures") / HERO) if drawn else []


def missing(study: StoreView) -> list[str]:
    """One sentence for each figure that cannot be drawn from a store, with the reason."""
    sentences = []
    for task in study.tasks:
        models = study.validated(task)
        none = "no figures but of the search" if study.searches.get(task) else "no figures"
        if not models:
            sentences.append(f"{task}: {none}, no trial is done and scored on validation")
            continue
        if task not in study.references:
            sentences.append(f"{task}: {none}, neither dense nor the teacher has a score")
            continue
        if not any(own.timed for own in models):
            names = f"{task}-score-vs-real, {task}-real-vs-flops and {task}-time-shares"
            sentences.append(f"{names}: not drawn, no timings (see `lotbench measure`)")
        elif not time_shares.chosen(models):
            name = f"{task}-time-shares"
            sentences.append(f"{name}: not drawn, no timings with shares (see `lotbench measure`)")
        if not reduced(models):
            sentences.append(f"{task}-keep-ratio: not drawn, no reduced model has a score")
    return sentences or ([] if study.trials else ["no figures, the store has no trials"])
