"""Options and arguments that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY.PATH=VALUE", help="Change one value of the file."),
]
Root = Annotated[Path, typer.Option("--results", help="Folder that holds the stores.")]
Plugins = Annotated[
    list[str] | None,
    typer.Option(
        "--plugin", metavar="FILE", help="Import this file or module, which defines a method."
    ),
]
StoreFolder = Annotated[Path, typer.Argument(help="A sweep's store, such as results/quickstart.")]
