"""The README.md of a store: of each task the answer, a figure and a table; the rest is folded."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from lotbench.report import text
from lotbench.report.figures.draw import ALL_TASKS, FIGURES
from lotbench.report.findings import answer, findings, over_tasks
from lotbench.report.tables.all_tasks import all_tasks, drops_of
from lotbench.report.tables.of_task import tables
from lotbench.report.tables.render import Table, bullets, folded, grid, plain
from lotbench.statistics.runs import Run
from lotbench.statistics.scored import wheres
from lotbench.statistics.store_view import StoreView
from lotbench.store.files import write_file

log = logging.getLogger(__name__)

WRITTEN = "`lotbench plot` writes this file"


def write(study: StoreView, figures: list[Path]) -> Path | None:
    """Write the README.md of a store with these figures, and return its path.

    Writing again gives the same bytes.  A README.md that LoTBench did not write is not changed: a
    warning says so, and the result is None.
    """
    path = study.folder / "README.md"
    # As bytes: a page of somebody else may have any encoding.
    if path.exists() and not (path.is_file() and WRITTEN.encode() in path.read_bytes()):
        log.warning(
            "%s: not replaced, `lotbench plot` did not write it; to have the tables, move it", path
        )
        return None
    write_file(path, page(study, figures))
    return path


def page(study: StoreView, figures: list[Path]) -> str:
    """The Markdown text of a store: of each task a figure and a table, the rest behind buttons.

    It shows the PNG files among the figures.
    """
    parts = [f"# {plain(study.name)}", f"{WRITTEN}; edits are lost."]
    shown = {path.stem: path for path in figures if path.suffix == ".png"}
    if compared := drops_of(study):
        said = over_tasks(compared, map(study.evidence.get, study.tasks))
        parts += ["## All tasks", bullets(said)]
        parts += [_image(shown.pop(name), "Mean drops") for name in [ALL_TASKS] if name in shown]
        parts.append(_open(all_tasks(compared)))
    for task in study.tasks:
        if study.validated(task) or task in study.searches:
            names = [name for name in FIGURES if f"{task}-{name}" in shown]
            parts += _task(task, study, {name: shown.pop(f"{task}-{name}") for name in names})
    if shown:
        parts += ["## Break-even", *(_image(path, path.stem) for path in shown.values())]
    return "\n\n".join([*parts, "## Trials", summary(study)]) + "\n"


def _task(task: str, study: StoreView, figures: dict[str, Path]) -> list[str]:
    """The part of a task; ``figures`` by their names in `FIGURES`."""
    name, said = text.named(task, study), answer(task, study)
    more = [sentence for sentence in findings(task, study) if sentence not in said]
    images = [(FIGURES[own].heading, path) for own, path in figures.items()]
    first, *others = tables(task, study).values()
    return [
        f"## {name}",
        bullets(said or more),
        *(_image(path, f"{name}: {heading}") for heading, path in images[:1]),
        _open(first),
        *([folded("More findings", bullets(more))] if said else []),
        *(folded(own.title, f"{grid(own)}\n\n{bullets(own.notes)}") for own in others),
        *(folded(heading, _image(path, f"{name}: {heading}")) for heading, path in images[1:]),
    ]


def _open(table: Table) -> str:
    """A table that is not behind a button; its notes are."""
    notes = folded("How to read this table", bullets(table.notes))
    return f"**{plain(table.title)}**\n\n{grid(table)}\n\n{notes}"


def summary(study: StoreView) -> str:
    """A summary of a store: trials, backbone and machines."""
    searched, confirmed = study.searched_runs, study.runs
    runs = [*searched, *confirmed]
    tasks = text.listed(sorted({text.named(task, study) for task in study.tasks}))
    trials = _counted(confirmed, f" on {tasks}")
    if searched:
        every = all(run.trial.search for run in confirmed)
        what = " confirmed" if every else " confirmed or without a search"
        rest = _counted(confirmed, what) if confirmed else "None is confirmed yet."
        trials = f"{_counted(searched, f' searched on {tasks}')} {rest}"
    backbones = sorted({run.trial.backbone for run in runs})
    timed = wheres(own for task in study.tasks for own in study.validated(task))
    devices = study.device_names(*study.tasks)
    return (
        f"{trials} The backbone is {text.backbones(runs)}, "
        f"{', '.join(f'`{own}`' for own in backbones)}. Trained on {text.trained_on(runs)}."
        + (f" Timed on {text.timed_on(timed, devices)}." if timed else "")
    )


def _counted(runs: Sequence[Run], what: str) -> str:
    seeds = [str(seed) for seed in sorted({run.seed for run in runs})]
    failed = sum(run.failed for run in runs)
    return (
        f"{text.count(len(runs), 'trial')}{what}, seed{'' if len(seeds) == 1 else 's'} "
        f"{text.listed(seeds)}; {failed or 'none'} failed."
    )


def _image(path: Path, alt: str) -> str:
    return f"![{plain(alt)}](figures/{path.name})"
