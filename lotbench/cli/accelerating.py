"""The command that makes a faster model of the user's own: accelerate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lotbench.cli.interruption import kept


def accelerate(
    model: Annotated[
        str,
        typer.Argument(
            help="Your fine-tuned classifier, cross-encoder or sentence encoder: a folder, "
            "package:NAME/FOLDER or a hub id.",
            metavar="MODEL",
        ),
    ],
    texts: Annotated[
        str,
        typer.Argument(
            help="Texts like those that it will read, with labels or without: a table, a folder, "
            "or a built-in task.",
            metavar="TEXTS",
        ),
    ],
    drop: Annotated[
        float, typer.Option("--max-drop", min=0, help="Largest drop of the score in points.")
    ],
    batch: Annotated[int, typer.Option(min=1, help="Texts per call (batch size).")] = 1,
    output: Annotated[
        Path, typer.Option(help="Folder of the faster model, the page and all that led to it.")
    ] = Path("accelerated"),
    or_dense: Annotated[
        bool,
        typer.Option(
            "--or-dense", help="If nothing is faster, export the model itself, fastest backend."
        ),
    ] = False,
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY.PATH=VALUE", help="Change one value of the sweep behind it."
        ),
    ] = None,
) -> None:
    """Make your own model faster: search, time, choose and export; exit code 1 if none is."""
    from lotbench.accelerate.run import accelerate
    from lotbench.cli.progress_lines import live_table
    from lotbench.report.recommend import Limits

    limits = Limits(drop, None, batch, threads=1, device="cpu", exported=True)
    again = f"all that is done is kept in {output}; run the same command again to go on"
    with kept(again):
        found = accelerate(model, texts, limits, output, overrides or [], or_dense, live_table)
    if not found.faster:
        typer.echo(f"nothing is faster within a drop of {drop:g}; the nearest:")
    for name, line in found.lines.items():
        typer.echo(f"{name:<12}{line}")
    for path in found.written:
        typer.echo(f"wrote {path}")
    if not found.faster:
        raise typer.Exit(1)
