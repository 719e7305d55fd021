"""Load a backbone, its configuration and its tokenizer by name."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b, file_digest
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from lotbench.engine.adapters import ADAPTERS
from lotbench.engine.backbone import Backbone
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
    folder = Path(locate(name))
    if not folder.is_dir():
        return str(getattr(read_config(name), "_commit_hash", None))
    digest = blake2b(digest_size=16)
    for path in sorted([*folder.glob("config.json"), *folder.glob("*.safetensors")]):
        with path.open("rb") as file:
            digest.update(file_digest(file, "blake2b").digest())
    return digest.hexdigest()


def load_backbone(
    name: str, n_labels: int, layers: int | None = None, seed: int | None = None
) -> Backbone:
    """A pretrained backbone with a classification head, in float32.

    Parameters
    ----------
    name : str
        See `locate`.
    n_labels : int
        Classes; 1 for regression.  A head with a different number of classes is replaced.
    layers : int, optional
        Keep only the first layers.
    seed : int, optional
        Seed of a new head, made if the checkpoint has none that fits.

    Raises
    ------
    InputError
        If the checkpoint cannot be read, has no safetensors, or is of an unsupported type.
    """
    from safetensors import SafetensorError
    from transformers import AutoModelForSequenceClassification

    config = read_config(name)
    if layers is not None:
        if not 1 <= layers <= config.num_hidden_layers:
            raise InputError(
                f"layers: {layers} is not between 1 and the {config.num_hidden_layers} "
                f"layers of {name!r}"
            )
        config.num_hidden_layers = layers
    other_head = config.num_labels != n_labels
    config.num_labels = n_labels
    try:
        with quiet(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(0 if seed is None else seed)
            model, report = AutoModelForSequenceClassification.from_pretrained(
                locate(name),
                config=config,
                dtype=torch.float32,
                use_safetensors=True,
                trust_remote_code=False,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
            )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise _unreadable(name, error) from error
    backbone = Backbone(model)
    mismatched = {key for key, *_ in report["mismatched_keys"]}
    _check_complete(name, backbone, set(report["missing_keys"]), mismatched, other_head)
    return backbone


def _check_complete(
    name: str, backbone: Backbone, missing: set[str], mismatched: set[str], other_head: bool
) -> None:
    """Refuse a checkpoint with missing weights, which transformers fills with random numbers.

    Weights of the head may be missing.  With ``other_head`` they may also differ in shape.
    """
    head_ids = {id(p) for module in backbone.head_modules() for p in module.parameters()}
    head = {key for key, p in backbone.model.named_parameters() if id(p) in head_ids}
    absent = sorted(missing - head)
    wrong_shape = sorted(mismatched - head if other_head else mismatched)
    for keys, fault in (
        (absent, "are missing"),
        (wrong_shape, "have another shape than config.json says"),
    ):
        if keys:
            few = ", ".join(keys[:3]) + (", ..." if len(keys) > 3 else "")
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
    from huggingface_hub.errors import StrictDataclassError
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(locate(name), trust_remote_code=False)
    except (OSError, ValueError, KeyError, TypeError, StrictDataclassError) as error:
        raise _unreadable(name, error) from error
    if config.model_type not in ADAPTERS:
        raise InputError(
            f"backbone {name!r} is of type {config.model_type!r}, which is not supported; "
            "supported: " + ", ".join(sorted(ADAPTERS))
        )
    if getattr(config, "is_decoder", False):
        raise InputError(
            f"backbone {name!r}: config.json: is_decoder: an encoder is needed; "
            "choose another backbone"
        )
    return config


def max_tokens(config: PretrainedConfig) -> int:
    """Length of the longest text, in tokens, that a backbone has positions for."""
    return config.max_position_embeddings - ADAPTERS[config.model_type].position_offset(config)


def _unreadable(name: str, error: Exception) -> InputError:
    first = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return InputError(
        f"backbone {name!r} cannot be loaded: {first} (a hub id needs network access; "
        "a local folder needs config.json and model.safetensors)"
    )


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
    from transformers import AutoTokenizer

    config = read_config(name)
    try:
        tokenizer = AutoTokenizer.from_pretrained(locate(name), trust_remote_code=False)
    except (OSError, ValueError) as error:
        first = str(error).strip().splitlines()[0]
        raise InputError(f"backbone {name!r}: its tokenizer cannot be loaded: {first}") from error
    # Without tokenizer files, transformers makes a tokenizer of special tokens only.
    if len(tokenizer) <= len(tokenizer.all_special_ids):
        raise InputError(
            f"backbone {name!r}: it has no tokenizer; save the tokenizer's files in the same folder"
        )
    if len(tokenizer) > config.vocab_size:
        raise InputError(
            f"backbone {name!r}: its tokenizer has {len(tokenizer)} tokens, but config.json says "
            f"vocab_size: {config.vocab_size}; use the tokenizer that the backbone was trained with"
        )
    tokenizer.model_max_length = min(tokenizer.model_max_length, max_tokens(config))
    return tokenizer
