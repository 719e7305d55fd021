"""The screen that ends a command on stores: the answer, the page, and what to do next."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path

from lotbench.report import text
from lotbench.report.advice import export_command
from lotbench.report.chance import nothing_learned
from lotbench.report.fastest import Fastest, fastest
from lotbench.report.layout import HEIGHT, aligned, fit, labelled, shortened
from lotbench.report.tables.all_tasks import drops_of, ranked
from lotbench.report.tables.at_a_glance import at_a_glance
from lotbench.report.tables.overview import no_layer_gap, reference, texts
from lotbench.report.tables.render import Table
from lotbench.report.tables.two_stores import Agreement
from lotbench.report.text import TIMES
from lotbench.statistics.evidence import ranks_of, tied_with
from lotbench.statistics.joint import Joint
from lotbench.statistics.store_view import StoreView

MOST_NAMED = 6
"""Methods in the sentence on all tasks."""


def of_store(study: StoreView, before: Sequence[str] = (), after: Sequence[str] = ()) -> list[str]:
    """The lines of the screen, with what a command says before and after the answer."""
    tasks = [task for task in study.tasks if study.validated(task)]
    warned = [f"{task}: {why}" for task in tasks if (why := nothing_learned(task, study))]
    found = {task: fastest(task, study) for task in tasks}
    above, below = fit([*warned, *before]), [*fit(after), "", *_ends(study, found.values())]
    room = HEIGHT - len(above) - len(below)
    if len(tasks) == 1:
        lines = _of_task(tasks[0], study, found[tasks[0]], room)
    else:
        lines = _of_tasks(study, found, room)
    return [*above, *lines, *below]


def _of_task(task: str, study: StoreView, best: Fastest, room: int) -> list[str]:
    """The reference, the methods, and the fastest model within a point."""
    head = fit([f"{_opening(task, study)} {_evidence(task, study)}"])
    evidence = study.evidence.get(task)
    if evidence is None or not evidence.curves:
        return [*head, *fit([best.sentence])]
    rows, legend = at_a_glance(study, evidence)
    tail = fit([f"  {legend}", "", best.sentence])
    shown = shortened(aligned(rows), room - len(head) - len(tail), "methods")
    return [*head, *shown, *tail]


def _of_tasks(study: StoreView, found: dict[str, Fastest], room: int) -> list[str]:
    """Some lines for each task, and the order of methods over all of them."""
    if not found:
        return ["No trial is done and scored on validation."]
    lines, last = [_evidence(next(iter(found)), study)], []
    if (drops := drops_of(study)) and drops.mean:
        means = {own: drops.mean[own].value.value for own in ranked(drops) if own in drops.mean}
        named = [f"{own} {text.rounded(mean, 1)}" for own, mean in means.items()][:MOST_NAMED]
        last = fit([f"Mean drop over all tasks, least first: {', '.join(named)}."])
    for place, (task, best) in enumerate(found.items()):
        own = fit([_opening(task, study), f"  {best.sentence}"])
        if len(lines) + len(own) + len(last) >= room:
            return [*lines, f"... {len(found) - place} more tasks", *last]
        lines += own
    return [*lines, *last]


def _opening(task: str, study: StoreView) -> str:
    """``BBC News, 200 texts: dense 95.0% (92 to 98); no-layer gap 1.0 (-1 to 3) points.``

    With the metric if it is no accuracy.
    """
    metric, evidence = study.validated(task)[0].metric, study.evidence.get(task)
    against = f": {reference(evidence, metric)}" if evidence else ""
    sized = f"{texts(task, 'validation', study)} {text.unit_of(study.runs_on(task))}"
    shown = "" if metric == "accuracy" else f" {text.METRICS.get(metric, metric)}"
    gap = f"; no-layer gap {said}" if evidence and (said := no_layer_gap(evidence)) else ""
    return f"{text.task_name(task)}, {sized}{against}{shown}{gap}."


def _evidence(task: str, study: StoreView) -> str:
    """What kind of evidence it is: a demonstration, some seeds, or a search that is confirmed."""
    seeds = max(own.seeds for own in study.validated(task))
    if seeds == 1:
        return "One seed: a demonstration."
    trials = max((own.trials for own in study.searches.get(task, ())), default=0)
    effort = f"; settings chosen by a search of {text.count(trials, 'trial')}" if trials else ""
    return f"Mean of {seeds} seeds{effort}."


def of_standing(reference: StoreView, study: StoreView, tasks: Sequence[str]) -> list[str]:
    """Where the methods of a store stand among those of another, by task and target."""
    lines = []
    for task in tasks:
        if task not in reference.evidence or task not in study.evidence:
            lines.append(f"{task}: not scored in both {reference.name} and {study.name}")
            continue
        joint = Joint([reference, study], task)
        lines.append(_opening(task, joint))
        for target in joint.evidence[task].targets:
            margins = joint.evidence[task].at_target(target)
            ranks = ranks_of(margins)
            for name, own in margins.items():
                if joint.owners[name][0] is study:
                    tied = text.some(tied_with(name, margins), MOST_NAMED) or "none"
                    rank = f"rank {ranks[name].rank} of {len(margins)}"
                    points = f"{text.with_interval(own.value)} points"
                    lines.append(f"  {name} {target:g}{TIMES}  {rank}, {points}; ties with {tied}")
    stores = f"{_quoted(reference.folder)} {_quoted(study.folder)}"
    ends = {
        "All": f"lotbench leaderboard {stores}",
        "Send": f"lotbench submit {_quoted(study.folder)}",
    }
    return [*fit(lines), "", *labelled(ends)]


def of_two(tables: Sequence[Table], orders: Sequence[Agreement], written: str) -> list[str]:
    """The screen of two stores, whose whole tables are ``written`` to a file or by a command."""
    last = fit(["* the interval excludes 0; one in twenty does so by chance"])
    last += [*fit(own.line for own in orders), "", *labelled({"All": written})]
    share = (HEIGHT - len(last)) // len(tables)
    if share < 3:
        tables, share = tables[: (HEIGHT - len(last)) // 3], 3
    lines = []
    for table in tables:
        columns, (top, *rest) = ["mean", *table.columns[3:]], table.groups[0]
        rows = [top, *sorted(rest, key=lambda row: -abs(float(row[2].split()[0])))]
        cells = [[row[0].split("\n")[0], row[2], *map(_star, row[3:])] for row in rows]
        first, *others = aligned([["", *columns], *cells])
        lines += [table.title, first, *shortened(others, share - 2, "rows")]
    return [*lines, *last]


def _star(cell: str) -> str:
    """A difference without its interval."""
    return cell.split(" ")[0] + (" *" if cell.endswith("*") else "  ")


def _ends(study: StoreView, found: Iterable[Fastest]) -> list[str]:
    """Where the page is, how to use the fastest model, and what to do next."""
    page, tables = study.folder / "report.html", study.folder / "README.md"
    lines = {"Page": f"lotbench report {_quoted(study.folder)}"}
    if page.is_file():
        lines = {"Open": str(page)}
    for own in found:
        if own.row and (model := study.store.model(own.row.run.trial)):
            budget = own.row.evaluation.budget
            lines["Load"] = f'lotbench.load("{model}")'
            lines["Load"] += f"  # .budget = {budget.value} sets the speed" if budget else ""
            lines["ONNX"] = str(export_command(study, own.row, own.backend))
            break
    lines["Next"] = _next(study)
    if tables.is_file():
        lines["All"] = str(tables)
    return labelled(lines)


def _next(study: StoreView) -> str:
    """The command that adds most to what the store tells."""
    folder, sweep = _quoted(study.folder), study.folder / "sweep.json"
    root = study.folder.parent
    again = f"lotbench sweep {_quoted(sweep)}"
    trained = any(map(study.store.model, study.trials))
    if trained and not study.shown_passes:
        return f"lotbench measure {folder}"
    if not trained and sweep.is_file():
        return f"{again} --results trained"
    if sweep.is_file() and not study.searches and len({run.seed for run in study.runs}) == 1:
        results = "" if root == Path("results") else f" --results {_quoted(root)}"
        return f"{again}{results} --set 'seeds=[0,1,2]'"
    return f"lotbench recommend {folder} --max-drop 2"


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))
