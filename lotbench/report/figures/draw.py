"""The figures of a store: `FIGURES` says where each is made.

They are files in ``figures/``: per task ``<task>-`` and a name of `FIGURES`, for several tasks
`ALL_TASKS`, and for break-even maps ``break-even-<setting>``.  Drawing again gives the same bytes.
A page has the same figures.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

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


class Picture(NamedTuple):
    """A figure of a task."""

    heading: str
    """What it is called on a page."""
    figure: Callable[[StoreView, str], Figure | None]
    """None if the store has no data for it."""


FIGURES = {
    "score-vs-flops": Picture("Score and FLOPs saved", front.flops_figure),
    "score-vs-real": Picture("Score and real speed", front.real_figure),
    "real-vs-flops": Picture("Real against FLOPs speed-up", speed.figure),
    "time-shares": Picture("Time by section", time_shares.figure),
    "keep-ratio": Picture("Tokens computed in each layer", keep_ratio.figure),
    "settings": Picture("What each setting is worth", settings.figure),
    "gain-vs-training": Picture("What training costs and brings", cost.figure),
    "search": Picture("What effort bought", search.figure),
}
ALL_TASKS = "all-tasks"
HERO = "hero"


def of_task(study: StoreView, task: str) -> Iterator[tuple[str, Figure]]:
    """The figures of a task that the store has data for, with their names in `FIGURES`."""
    for name, picture in FIGURES.items():
        # A search needs no reference.
        comparable = task in study.references or picture.figure is search.figure
        if comparable and (drawn := picture.figure(study, task)):
            yield name, drawn


def draw(study: StoreView, formats: Sequence[str] = ("png",)) -> list[Path]:
    """Draw all figures that a store has data for, and return their files.

    A warning names the main figures that cannot be drawn.
    """
    for sentence in missing(study):
        log.warning(sentence)
    folder, files = subfolder(study.folder, "figures"), []
    with style.drawing():
        for task in study.tasks:
            for name, figure in of_task(study, task):
                files += style.save(figure, folder / f"{task}-{name}", formats)
        if compared := drops_of(study):
            figure = all_tasks.figure(compared, study.runs)
            files += style.save(figure, folder / ALL_TASKS, formats)
        for record in study.maps:
            name = f"break-even-{record.setting.label}"
            files += style.save(break_even.figure(record), folder / name, formats)
    return files


def draw_hero(study: StoreView) -> list[Path]:
    """Draw the figure of a front page, of the store's first task, and return its files."""
    with style.drawing(hero.SETTINGS):
        drawn = hero.figure(study, study.tasks[0]) if study.tasks else None
        folder = subfolder(study.folder, "figures")
        return style.save(drawn, folder / HERO, ["png"]) if drawn else []


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
