"""The command line: results go to stdout, progress and notes to stderr.

Every import that costs time is inside its command.
"""

from __future__ import annotations

import sys

import typer

from lotbench.cli import models, running, stores
from lotbench.cli.interruption import Interrupted
from lotbench.cli.options import Version
from lotbench.cli.output import UNWRITABLE
from lotbench.errors import InputError, PassFailed

EXAMPLES = """Compare methods:  lotbench sweep quickstart

Your own model:  lotbench accelerate MODEL texts.csv --max-drop 1"""
GROUPS = {
    "Start": (running.accelerate, running.sweep, stores.recommend, models.export),
    "Look": (stores.report, stores.plot, stores.compare, stores.leaderboard, models.inspect),
    "Write a method": (models.new_method, models.check, models.methods),
    "Stores": (running.run, running.measure, stores.validate, stores.submit),
}

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, epilog=EXAMPLES)
for group, commands in GROUPS.items():
    for command in commands:
        app.command(rich_help_panel=group)(command)


@app.callback()
def lotbench(version: Version = False) -> None:
    """Make transformer encoders faster by leaving out tokens, and compare the methods for it."""


def main() -> None:
    """Run the command line.

    Exit code 0 is done, 1 something failed or nothing fits, 2 bad input, 130 Ctrl-C, 143
    SIGTERM.
    """
    from lotbench.cli.progress_lines import show_log

    show_log()
    try:
        app()
    except (InputError, PassFailed) as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(2 if isinstance(error, InputError) else 1)
    except Interrupted as error:
        typer.echo(f"\n{error}", err=True)
        sys.exit(error.code)
    except OSError as error:
        if error.errno not in UNWRITABLE:
            raise
        where = f"{error.filename}: " if error.filename else ""
        typer.echo(f"error: {where}{error.strerror}", err=True)
        sys.exit(2)
