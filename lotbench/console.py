"""What the command line draws: progress, the list of methods."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table

    from lotbench.reducer import TokenReducer

QUIET_SECONDS = 10.0


@contextmanager
def progress() -> Iterator[Callable[[str, int, int], None]]:
    """A function (what, done, total) that draws a bar on a terminal and plain lines elsewhere."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield _plain()
        return
    columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bars:
        known: dict[int, int] = {}

        def advance(what: str, done: int, total: int) -> None:
            if total not in known:
                known[total] = bars.add_task(what, total=total)
            bars.update(known[total], description=what, completed=done)

        yield advance


def _plain() -> Callable[[str, int, int], None]:
    last = time.monotonic()

    def advance(what: str, done: int, total: int) -> None:
        nonlocal last
        if done == total or time.monotonic() - last > QUIET_SECONDS:
            last = time.monotonic()
            print(f"{what}: step {done} of {total}", flush=True)

    return advance


def checklist(cls: type[TokenReducer], params: dict[str, Any], plugins: list[str]) -> bool:
    """Draw a method's checklist rule by rule; whether no rule was broken."""
    from collections import Counter

    from rich.console import Console
    from rich.text import Text

    from lotbench.conformance.checklist import Rule, examine
    from lotbench.conformance.subject import Subject

    console, started = Console(highlight=False), time.monotonic()
    marks = {"ok": "green", "failed": "bold red", "not seen": "yellow", "not run": "dim"}
    counts: Counter[str] = Counter()
    console.print(Text(cls.name, "bold"), Text(f"({cls.__module__}.{cls.__qualname__})", "dim"))
    with console.status("") as status:

        def begin(rule: Rule) -> None:
            status.update(rule.title)

        for verdict in examine(Subject(cls, params, plugins), begin):
            counts[verdict.outcome] += 1
            colour = marks[verdict.outcome]
            line = Text(f"  {verdict.outcome:8}  ", colour) + Text(verdict.rule.title)
            if verdict.outcome == "failed":
                line += Text(f"\n            {verdict.detail}", colour)
            elif verdict.detail:
                line += Text(f": {verdict.detail}", "dim")
            console.print(line, soft_wrap=True)
    said = ", ".join(f"{counts[outcome]} {outcome}" for outcome in marks if counts[outcome])
    console.print(f"{cls.name}: {said} ({time.monotonic() - started:.0f} s)")
    return not counts["failed"]


def methods_table() -> Table:
    """Every known method with its source, post-hoc budget, parameters and defaults."""
    from rich.table import Table
    from rich.text import Text

    from lotbench import registry

    table = Table("method", "source", "budget after training", "parameters", show_lines=True)
    for name in registry.names():
        cls = registry.get(name)
        lines = []
        for key, field in cls.Params.model_fields.items():
            note = f"  {field.description}" if field.description else ""
            lines.append(f"{field.alias or key} = {field.default!r}{note}")
        table.add_row(name, cls.source, cls.budget_name or "-", Text("\n".join(lines) or "-"))
    return table
