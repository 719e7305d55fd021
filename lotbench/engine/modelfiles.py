"""Checks of a model's files before transformers reads them: a fault is named by file and field.

Nothing of the size that a file claims is built before the claim is checked.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from lotbench.errors import InputError
from lotbench.validation import Wording, dotted, validate

LARGEST_JSON = 256 * 2**20
"""Bytes; the largest tokenizers have some 30 MB."""
INDEX = "model.safetensors.index.json"
WEIGHTS = "model.safetensors"
ADAPTER = "adapter_config.json"
WEIGHT_TYPES = {"F64", "F32", "F16", "BF16"}
TOKENIZER_FILES = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")

Count = Annotated[int, Field(ge=1, le=1_000_000)]
Layers = Annotated[int, Field(ge=1, le=1000)]
Labels = Annotated[int, Field(ge=1, le=100_000)]
Share = Annotated[float, Field(ge=0, le=1)]
Names = Annotated[dict[str, Any], Field(max_length=100_000)]


class _File(BaseModel):
    """The fields of a file that are checked; others are transformers' own business."""

    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False)


class _Config(_File):
    """``config.json``; a field with a default may be absent, but not null."""

    model_type: str
    num_hidden_layers: Layers = 1
    n_layers: Layers = 1
    num_attention_heads: Count = 1
    n_heads: Count = 1
    hidden_size: Count = 1
    embedding_size: Count = 1
    dim: Count = 1
    intermediate_size: Count = 1
    hidden_dim: Count = 1
    vocab_size: Annotated[int, Field(ge=1, le=10_000_000)] = 1
    max_position_embeddings: Count = 1
    type_vocab_size: Annotated[int, Field(ge=0, le=1000)] = 1
    chunk_size_feed_forward: Annotated[int, Field(ge=0)] = 0
    pad_token_id: Annotated[int, Field(ge=0)] | None = None
    num_labels: Labels = 1
    id2label: Names | None = None
    label2id: Names | None = None
    hidden_act: str = ""
    activation: str = ""
    layer_norm_eps: Share = 0.0
    hidden_dropout_prob: Share = 0.0
    attention_probs_dropout_prob: Share = 0.0
    dropout: Share = 0.0
    attention_dropout: Share = 0.0
    seq_classif_dropout: Share = 0.0
    classifier_dropout: Share | None = None
    initializer_range: Annotated[float, Field(ge=0, le=1000)] = 0.0
    position_embedding_type: Literal["absolute"] | None = None
    # Others may be fetched from the hub, and would run code from there.
    attn_implementation: Literal["eager", "sdpa"] | None = None
    quantization_config: None = None


class _TokenizerConfig(_File):
    """``tokenizer_config.json``."""

    model_max_length: Annotated[float, Field(ge=1)] | Annotated[int, Field(ge=1)] = 1
    model_input_names: list[str] = Field([])
    # An empty one gives another tokenizer without a word.
    tokenizer_class: Annotated[str, Field(min_length=1)] | None = None
    padding_side: Literal["left", "right"] = "right"
    truncation_side: Literal["left", "right"] = "right"


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object of a file.

    Raises
    ------
    InputError
        If it is missing, larger than `LARGEST_JSON`, not valid JSON, or not an object.
    """
    try:
        if path.stat().st_size > LARGEST_JSON:
            raise InputError(f"{path}: more than {LARGEST_JSON >> 20} MB; it was not read")
        content = json.loads(path.read_text(encoding="utf-8"))
    except RecursionError:
        raise InputError(f"{path}: damaged (nested too deeply)") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: damaged ({error})") from None
    if not isinstance(content, dict):
        raise InputError(f"{path}: damaged (not a JSON object)")
    return content


def in_file(path: Path) -> Wording:
    """A report that names file and field."""
    return lambda key, fault: f"{path}: {dotted(key)}: {fault}"


def check_config(path: Path) -> None:
    """Refuse a ``config.json`` with a field of the wrong type or beyond its bounds.

    Raises
    ------
    InputError
        Names every such field.
    """
    validate(_Config, read_object(path), in_file(path))


def check_tokenizer(folder: Path) -> None:
    """Refuse a folder whose tokenizer files are not what they have to be.

    Raises
    ------
    InputError
        Names file and field.
    """
    for name in (*TOKENIZER_FILES, "tokenizer.json"):
        path = folder / name
        if path.is_file():
            content = read_object(path)
            if name == "tokenizer_config.json":
                validate(_TokenizerConfig, content, in_file(path))


def weight_names(index: Path) -> list[str]:
    """The files that an index names, all of them safetensors files beside it.

    Raises
    ------
    InputError
        If it cannot be read, or names another kind of file, which might run code.
    """
    content = read_object(index)
    for field in ("weight_map", "metadata"):
        if not isinstance(content.get(field), dict):
            raise InputError(f"{index}: {field}: a mapping is needed; save the model again")
    table = content["weight_map"]
    for name in table.values():
        plain = isinstance(name, str) and Path(name).name == name
        if not plain or not name.endswith(".safetensors"):
            raise InputError(
                f"{index}: weight_map: {name!r:.60} is not a safetensors file of this folder; save "
                "the weights as safetensors"
            )
    return sorted(set(table.values()))


def check_weights(files: list[Path], config: Any, layers: int) -> None:
    """Refuse weights that do not have the sizes of a configuration, from their headers alone.

    Parameters
    ----------
    files : list of Path
        Of one model.
    config : transformers.PretrainedConfig
    layers : int
        Layers that will be used.

    Raises
    ------
    InputError
        Names the file and the field of ``config.json``.
    """
    from safetensors import SafetensorError, safe_open

    depth = 0
    for path in files:
        try:
            with safe_open(path, "pt") as opened:
                for key in opened.keys():  # noqa: SIM118 (it is no mapping)
                    part = opened.get_slice(key)
                    _check_weight(path, key, part.get_dtype(), part.get_shape(), config)
                    layer = re.search(r"\.layer\.(\d{1,6})\.", f".{key}")
                    depth = max(depth, int(layer[1]) + 1 if layer else 0)
        except (OSError, SafetensorError) as error:
            raise InputError(f"{path}: damaged ({error}); save the model again") from None
    if depth < layers:
        where = files[0].with_name("config.json")
        raise InputError(
            f"{where}: num_hidden_layers: {layers} layers are asked for, but {files[0].name} has "
            f"{depth}"
        )


def _check_weight(path: Path, key: str, dtype: str, shape: list[int], config: Any) -> None:
    if key.endswith((".weight", ".bias")) and dtype not in WEIGHT_TYPES:
        raise InputError(f"{path}: {key} is {dtype}; weights of {', '.join(WEIGHT_TYPES)} needed")
    rows = {
        "word_embeddings.weight": "vocab_size",
        "position_embeddings.weight": "max_position_embeddings",
        "intermediate.dense.weight": "intermediate_size",
        "ffn.lin1.weight": "hidden_dim",
        "query.weight": "hidden_size",
        "q_lin.weight": "dim",
    }
    for end, field in rows.items():
        if key.endswith(end) and shape[:1] != [getattr(config, field)]:
            raise InputError(
                f"{path.with_name('config.json')}: {field}: {getattr(config, field)}, but {key} in "
                f"{path.name} has shape {shape}; save the model with its configuration again"
            )
