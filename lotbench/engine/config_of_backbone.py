"""A backbone's name, configuration and files, before any weights are read."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b, file_digest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lotbench.engine.adapters import adapter_of
from lotbench.engine.modelfiles import Config, check_folder, in_file, one_line, read_object
from lotbench.engine.pooling import MODULES, Kind, read_pooling
from lotbench.errors import InputError
from lotbench.validation import validate

if TYPE_CHECKING:
    from transformers import PretrainedConfig


def locate(name: str) -> str:
    """The folder or hub id of a backbone's name.

    ``package:pkg/folder`` is a folder inside an installed package.  A path that starts with ``.``,
    ``/`` or ``~`` is a folder.  Any other name is returned unchanged.
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
    """A hash of a backbone's configuration and weights; for a hub id, its commit on the hub."""
    read_config(name)
    folder = Path(locate(name))
    if not folder.is_dir():
        from transformers.utils.hub import extract_commit_hash

        (path,) = files_of(name, "config.json")
        return str(extract_commit_hash(str(path), None))
    digest = blake2b(digest_size=16)
    for path in sorted([*folder.glob("config.json"), *folder.glob("*.safetensors")]):
        with path.open("rb") as file:
            digest.update(file_digest(file, "blake2b").digest())
    return digest.hexdigest()


def pooling_of(name: str, asked: Kind | None) -> tuple[Kind, bool]:
    """The pooling that a backbone names, or that is asked for, and if vectors are normalised."""
    files = files_of(locate(name), MODULES, "1_Pooling/config.json")
    return read_pooling(files[0].parent if files else None, name, asked)


def read_config(name: str) -> PretrainedConfig:
    """The configuration of a backbone (see `locate` for names)."""
    from transformers import AutoConfig

    where = locate(name)
    if Path(where).is_dir():
        check_folder(Path(where))
    for path in files_of(where, "config.json"):
        validate(Config, read_object(path), in_file(path))
    with reading(name, "config.json"):
        config = AutoConfig.from_pretrained(where, trust_remote_code=False)
    adapter_of(config.model_type, f"backbone {name!r}")
    with reading(name, "config.json"):
        if max_tokens(config) < 1:
            raise ValueError("max_position_embeddings leaves no position for a token")
    return config


def is_classifier(name: str) -> bool:
    """True if a model is saved with the head of a classifier or a cross-encoder."""
    classes = read_config(name).architectures or []
    return any(architecture.endswith("ForSequenceClassification") for architecture in classes)


def model_classes(name: str) -> list[str]:
    """The names of a fine-tuned model's classes in order; numbers where it has no names."""
    config = read_config(name)
    labels: Any = config.id2label
    fault = None
    if not is_classifier(name):
        known = ", ".join(config.architectures or ["none"])
        fault = f"it is no classifier (config.json: architectures: {known}); give a model that was "
        fault += "fine-tuned on your task"
    elif config.problem_type == "multi_label_classification":
        fault = "it gives a text several classes; give a model with one class"
    elif sorted(labels) != [*range(len(labels))]:
        fault = "config.json: id2label should number the classes from 0"
    if fault:
        raise InputError(f"{name}: {fault}")
    names = [str(labels[place]) for place in range(len(labels))]
    plain = all(label == f"LABEL_{place}" for place, label in enumerate(names))
    return [str(place) for place in range(len(names))] if plain else names


def max_tokens(config: PretrainedConfig) -> int:
    """Length of the longest text, in tokens, that a backbone has positions for."""
    return config.max_position_embeddings - adapter_of(config.model_type).position_offset(config)


def files_of(where: str, *names: str) -> list[Path]:
    """Those of the files that a folder or hub repository has; those of the hub are fetched."""
    from transformers.utils.hub import cached_file

    with reading(where, names[0]):
        paths = (cached_file(where, x, _raise_exceptions_for_missing_entries=False) for x in names)
        return [Path(path) for path in paths if path is not None]


@contextmanager
def reading(name: str, part: str) -> Iterator[None]:
    """Turns what transformers raises inside the block into an `InputError`."""
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
