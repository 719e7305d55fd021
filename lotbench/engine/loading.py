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
from lotbench.engine.modelfiles import (
    ADAPTER,
    INDEX,
    WEIGHTS,
    check_config,
    check_tokenizer,
    check_weights,
    weight_names,
)
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
        from transformers.utils.hub import extract_commit_hash

        read_config(name)
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
    from transformers import AutoModelForSequenceClassification

    with torch.device("meta"):  # shapes alone
        model = AutoModelForSequenceClassification.from_config(read_config(name))
    return 4 * sum(parameter.numel() for parameter in model.parameters())


def load_backbone(
    name: str,
    n_labels: int,
    layers: int | None = None,
    seed: int | None = None,
    whole: bool = False,
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
    whole : bool
        Refuse a checkpoint without a head that fits, as a trained model has to have one.

    Raises
    ------
    InputError
        If the checkpoint cannot be read, has no safetensors, has weights that are missing or not
        finite, or is of an unsupported type.
    """
    from transformers import AutoModelForSequenceClassification

    config = read_config(name)
    if layers is not None:
        if not 1 <= layers <= config.num_hidden_layers:
            raise InputError(
                f"layers: {layers} is not between 1 and the {config.num_hidden_layers} "
                f"layers of {name!r}"
            )
        config.num_hidden_layers = layers
    _check_files(name, config)
    if whole and config.num_labels != n_labels:
        raise InputError(
            f"{name}: the card says n_labels: {n_labels}, but config.json has {config.num_labels} "
            "labels; train the model again"
        )
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
    except Exception as error:  # the files are anyone's, and so are the exceptions
        raise _unreadable(name, error) from error
    backbone = Backbone(model)
    mismatched = {key for key, *_ in report["mismatched_keys"]}
    _check_complete(name, backbone, set(report["missing_keys"]), mismatched, other_head, whole)
    if whole and report["unexpected_keys"]:
        few = ", ".join(sorted(report["unexpected_keys"])[:3])
        raise InputError(f"{name}: config.json has no place for the weights {few}; train it again")
    check_finite(name, backbone)
    return backbone


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


def _check_files(name: str, config: PretrainedConfig) -> None:
    """Refuse weight files that are no safetensors, or of another size than the configuration's."""
    where = locate(name)
    if (Path(where) / ADAPTER).exists():
        raise InputError(f"{where}/{ADAPTER}: adapters are not supported; merge it into the model")
    index = _files(where, INDEX)
    files = _files(where, *(weight_names(index[0]) if index else [WEIGHTS]))
    if files:  # without any, transformers says what it looked for
        check_weights(files, config, config.num_hidden_layers)


def _files(where: str, *names: str) -> list[Path]:
    """Those of the files that a folder or hub repository has; those of the hub are fetched.

    Raises
    ------
    InputError
        If the hub does not answer.
    """
    from transformers.utils.hub import cached_file

    try:
        found = [
            cached_file(where, name, _raise_exceptions_for_missing_entries=False) for name in names
        ]
    except (OSError, ValueError) as error:
        raise _unreadable(where, error) from error
    return [Path(path) for path in found if path is not None]


def _check_complete(
    name: str,
    backbone: Backbone,
    missing: set[str],
    mismatched: set[str],
    other_head: bool,
    whole: bool,
) -> None:
    """Refuse a checkpoint with missing weights, which transformers fills with random numbers.

    Unless it has to be ``whole``, weights of the head may be missing.  With ``other_head`` they may
    also differ in shape.
    """
    head_ids = {id(p) for module in backbone.head_modules() for p in module.parameters()}
    head = {key for key, p in backbone.model.named_parameters() if id(p) in head_ids}
    absent = sorted(missing - (set() if whole else head))
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
    from transformers import AutoConfig

    for path in _files(locate(name), "config.json"):
        check_config(path)
    try:
        config = AutoConfig.from_pretrained(locate(name), trust_remote_code=False)
    except Exception as error:  # the file is anyone's, and so are the exceptions
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
    if config.model_type == "roberta" and config.pad_token_id is None:
        raise InputError(
            f"backbone {name!r}: config.json: pad_token_id: null; RoBERTa's positions start after "
            "it, so give the id of padding"
        )
    if max_tokens(config) < 1:
        raise InputError(
            f"backbone {name!r}: config.json: pad_token_id: {config.pad_token_id} leaves none of "
            f"the {config.max_position_embeddings} positions for tokens"
        )
    return config


def max_tokens(config: PretrainedConfig) -> int:
    """Length of the longest text, in tokens, that a backbone has positions for."""
    return config.max_position_embeddings - ADAPTERS[config.model_type].position_offset(config)


def _unreadable(name: str, error: Exception) -> InputError:
    return InputError(
        f"backbone {name!r} cannot be loaded: {_first_line(error)} (a hub id needs network access; "
        "a local folder needs config.json and model.safetensors)"
    )


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    kind = "" if isinstance(error, OSError | ValueError) else f"{type(error).__name__}: "
    return f"{kind}{lines[0]:.300}" if lines else type(error).__name__


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
    where = locate(name)
    if Path(where).is_dir():
        check_tokenizer(Path(where))
    try:
        tokenizer = AutoTokenizer.from_pretrained(where, trust_remote_code=False)
        tokenizer("a text", "its pair")
        last = max(tokenizer.get_vocab().values(), default=0)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # a panic of the tokenizers library is no Exception
        raise InputError(
            f"backbone {name!r}: its tokenizer cannot be loaded: {_first_line(error)}; save "
            "tokenizer.json and tokenizer_config.json again"
        ) from error
    # Without tokenizer files, transformers makes a tokenizer of special tokens only.
    if len(tokenizer) <= len(tokenizer.all_special_ids):
        raise InputError(
            f"backbone {name!r}: it has no tokenizer; save the tokenizer's files in the same folder"
        )
    count = max(len(tokenizer), last + 1)
    if count > config.vocab_size:
        raise InputError(
            f"backbone {name!r}: its tokenizer has {count} tokens, but config.json says "
            f"vocab_size: {config.vocab_size}; use the tokenizer that the backbone was trained with"
        )
    tokenizer.model_max_length = min(tokenizer.model_max_length, max_tokens(config))
    return tokenizer
