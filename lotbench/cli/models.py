"""Commands on models and methods: inspect, export, methods, check, new-method."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Annotated, Literal

import typer

from lotbench.cli.options import ModelFolder, ModelFolders, Plugins
from lotbench.cli.output import show_lines
from lotbench.errors import InputError


def inspect(
    folders: ModelFolders,
    text: Annotated[
        list[str] | None, typer.Option("--text", help="A text; give it twice for a pair.")
    ] = None,
    evidence: Annotated[
        list[str] | None,
        typer.Option(help="A passage of the (second) text to mark; may be repeated."),
    ] = None,
    split: Annotated[
        Literal["validation", "selection"] | None,
        typer.Option("--split", help="The texts of a split, instead of a text."),
    ] = None,
    target: Annotated[
        float | None, typer.Option(help="Use the budget of this FLOPs speed-up, from the row.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Folder for the figure and an HTML page.")
    ] = None,
    plugins: Plugins = None,
) -> None:
    """Show which tokens trained models process, layer by layer."""
    fields, passages = text or [], evidence or []
    odd = any("\ud800" <= sign <= "\udfff" for sign in "".join([*fields, *passages]))
    absent = [own for own in passages if not own or own not in "".join(fields[-1:])]
    for wrong, message in (
        (bool(fields) == bool(split), "give --text TEXT, twice for a pair, or --split validation"),
        (len(fields) > 2, "--text: give it once, or twice for a pair"),
        (odd, "--text: it is not valid UTF-8"),
        (absent, f"--evidence: {''.join(absent[:1])!r:.60} is not in the (second) --text"),
    ):
        if wrong:
            raise InputError(message)
    from lotbench import registry
    from lotbench.inspection import inspect as inspection
    from lotbench.report.layout import WIDTH

    for plugin in plugins or []:
        registry.load_plugin(plugin)
    if text:
        table, files = inspection.of_text(folders, fields, target, output, passages)
    else:
        table, files = inspection.of_split(folders, str(split), target, output)
    from rich.console import Console

    Console(width=WIDTH).print(table)
    whole = f"Open  {files[-1]}" if files else "All   --output FOLDER writes figure and page"
    typer.echo(f"\n{whole}")


def export(
    model: ModelFolder,
    folder: Annotated[Path, typer.Argument(help="New folder for the exported model.")],
    backend: Annotated[
        str,
        typer.Option(help="onnx-fp32, onnx-int8, openvino-fp32 or openvino-bf16."),
    ] = "onnx-fp32",
    budget: Annotated[
        float | None, typer.Option(help="The method's budget; that of training by default.")
    ] = None,
    plugins: Plugins = None,
) -> None:
    """Write a trained model as an ONNX file, which needs no LoTBench."""
    from lotbench.deploy.folder import write
    from lotbench.deploy.measured import measured

    card = write(model, folder, backend, budget, measured(model), plugins or [])
    typer.echo(f"{folder}/model.onnx: {card.method} in {card.backend}")
    show_lines([f"Open  {folder / 'README.md'}", f'Load  lotbench.load("{folder}")'])


def methods(
    names: Annotated[
        list[str] | None, typer.Argument(help="Methods to show with their parameters.")
    ] = None,
) -> None:
    """List the methods, or show the parameters of some."""
    from lotbench import registry
    from lotbench.report.layout import labelled

    known = {name: registry.get(name) for name in names or registry.names()}
    if not names:
        lines = {"method": f"{'budget':<16}  source"}
        lines |= {
            name: f"{cls.budget_name or '-':<16}  {cls.source}" for name, cls in known.items()
        }
        typer.echo("\n".join([*labelled(lines), "", "Next  lotbench methods lot"]))
        return
    for name, cls in known.items():
        show_lines([f"{name}: {cls.source}; budget after training: {cls.budget_name or 'none'}"])
        fields = {field.alias or key: field for key, field in cls.Params.model_fields.items()}
        notes = {
            f"  {key} = {field.default!r}": field.description or "" for key, field in fields.items()
        }
        typer.echo("\n".join(labelled(notes)))


def check(
    method: Annotated[str, typer.Argument(help="A method's name, a Python file or module:Class.")],
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change one hyper-parameter."),
    ] = None,
) -> None:
    """Check a method against every rule of the contract.

    Exit code 1 if one is broken.
    """
    from lotbench import registry
    from lotbench.config.document import Document

    params = Document("--set").override(overrides or []).data
    classes, plugins = registry.find(method)
    from lotbench.cli.progress_lines import checklist

    if not all([checklist(cls, params, plugins) for cls in classes]):
        raise typer.Exit(1)
    tried = ", ".join(f"{cls.name}: {json.dumps(params)}" for cls in classes)
    command = ["lotbench", "sweep", "quickstart", "--set", f"methods={{static: {{}}, {tried}}}"]
    if plugins:
        command += ["--set", f"plugins={json.dumps(plugins)}"]
    show_lines([f"Next  {shlex.join(command)}"])


def new_method(
    name: Annotated[str, typer.Argument(help="Lower-case letters, digits and hyphens.")],
    folder: Annotated[Path, typer.Option("--output", help="Folder of the file.")] = Path("."),
    kind: Annotated[
        Literal["fixed", "learned"],
        typer.Option(help="A fixed rule, or a router that is trained softly, then hard."),
    ] = "fixed",
) -> None:
    """Write a small working method to start from, a plugin file."""
    from lotbench.conformance.scaffold import write_method

    path = write_method(name, folder, kind)
    typer.echo(f"wrote {path}\nNext  lotbench check {path}")
