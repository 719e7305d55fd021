"""Trained models on disk: a Hugging Face folder, the method's weights and a card (JSON)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import BaseModel, ConfigDict, Field

from lotbench import registry
from lotbench.batch import Batch
from lotbench.engine.checksums import checksums, verify
from lotbench.engine.config_of_backbone import quiet
from lotbench.engine.encoder import ReducedEncoder
from lotbench.engine.loading import check_finite, load_backbone
from lotbench.engine.modelfiles import in_file, one_line, read_object
from lotbench.engine.pooling import Kind, write_pooling
from lotbench.errors import InputError, near_misses
from lotbench.kinds.kind import SPANS
from lotbench.reducer import TokenReducer
from lotbench.validation import report_at, validate

CARD, REDUCER, POOLING = "lotbench.json", "reducer.safetensors", "pooling.safetensors"


class ModelCard(BaseModel):
    """The fields that the cards of saved and of exported models share."""

    # Other keys are those of another version of LoTBench.
    model_config = ConfigDict(
        frozen=True, strict=True, extra="ignore", allow_inf_nan=False, use_attribute_docstrings=True
    )

    method: str
    version: int
    """Of the method."""
    n_labels: Annotated[int, Field(ge=SPANS, le=100_000)]
    """Classes; 1 for regression, 0 for sentence vectors, -1 for a start and end of each token."""
    max_length: Annotated[int, Field(ge=1, lt=2**31)]
    """Most tokens of a text."""
    protect: Annotated[int, Field(ge=0)] | None = Field(None, exclude_if=lambda own: own is None)
    """Token id that ends the first text of a pair, if its tokens stay; see `ReducedEncoder`."""
    files: dict[str, str] = Field({})
    """Checksums of the other files by name; models of older versions have none."""


class Card(ModelCard):
    """The card of a saved model."""

    params: dict[str, Any]
    """Hyper-parameters of the method."""
    plugins: list[str]
    """Where the method was found if it is not installed; a message names it, nothing imports it."""


def save(
    folder: Path, encoder: ReducedEncoder, tokenizer: Any, plugins: list[str], max_length: int
) -> None:
    """Write a model to a folder; `load` reads it, and Hugging Face reads its backbone.

    Of the ``plugins`` of a trial the card names those that define the method.  Texts are cut after
    ``max_length`` tokens.
    """
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    (folder / CARD).unlink(missing_ok=True)  # without a card, what follows is no model yet
    with quiet():
        encoder.backbone.model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    pooling = encoder.backbone.pooling
    for module, name in ((encoder.reducer, REDUCER), (pooling, POOLING)):
        if module is not None:
            state = {name: value.contiguous() for name, value in module.state_dict().items()}
            save_file(state, folder / name)
    if pooling is not None:
        write_pooling(folder, pooling, encoder.backbone.width)
    card = Card(
        method=encoder.reducer.name,
        version=encoder.reducer.version,
        params=encoder.reducer.params.model_dump(mode="json", by_alias=True),
        n_labels=encoder.backbone.n_labels,
        max_length=max_length,
        protect=encoder.protect,
        # Absolute, because the working directory may be another one when the model is loaded.
        plugins=[
            str(Path(place).resolve()) if place.endswith(".py") else place
            for place in plugins
            if registry.is_home(place, type(encoder.reducer))
        ],
        files=checksums(folder),
    )
    (folder / CARD).write_text(json.dumps(card.model_dump(), indent=2) + "\n")


def read_card(folder: Path) -> Card:
    """The card of a saved model."""
    path = Path(folder) / CARD
    if not path.is_file():
        raise InputError(
            f"{folder}: not a saved model (no {CARD}); give the folder of a trial under models/"
        )
    return validate(Card, read_object(path), in_file(path))


def method_of(folder: Path, plugins: Sequence[str] = ()) -> type[TokenReducer]:
    """The method of a saved model.

    ``plugins`` are files or modules that the caller allows to be imported.  Those that the card
    names are not imported, since a card may come from anyone.
    """
    card = read_card(folder)
    for plugin in plugins:
        registry.load_plugin(plugin)
    if card.method not in registry.names():
        fault = f"{folder / CARD}: method: {card.method!r} is not installed"
        if not card.plugins:
            raise InputError(f"{fault}; {near_misses(card.method, registry.names())}")
        named = " and ".join(card.plugins)
        options = " ".join(f"--plugin {plugin}" for plugin in card.plugins)
        raise InputError(
            f"{fault}, and the plugin that the card names, {named}, was not imported; if you trust "
            f"it, allow it with plugins={card.plugins!r} (command line: {options})"
        )
    cls = registry.get(card.method)
    if cls.version != card.version:
        raise InputError(
            f"{folder / CARD}: version: the model was trained with version {card.version} of "
            f"{cls.name!r}, this is version {cls.version}; train it again"
        )
    return cls


def load(folder: Path, plugins: Sequence[str] = ()) -> ReducedEncoder:
    """A saved model in evaluation mode, float32, on the CPU; ``plugins`` as for `method_of`."""
    folder = Path(folder).resolve()
    card, cls = read_card(folder), method_of(folder, plugins)
    verify(folder, card.files, CARD)
    params = registry.make_params(cls, card.params, report_at(f"{folder / CARD}: params"))
    backbone = load_backbone(str(folder), card.n_labels, whole=True)
    try:
        reducer = cls(params, len(backbone.layers), backbone.width)
        encoder = ReducedEncoder(backbone, reducer, card.protect).eval()
        _fill(encoder.reducer, folder / REDUCER)
        if backbone.pooling is not None:
            _fill(backbone.pooling, folder / POOLING)
        with torch.no_grad():
            outputs = encoder(Batch.from_ids([[0, 0]]))
        # Of spans the logits are -inf here, since there is no second text.
        finite = outputs.hidden if backbone.spans else outputs.logits
        if not finite.isfinite().all():
            raise ValueError("its logits are not finite")
    except InputError:
        raise
    except Exception as error:  # the method's own, or of sizes that do not fit
        why = registry.located(error, cls)
        raise InputError(
            f"{folder}: {cls.name!r} with the params of {CARD} does not run: {why}"
        ) from error
    return encoder


def verified_card(folder: Path) -> Card:
    """The card of a saved model that is whole.

    Its files are compared with their checksums; a model without checksums is loaded.
    """
    card = read_card(folder)
    if card.files:
        method_of(folder)
        verify(folder, card.files, CARD)
    else:
        load(folder)
    return card


def _fill(module: torch.nn.Module, path: Path) -> None:
    """Load the weights of a method or a pooling."""
    from safetensors.torch import load_file

    try:
        module.load_state_dict(load_file(path))
    except Exception as error:  # those of safetensors have no base of their own
        raise InputError(f"{path}: damaged ({one_line(error)}); train the model again") from error
    check_finite(str(path), module)


def build(
    backbone_name: str,
    n_labels: int,
    reducer_class: type[TokenReducer],
    params: Any,
    layers: int | None,
    seed: int,
    pooling: Kind | None = None,
    protect: int | None = None,
    whole: bool = False,
) -> ReducedEncoder:
    """A backbone with a new reducer, initialised from the seed.

    `lotbench.engine.loading.load_backbone` says what ``n_labels``, ``layers``, ``whole`` and
    ``pooling`` are, and `ReducedEncoder` what ``protect`` is.
    """
    backbone = load_backbone(backbone_name, n_labels, layers, seed, whole, pooling)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        reducer = reducer_class(params, len(backbone.layers), backbone.width)
    return ReducedEncoder(backbone, reducer, protect)
