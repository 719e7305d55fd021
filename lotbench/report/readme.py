"""The README.md of a store: a summary, and each task's overview, figures and table of points."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from lotbench.report import words
from lotbench.report.all_tasks import all_tasks, drops_of
from lotbench.report.content import read
from lotbench.report.differences import differences
from lotbench.report.markdown import markdown
from lotbench.report.overview import overview
from lotbench.report.panels import device_names, timed_on
from lotbench.report.pareto import settings_of
from lotbench.report.plots import ALL_TASKS, FIGURES
from lotbench.report.rows import point_table
from lotbench.store.frame import noise_floors
from lotbench.store.store import Store

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

WRITTEN = "`lotbench plot` writes this file"


def write(folder: str | Path, figures: list[Path]) -> Path | None:
    """Write the README.md of a store with these figures, and return its path.

    Writing again gives the same bytes.  A README.md that LoTBench did not write is not changed: a
    warning says so, and the result is None.
    """
    path = Path(folder) / "README.md"
    if path.exists() and WRITTEN not in path.read_text(encoding="utf-8"):
        log.warning("%s: not replaced, `lotbench plot` did not write it", path)
        return None
    path.write_text(text(folder, figures), encoding="utf-8")
    return path


def text(folder: str | Path, figures: list[Path]) -> str:
    """The Markdown text of a store; it shows the PNG files among the figures."""
    content, floors = read(folder), noise_floors(folder)
    table, rows = content.table, content.rows
    devices = device_names(Store(folder).timings())
    timed = f" Timed on {timed_on(rows, devices)}." if settings_of(rows) else ""
    parts = [f"# {Path(folder).resolve().name}", f"{WRITTEN}; edits are lost."]
    parts.append(summary(table) + timed)
    shown = [path for path in figures if path.suffix == ".png"]
    compared = drops_of(content)
    if compared:
        parts += ["## All tasks", markdown(all_tasks(compared))]
        parts += [_image(path) for path in shown if path.stem == ALL_TASKS]
    shown = [path for path in shown if path.stem != ALL_TASKS]
    for task, own in rows.groupby("task"):
        parts.append(f"## {words.task_name(str(task))}")
        opening = overview(str(task), content)
        parts += [markdown(opening)] if opening else []
        parts += map(markdown, differences(str(task), content))
        mine = [path for path in shown if path.stem.removeprefix(f"{task}-") in FIGURES]
        parts += [_image(path) for path in mine]
        shown = [path for path in shown if path not in mine]
        reference = content.references.get(str(task))
        parts.append(markdown(point_table(str(task), own, reference, floors)))
    if shown:
        parts += ["## Break-even", *map(_image, shown)]
    return "\n\n".join(parts) + "\n"


def summary(table: pd.DataFrame) -> str:
    """A summary of a store: trials, backbone and machine."""
    trials = table.drop_duplicates("trial_id")
    failed = int((trials["status"] == "failed").sum())
    tasks = [words.task_name(task) for task in words.distinct(trials["task"])]
    seeds = [str(seed) for seed in words.distinct(trials["seed"])]
    references = ", ".join(f"`{name}`" for name in words.distinct(trials["backbone"]))
    return (
        f"{words.count(len(trials), 'trial')} on {words.listed(tasks)}, "
        f"seed{'' if len(seeds) == 1 else 's'} {words.listed(seeds)}; {failed or 'none'} failed. "
        f"The backbone is {words.backbones(table)}, {references}. "
        f"Trained on {words.trained_on(trials)}."
    )


def _image(path: Path) -> str:
    return f"![{path.stem}](figures/{path.name})"
