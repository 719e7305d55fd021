"""What the command line draws: the log, progress bars, checklists, the list of methods."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

from lotbench.errors import NOTE

if TYPE_CHECKING:
    from rich.console import Console, Group

    from lotbench.cluster.watch import Watch
    from lotbench.reducer import TokenReducer

log = logging.getLogger(__name__)

LINE_SECONDS = 10.0
"""Time between two lines of progress where there is no terminal for a bar."""


OTHER_LINES = 12
"""Lines of a terminal that the table of a running sweep leaves to its frame and to the workers."""


def show_log() -> None:
    """Write what LoTBench logs to stderr."""
    ours = logging.getLogger("lotbench")
    ours.setLevel(logging.INFO)
    ours.handlers = [LogHandler()]  # one, however often it is called


class LogHandler(logging.Handler):
    """Writes progress as plain lines, and each note or warning once."""

    def __init__(self) -> None:
        super().__init__()
        self.notes: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        from rich.text import Text

        text = Text(self.format(record))
        if record.levelno >= NOTE:
            if text.plain in self.notes:
                return
            self.notes.add(text.plain)
            text = Text(f"note: {text.plain}", "yellow")
        stderr_console().print(text, soft_wrap=True)


@cache
def stderr_console() -> Console:
    """The console on stderr; it is shared, so that lines appear above a running bar."""
    from rich.console import Console

    return Console(stderr=True)


@contextmanager
def progress_bar() -> Iterator[Callable[[str, int, int], None]]:
    """A function (what, done, total) that draws a bar on a terminal and logs lines elsewhere."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    console = stderr_console()
    if not console.is_terminal:
        yield _line_logger()
        return
    columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bars:
        bar = bars.add_task("")

        def advance(what: str, done: int, total: int) -> None:
            bars.update(bar, description=what, completed=done, total=total)

        yield advance


def _line_logger() -> Callable[[str, int, int], None]:
    """A function (what, done, total) that logs a line every `LINE_SECONDS` and at the end."""
    last = time.monotonic()

    def advance(what: str, done: int, total: int) -> None:
        nonlocal last
        if done == total or time.monotonic() - last > LINE_SECONDS:
            last = time.monotonic()
            log.info("%s: step %d of %d", what, done, total)

    return advance


@contextmanager
def live_table(watch: Watch) -> Iterator[None]:
    """Draws how far a sweep is, on a terminal; elsewhere the log says it."""
    from rich.live import Live

    console = stderr_console()
    if not console.is_terminal:
        yield
        return
    watch.shown = True
    with Live(
        get_renderable=lambda: sweep_table(watch, max(5, console.height - OTHER_LINES)),
        console=console,
        refresh_per_second=2,
        transient=True,
    ):
        yield


def sweep_table(watch: Watch, room: int) -> Group:
    """How far each method of a running sweep is, the time left, and what each worker does.

    Of the lines that have no room, those without a running trial are left out first.
    """
    from rich.console import Group
    from rich.table import Column, Table
    from rich.text import Text

    from lotbench.trial.progress import rough

    every = watch.progress()
    first = sorted(range(len(every)), key=lambda place: every[place].running == 0)
    lines = [every[place] for place in sorted(first[:room])]
    numbers = ("running", "done", "failed", "to do", watch.measure)
    method = Column("method", no_wrap=True, overflow="ellipsis")
    table = Table("task", method, *(Column(name, justify="right") for name in numbers))
    for line in lines:
        group, best = line.group, "" if line.best is None else f"{line.best:.4g}"
        counts = (str(count) for count in (line.running, line.done, line.failed, line.todo))
        table.add_row(group.task, f"{group.method} {group.written}", *counts, best)
    left, ended = watch.left(), len(watch.took)
    parts = [
        f"{ended} of {ended + sum(line.running + line.todo for line in every)} trials",
        f"{rough(time.monotonic() - watch.started)} so far",
        "" if left is None else f"about {rough(left)} left",
        f"{len(every) - len(lines)} more lines" if len(every) > len(lines) else "",
    ]
    news = [Text(line, "dim", no_wrap=True, overflow="ellipsis") for line in watch.doing]
    return Group(table, Text(", ".join(filter(None, parts))), *news)


def checklist(cls: type[TokenReducer], params: dict[str, Any], plugins: list[str]) -> bool:
    """Check a method rule by rule, and print what it breaks; True if no rule is broken."""
    from collections import Counter

    from rich.text import Text

    from lotbench.conformance.checklist import Rule, examine
    from lotbench.conformance.subject import Subject
    from lotbench.report.layout import fit

    console, started = stderr_console(), time.monotonic()
    marks = {"ok": "green", "failed": "bold red", "not seen": "yellow", "not run": "dim"}
    counts: Counter[str] = Counter()
    broken: list[str] = []
    resting: Counter[str] = Counter()
    with console.status("") as status:

        def begin(rule: Rule) -> None:
            status.update(rule.title)

        for verdict in examine(Subject(cls, params, plugins), begin):
            counts[verdict.outcome] += 1
            if verdict.outcome == "not run":
                resting[verdict.detail] += 1
                continue
            line = Text(f"  {verdict.outcome:8}  ", marks[verdict.outcome])
            line += Text(verdict.rule.title)
            if verdict.outcome == "failed":
                broken += [f"  failed    {verdict.rule.title}", f"            {verdict.detail}"]
            elif verdict.detail:
                line += Text(f": {verdict.detail}", "dim")
            console.print(line, soft_wrap=True, highlight=False)
    broken += [
        f"  not run   {number} more, which rest on: {title}" for title, number in resting.items()
    ]
    summary = ", ".join(f"{counts[outcome]} {outcome}" for outcome in marks if counts[outcome])
    seconds = time.monotonic() - started
    print("\n".join([*fit(broken), f"{cls.name}: {summary} ({seconds:.0f} s)"]))
    return not counts["failed"]
