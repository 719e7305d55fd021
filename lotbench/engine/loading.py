"""Load a backbone, its configuration and its tokenizer by name."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b, file_digest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from lotbench.engine.adapters import ADAPTERS
from lotbench.engine.backbone import Backbone
from lotbench.engine.modelfiles import (
    INDEX,
    WEIGHTS,
    check_config,
    check_folder,
    count_weights,
    one_line,
    read_object,
    weight_names,
)
from lotbench.engine.pooling import MODULES, Kind, Pooling, read_pooling
from lotbench.errors import InputError

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedTokenizerBase


def locate(name: str) -> str:
    """The folder or hub id of a backbone's name.

    ``package:pkg/folder`` is a folder inside an installed package.  A path that starts with ``.``,
    ``/`` or ``~`` is a folder.  Any other name is returned unchanged.

    Raises
    ------
    InputError
        If the package or the folder is missing.
    """
    if name.startswith("package:"):
        package, _, inner = name.removeprefix("package:").partition("/")
        # Top-level packages only, since the lookup of a dotted name imports its parent.
        spec = importlib.util.find_spec(package) if package.isidentifier() else None
        if spec is None or not spec.submodule_search_locations:
            raise InputError(
                f"backbone {name!r}: the package {package!r} is not installed; "
                "install it (the quickstart's with: pip install 'lotbench[quickstart]')"
            )
        name = str(Path(next(iter(spec.submodule_search_locations))) / inner)
        if not Path(name).is_dir():
            raise InputError(f"backbone: the package {package!r} has no folder {inner!r}")
    elif name.startswith((".", "/", "~")):
        name = os.path.expanduser(name)
        if not Path(name).is_dir():
            raise InputError(f"backbone: no such folder: {name}")
    return name


def fingerprint(name: str) -> str:
    """A hash of a backbone's configuration and weights; for a hub id, its commit on the hub.

    Raises
    ------
    InputError
        As for `locate`, or if the configuration cannot be read.
    """
    read_config(name)
    folder = Path(locate(name))
    if not folder.is_dir():
        from transformers.utils.hub import extract_commit_hash

        (path,) = _files(name, "config.json")
        return str(extract_commit_hash(str(path), None))
    digest = blake2b(digest_size=16)
    for path in sorted([*folder.glob("config.json"), *folder.glob("*.safetensors")]):
        with path.open("rb") as file:
            digest.update(file_digest(file, "blake2b").digest())
    return digest.hexdigest()


def weight_bytes(name: str) -> int:
    """Size of a backbone's weights in float32; for a hub id, of what its configuration describes.

    Raises
    ------
    InputError
        As for `locate`, or if the configuration cannot be read.
    """
    folder = Path(locate(name))
    if folder.is_dir():
        return sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    return 4 * _described_weights(read_config(name))


def _described_weights(config: PretrainedConfig) -> int:
    """The numbers in the model that a configuration describes."""
    from transformers import AutoModelForSequenceClassification

    with torch.device("meta"):  # shapes alone
        model = AutoModelForSequenceClassification.from_config(config)
    return sum(parameter.numel() for parameter in model.parameters())


def load_backbone(
    name: str,
    n_labels: int,
    layers: int | None = None,
    seed: int | None = None,
    whole: bool = False,
    pooling: Kind | None = None,
) -> Backbone:
    """A pretrained backbone with a classification head or a pooling, in float32.

    Parameters
    ----------
    name : str
        See `locate`.
    n_labels : int
        Classes; 1 for regression.  A head with a different number of classes is replaced.
        0 for sentence vectors: the backbone has a pooling and no head.
    layers : int, optional
        Keep only the first layers.
    seed : int, optional
        Seed of a new head, made if the checkpoint has none that fits.
    whole : bool
        Refuse a checkpoint without a head that fits, as a trained model has to have one.
    pooling : "mean" or "cls", optional
        The pooling of sentence vectors; by default the one that the folder names.

    Raises
    ------
    InputError
        If the checkpoint cannot be read, has no safetensors, has weights that are missing or not
        finite, is of an unsupported type, or names no pooling that is needed.
    """
    from transformers import AutoModel, AutoModelForSequenceClassification

    config = read_config(name)
    _check_size(name, config)
    pooled = None if n_labels else Pooling(config.hidden_size, *pooling_of(name, pooling))
    if layers is not None:
        if not 1 <= layers <= config.num_hidden_layers:
            raise InputError(
                f"layers: {layers} is not between 1 and the {config.num_hidden_layers} "
                f"layers of {name!r}"
            )
        _cut(config, layers)
    new_head = not whole and config.num_labels != n_labels
    if n_labels:
        config.num_labels = n_labels
    auto = AutoModelForSequenceClassification if n_labels else AutoModel
    with _reading(name, "its model"), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0 if seed is None else seed)
        model, report = auto.from_pretrained(
            locate(name),
            config=config,
            dtype=torch.float32,
            use_safetensors=True,
            trust_remote_code=False,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    if pooled is not None and getattr(model, "pooler", None) is not None:
        model.pooler = None  # a part of classifiers, which transformers may have made up
    backbone = Backbone(model, pooled)
    _check_complete(name, backbone, report, new_head, whole)
    check_finite(name, backbone)
    return backbone


def _cut(config: PretrainedConfig, layers: int) -> None:
    """Leaves the first layers of the model that a configuration describes."""
    config.num_hidden_layers = layers
    if (kinds := getattr(config, "layer_types", None)) is not None:  # ModernBERT
        config.layer_types = kinds[:layers]


def pooling_of(name: str, asked: Kind | None) -> tuple[Kind, bool]:
    """The pooling that a backbone names or that is asked for, and whether vectors are normalised.

    Raises
    ------
    InputError
        As for `read_pooling`.
    """
    found = _files(locate(name), MODULES, "1_Pooling/config.json")
    return read_pooling(found[0].parent if found else None, name, asked)


def random_backbone(name: str, n_labels: int, layers: int | None = None) -> Backbone:
    """A backbone of the same size with random weights; its pretrained ones need not be there.

    Raises
    ------
    InputError
        If the configuration cannot be read.
    """
    from transformers import AutoModel, AutoModelForSequenceClassification

    config = read_config(name)
    _cut(config, layers or config.num_hidden_layers)
    with _reading(name, "config.json"):
        if not n_labels:
            pooling = Pooling(config.hidden_size, "mean", normalise=True)
            return Backbone(AutoModel.from_config(config), pooling)
        config.num_labels = n_labels
        return Backbone(AutoModelForSequenceClassification.from_config(config))


def check_finite(name: str, module: torch.nn.Module) -> None:
    """Refuse weights that are NaN or infinite; ``name`` is the file or folder they are from.

    Raises
    ------
    InputError
        Names the first such weight.
    """
    for key, weight in module.named_parameters():
        # The sum first, since it needs no memory; it may overflow where every weight is finite.
        if not weight.detach().sum().isfinite() and not weight.isfinite().all():
            raise InputError(f"{name}: {key} has a NaN or an infinity; train the model again")


def _check_size(name: str, config: PretrainedConfig) -> None:
    """Refuse weights that are no safetensors, or are far fewer than a configuration describes.

    Transformers would make up the missing ones, whatever memory they need.
    """
    where = locate(name)
    index = _files(where, INDEX)
    files = _files(where, *(weight_names(index[0]) if index else [WEIGHTS]))
    if not files:  # transformers says what it looked for
        return
    with _reading(name, "config.json"):
        described = _described_weights(config)
    found = count_weights(files)
    if described > 2 * found:
        raise InputError(
            f"backbone {name!r}: config.json describes {described} weights, but {files[0].name} "
            f"has {found}; save the model with its configuration again"
        )


def _files(where: str, *names: str) -> list[Path]:
    """Those of the files that a folder or hub repository has; those of the hub are fetched.

    Raises
    ------
    InputError
        If the hub does not answer.
    """
    from transformers.utils.hub import cached_file

    with _reading(where, names[0]):
        found = [
            cached_file(where, name, _raise_exceptions_for_missing_entries=False) for name in names
        ]
    return [Path(path) for path in found if path is not None]


def _check_complete(
    name: str, backbone: Backbone, report: dict[str, Any], new_head: bool, whole: bool
) -> None:
    """Refuse a checkpoint with missing weights, which transformers fills with random numbers.

    Unless it has to be ``whole``, weights of the head may be missing.  With ``new_head`` they may
    also differ in shape.
    """
    head_ids = {id(p) for module in backbone.head_modules for p in module.parameters()}
    head = {key for key, p in backbone.model.named_parameters() if id(p) in head_ids}
    mismatched = {key for key, *_ in report["mismatched_keys"]}
    missing = set(report["missing_keys"]) - (set() if whole else head)
    if backbone.pooling is not None:
        missing = {key for key in missing if not key.startswith("pooler.")}
    for keys, fault in (
        (missing, "are missing"),
        (mismatched - (head if new_head else set()), "have another shape than config.json says"),
        (set(report["unexpected_keys"]) if whole else (), "have no place in config.json"),
    ):
        if keys:
            few = ", ".join(sorted(keys)[:3]) + (", ..." if len(keys) > 3 else "")
            raise InputError(
                f"backbone {name!r}: {len(keys)} weights of model.safetensors {fault}: {few}; "
                "save the whole model with its configuration again"
            )


def read_config(name: str) -> PretrainedConfig:
    """The configuration of a backbone (see `locate` for names).

    Raises
    ------
    InputError
        If it cannot be read, is of an unsupported type, or is a decoder.
    """
    from transformers import AutoConfig

    where = locate(name)
    if Path(where).is_dir():
        check_folder(Path(where))
    for path in _files(where, "config.json"):
        check_config(path)
    with _reading(name, "config.json"):
        config = AutoConfig.from_pretrained(where, trust_remote_code=False)
    if config.model_type not in ADAPTERS:
        raise InputError(
            f"backbone {name!r} is of type {config.model_type!r}, which is not supported; "
            "supported: " + ", ".join(sorted(ADAPTERS))
        )
    with _reading(name, "config.json"):
        if max_tokens(config) < 1:
            raise ValueError("max_position_embeddings leaves no position for a token")
    return config


def is_classifier(name: str) -> bool:
    """True if a model is saved with the head of a classifier or a cross-encoder.

    Raises
    ------
    InputError
        If its configuration cannot be read.
    """
    given = read_config(name).architectures or []
    return any(each.endswith("ForSequenceClassification") for each in given)


def length_of(name: str) -> int:
    """Tokens after which a model's own folder says that texts are cut.

    Raises
    ------
    InputError
        If the folder cannot be read.
    """
    limit = load_tokenizer(name).model_max_length
    for path in _files(locate(name), "sentence_bert_config.json"):
        own = read_object(path).get("max_seq_length")
        limit = min(limit, own) if isinstance(own, int) else limit
    return limit


def model_classes(name: str) -> list[str]:
    """The names of a fine-tuned model's classes in order; numbers where it has no names.

    Raises
    ------
    InputError
        If the model has no head, or one that gives a text several classes.
    """
    config = read_config(name)
    if not is_classifier(name):
        given = ", ".join(config.architectures or ["none"])
        raise InputError(
            f"{name}: it is no classifier (config.json: architectures: {given}); give a model that "
            "was fine-tuned on your task"
        )
    if config.problem_type == "multi_label_classification":
        raise InputError(f"{name}: it gives a text several classes; give a model with one class")
    labels: Any = config.id2label
    names = [str(labels[place]) for place in range(len(labels))]
    plain = all(label == f"LABEL_{place}" for place, label in enumerate(names))
    return [str(place) for place in range(len(names))] if plain else names


def max_tokens(config: PretrainedConfig) -> int:
    """Length of the longest text, in tokens, that a backbone has positions for."""
    return config.max_position_embeddings - ADAPTERS[config.model_type].position_offset(config)


@contextmanager
def _reading(name: str, part: str) -> Iterator[None]:
    """Words what transformers raises inside the block; the files, and so the errors, are anyone's.

    Raises
    ------
    InputError
        Names the backbone.
    """
    try:
        with quiet():
            yield
    except InputError:
        raise
    except BaseException as error:
        # A panic of the tokenizers library is no Exception.
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        kind = "" if isinstance(error, OSError | ValueError) else f"{type(error).__name__}: "
        raise InputError(
            f"backbone {name!r}: {part} cannot be loaded: {kind}{one_line(error)} (a hub id "
            "needs network access; a local folder needs config.json, model.safetensors, "
            "tokenizer.json and tokenizer_config.json)"
        ) from error


@contextmanager
def quiet() -> Iterator[None]:
    """Hides the progress bars and warnings of transformers inside the block."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def load_tokenizer(name: str) -> PreTrainedTokenizerBase:
    """The tokenizer that belongs to a backbone (see `locate` for names).

    Its ``model_max_length`` is capped at the backbone's number of positions.

    Raises
    ------
    InputError
        If it is missing, cannot be read, or has a larger vocabulary than the backbone.
    """
    import transformers

    config = read_config(name)
    where = locate(name)
    with _reading(name, "its tokenizer"):
        for path in _files(where, "tokenizer_config.json"):
            kind = read_object(path).get("tokenizer_class")
            if kind is not None and not hasattr(transformers, kind):  # it would take another one
                raise ValueError(f"{path}: tokenizer_class: transformers has no {kind!r}")
        tokenizer = transformers.AutoTokenizer.from_pretrained(where, trust_remote_code=False)
        tokenizer("a text", "its pair")
        tokenizer.model_max_length = min(tokenizer.model_max_length, max_tokens(config))
        # Without tokenizer files, transformers makes a tokenizer of special tokens only.
        if len(tokenizer) <= len(tokenizer.all_special_ids):
            raise ValueError("no tokenizer; save its files in the same folder")
        count = max(len(tokenizer), max(tokenizer.get_vocab().values()) + 1)
        if count > config.vocab_size:
            raise ValueError(
                f"it has {count} tokens, but config.json says vocab_size: "
                f"{config.vocab_size}; use the tokenizer that the backbone was trained with"
            )
    return tokenizer
