"""The folder of an exported model: graph, configuration, tokenizer and model card."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path

from lotbench.backends import EXPORTED
from lotbench.deploy import card
from lotbench.deploy.about import BOUNDS, About
from lotbench.deploy.graph import SEED, Exported, export
from lotbench.deploy.quantise import quantised
from lotbench.deploy.session import open_session
from lotbench.engine import checkpoint
from lotbench.engine.encoder import ReducedEncoder
from lotbench.engine.loading import load_tokenizer
from lotbench.errors import InputError, near_misses
from lotbench.reducer import TokenReducer

log = logging.getLogger(__name__)

MODEL, CONFIG, ABOUT = "model.onnx", "config.json", "lotbench"


def is_exported(folder: Path) -> bool:
    """True if the folder holds an exported model."""
    return (folder / MODEL).is_file()


def write(
    source: Path,
    folder: Path,
    backend: str,
    budget: float | None,
    measured: str,
    plugins: Sequence[str] = (),
) -> About:
    """Export a trained model.

    Parameters
    ----------
    source : Path
        Folder of the trained model.
    folder : Path
        New or empty.
    backend : str
        One of `lotbench.backends.EXPORTED`.
    budget : float or None
        None is the budget of training.
    measured : str
        Measured numbers for the model card, as Markdown; may be empty.
    plugins : sequence of str
        Files or modules to import for a method that is not installed.

    Raises
    ------
    InputError
        If the model cannot be read or exported, the backend is unknown or not installed, the
        budget is invalid, or the folder is not empty.
    """
    if backend not in EXPORTED:
        raise InputError(f"--backend {backend}: unknown; {near_misses(backend, list(EXPORTED))}")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder}: not empty; give a new folder")
    encoder, trained = checkpoint.load(source, plugins), checkpoint.read_card(source)
    tokenizer = load_tokenizer(str(source.resolve()))
    if budget is not None:
        whole = encoder.reducer.budget_name and isinstance(encoder.reducer.budget, int)
        encoder.reducer.budget = int(budget) if whole and budget.is_integer() else budget
    log.info("exporting %s; this takes up to a minute", source)
    exported = export(encoder)
    model = exported.model
    if backend == "onnx-int8":
        model = quantised(model)
    content = model.SerializeToString()
    open_session(content, backend, threads=1)  # refuses what the runtime cannot load
    about = _about(encoder, exported, backend, trained.max_length)

    folder.mkdir(parents=True, exist_ok=True)
    (folder / MODEL).write_bytes(content)
    encoder.backbone.config.save_pretrained(folder)
    config = json.loads((folder / CONFIG).read_text())
    (folder / CONFIG).write_text(json.dumps(config | {ABOUT: asdict(about)}, indent=2) + "\n")
    tokenizer.save_pretrained(folder)
    needs_seed = SEED in {value.name for value in model.graph.input}
    text = card.text(about, source, tokenizer, exported.fixed, needs_seed, measured)
    (folder / "README.md").write_text(text)
    return about


def _about(encoder: ReducedEncoder, exported: Exported, backend: str, max_length: int) -> About:
    reducer = encoder.reducer
    return About(
        method=reducer.name,
        version=reducer.version,
        backend=backend,
        budget_name=reducer.budget_name,
        budget=exported.budget,
        budget_input=reducer.budget_name is not None and exported.fixed is None,
        budget_bounds=_bounds(reducer),
        max_length=max_length,
        n_labels=encoder.backbone.n_labels,
    )


def _bounds(reducer: TokenReducer) -> dict[str, float]:
    """What the budget may be, as far as its field or the method's range says it."""
    schema = reducer.Params.model_json_schema(by_alias=False).get("properties", {})
    field = schema.get(reducer.budget_name, {})
    found = {name: field[name] for name in BOUNDS if name in field}
    return found or ({} if reducer.budget_range is None else {"minimum": 0})


def read_about(folder: Path) -> About:
    """What an exported model is.

    Raises
    ------
    InputError
        If ``config.json`` is missing or damaged.
    """
    path = folder / CONFIG
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: cannot be read ({error}); export the model again") from None
    about = content.get(ABOUT) if isinstance(content, dict) else None
    names = [field.name for field in fields(About)]
    missing = [name for name in names if not isinstance(about, dict) or name not in about]
    if missing:
        raise InputError(
            f"{path}: no {ABOUT}.{missing[0]}; export the model again with lotbench export"
        )
    assert isinstance(about, dict)
    found = About(**{name: about[name] for name in names})
    numbers = found.max_length, found.n_labels
    if not all(type(number) is int and number > 0 for number in numbers):
        raise InputError(f"{path}: {ABOUT}: max_length and n_labels must be positive numbers")
    bounds = found.budget_bounds
    if not isinstance(bounds, dict) or not all(
        name in BOUNDS and isinstance(bound, int | float) for name, bound in bounds.items()
    ):
        raise InputError(f"{path}: {ABOUT}.budget_bounds must have numbers; export it again")
    if not isinstance(found.backend, str):
        raise InputError(f"{path}: {ABOUT}.backend must be a name (given: {found.backend!r:.60})")
    return found
