"""Checks of a model's files before transformers reads them: what would run code or hang, or give
wrong numbers without an error.  All else is left to transformers.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from lotbench.errors import InputError
from lotbench.validation import Wording, dotted

LARGEST_JSON = 256 * 2**20
"""Bytes."""
INDEX, WEIGHTS, ADAPTER = "model.safetensors.index.json", "model.safetensors", "adapter_config.json"
WEIGHT_TYPES = {"F64", "F32", "F16", "BF16"}

Layers = Annotated[int, Field(ge=1, le=1000)]


class Config(BaseModel):
    """Fields of ``config.json`` that transformers takes as they are, or ignores."""

    model_config = ConfigDict(strict=True, extra="ignore")

    # Transformers builds as many before it looks at the weights.
    num_hidden_layers: Layers = 1
    n_layers: Layers = 1
    num_labels: Annotated[int, Field(ge=1, le=100_000)] = 1
    is_decoder: Literal[False] = False
    # Transformers 5 has no others and says nothing.
    position_embedding_type: Literal["absolute"] | None = None
    # Others may be fetched from the hub, and would run code from there.
    attn_implementation: Literal["eager", "sdpa"] | None = None
    quantization_config: None = None


def read_object(path: Path, kind: type = dict) -> Any:
    """The JSON object of a file, or the list of objects."""
    try:
        if not path.is_file() or path.stat().st_size > LARGEST_JSON:
            raise ValueError(f"no regular file of at most {LARGEST_JSON >> 20} MB")
        content = json.loads(path.read_text(encoding="utf-8"))
        objects = content if kind is list else [content]
        if type(content) is not kind or not all(isinstance(part, dict) for part in objects):
            raise ValueError("not a JSON object" if kind is dict else "not a list of JSON objects")
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: damaged ({error})") from None
    return content


def in_file(path: Path) -> Wording:
    """A report that names file and field."""
    return lambda key, fault: f"{path}: {dotted(key)}: {fault}"


def one_line(error: BaseException) -> str:
    """The message of a library's exception, which may have many lines."""
    return f"{' '.join(str(error).split()):.300}"


def check_folder(folder: Path) -> None:
    """Refuse a model's folder with an adapter, or with what is no file, such as a pipe."""
    for path in sorted(folder.iterdir()):
        if path.name == ADAPTER:
            raise InputError(f"{path}: adapters are not supported; merge it into the model")
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise InputError(f"{path}: not a regular file, so it was not read")


def weight_names(index: Path) -> list[str]:
    """The files that an index names, all of them safetensors files of its folder."""
    table = read_object(index).get("weight_map")
    names = set(map(str, table.values())) if isinstance(table, dict) else {str(table)}
    for name in names:
        if Path(name).name != name or not name.endswith(".safetensors"):
            raise InputError(
                f"{index}: weight_map: {name!r:.60} is not a safetensors file of this folder; save "
                "the weights as safetensors"
            )
    return sorted(names)


def count_weights(files: list[Path]) -> int:
    """The numbers in safetensors files, from their headers alone."""
    from safetensors import SafetensorError, safe_open

    count = 0
    for path in files:
        try:
            with safe_open(path, "pt") as opened:
                for key in opened.keys():  # noqa: SIM118 (it is no mapping)
                    part = opened.get_slice(key)
                    if key.endswith((".weight", ".bias")) and part.get_dtype() not in WEIGHT_TYPES:
                        raise ValueError(f"{key} is {part.get_dtype()}, which is no float")
                    count += math.prod(part.get_shape())
        except (OSError, ValueError, SafetensorError) as error:
            raise InputError(f"{path}: damaged ({error}); save the model again") from None
    return count
