"""Commands on methods: methods, check, new-method."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def methods() -> None:
    """List the methods with their parameters and defaults."""
    from rich.console import Console

    from lotbench.cli.progress_lines import methods_table

    Console().print(methods_table())


def check(
    method: Annotated[str, typer.Argument(help="A method's name, a Python file or module:Class.")],
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change one hyper-parameter."),
    ] = None,
) -> None:
    """Check a method against every rule of the contract; exit code 1 if one is broken."""
    from lotbench import registry
    from lotbench.config.document import Document

    params = Document("--set").override(overrides or []).data
    classes, plugins = registry.find(method)
    from lotbench.cli.progress_lines import checklist

    if not all([checklist(cls, params, plugins) for cls in classes]):
        raise typer.Exit(1)


def new_method(
    name: Annotated[str, typer.Argument(help="Lower-case letters, digits and hyphens.")],
    folder: Annotated[Path, typer.Option("--output", help="Folder of the file.")] = Path("."),
) -> None:
    """Write a small working method to start from, as a plugin file."""
    from lotbench.conformance.scaffold import write_method

    path = write_method(name, folder)
    typer.echo(f"wrote {path}; next: lotbench check {path}")
