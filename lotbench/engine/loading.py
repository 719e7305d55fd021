"""Load a backbone and its tokenizer by name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from lotbench.engine.backbone import Backbone
from lotbench.engine.config_of_backbone import (
    files_of,
    locate,
    max_tokens,
    pooling_of,
    read_config,
    reading,
)
from lotbench.engine.modelfiles import INDEX, WEIGHTS, count_weights, read_object, weight_names
from lotbench.engine.pooling import Kind, Pooling
from lotbench.errors import InputError
from lotbench.kinds.kind import SPANS

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedTokenizerBase


def weight_bytes(name: str) -> int:
    """Bytes of a backbone's weights in float32; those of a hub id follow from its configuration."""
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


def _auto(n_labels: int, config: PretrainedConfig) -> Any:
    """The class of transformers for a model with so many labels, which its configuration gets."""
    import transformers

    if not n_labels:
        return transformers.AutoModel
    config.num_labels = 2 if n_labels == SPANS else n_labels
    if n_labels == SPANS:
        return transformers.AutoModelForQuestionAnswering
    return transformers.AutoModelForSequenceClassification


def load_backbone(
    name: str,
    n_labels: int,
    layers: int | None = None,
    seed: int | None = None,
    whole: bool = False,
    pooling: Kind | None = None,
) -> Backbone:
    """A pretrained backbone with a classification head or a pooling, in float32.

    `locate` says what a ``name`` is.  ``n_labels`` counts classes, 1 for regression, or is `SPANS`.
    0 is for sentence vectors: the backbone has no head, but the ``pooling``, by default that of its
    folder.
    A head that does not fit is drawn anew from the ``seed``, or refused if the checkpoint has to be
    ``whole``, as a trained model.  Only the first ``layers`` are kept.
    """
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
    auto = _auto(n_labels, config)
    with reading(name, "its model"), torch.random.fork_rng(devices=[]):
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


def random_backbone(name: str, n_labels: int, layers: int | None = None) -> Backbone:
    """A backbone of the same size with random weights; its pretrained ones need not be there."""
    config = read_config(name)
    _cut(config, layers or config.num_hidden_layers)
    with reading(name, "config.json"):
        pooling = None if n_labels else Pooling(config.hidden_size, "mean", normalise=True)
        return Backbone(_auto(n_labels, config).from_config(config), pooling)


def check_finite(name: str, module: torch.nn.Module) -> None:
    """Refuse weights that are NaN or infinite; ``name`` is the file or folder they are from."""
    for key, weight in module.named_parameters():
        # The sum first, since it needs no memory; it may overflow where every weight is finite.
        if not weight.detach().sum().isfinite() and not weight.isfinite().all():
            raise InputError(f"{name}: {key} has a NaN or an infinity; train the model again")


def _check_size(name: str, config: PretrainedConfig) -> None:
    """Refuse weights that are no safetensors, or are far fewer than a configuration describes.

    Transformers would make up the missing ones, whatever memory they need.
    """
    where = locate(name)
    index = files_of(where, INDEX)
    files = files_of(where, *(weight_names(index[0]) if index else [WEIGHTS]))
    if not files:  # transformers says what it looked for
        return
    with reading(name, "config.json"):
        described = _described_weights(config)
    count = count_weights(files)
    if described > 2 * count:
        raise InputError(
            f"backbone {name!r}: config.json describes {described} weights, but {files[0].name} "
            f"has {count}; save the model with its configuration again"
        )


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


def length_of(name: str) -> int:
    """Tokens after which a model's own folder says that texts are cut."""
    limit = load_tokenizer(name).model_max_length
    for path in files_of(locate(name), "sentence_bert_config.json"):
        stated = read_object(path).get("max_seq_length")
        limit = min(limit, stated) if isinstance(stated, int) else limit
    return limit


def load_tokenizer(name: str) -> PreTrainedTokenizerBase:
    """The tokenizer that belongs to a backbone (see `locate` for names).

    Its ``model_max_length`` is capped at the backbone's number of positions.
    """
    import transformers

    config = read_config(name)
    where = locate(name)
    with reading(name, "its tokenizer"):
        for path in files_of(where, "tokenizer_config.json"):
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
