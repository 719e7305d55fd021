"""`Pooling`: the states of a text's tokens as one vector, as its backbone's folder says.

Sentence encoders are folders of sentence-transformers: ``modules.json`` names a pooling, whose
``config.json`` says how, and perhaps a normalisation.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from lotbench.engine.modelfiles import read_object
from lotbench.errors import InputError
from lotbench.ragged import Ragged, segment_weighted_sum

Kind = Literal["mean", "cls"]
KEYS: dict[Kind, str] = {"mean": "pooling_mode_mean_tokens", "cls": "pooling_mode_cls_token"}
MODULES = "modules.json"
ADVICE = "set the task's `pooling` to mean or cls"


class Pooling(nn.Module):
    """The vector of a text: the mean of its tokens' states, or the state of its first token.

    Some tokens of a mean may not be computed by the last layer: they leapt over it, or were dropped
    and restored.  Their states are of an earlier layer, so they enter the mean through one learned
    D x D map, the same for every method.  The mean of a map is the map of the mean, so that is one
    product per text.  A new map is zero, as if these tokens had been dropped, up to the length
    of the vector; a trial starts with `lotbench.trial.teacher.embeddings_to_states`.  With
    ``normalise`` the vector has length 1.
    """

    def __init__(self, width: int, kind: Kind, normalise: bool) -> None:
        super().__init__()
        self.kind, self.normalise = kind, normalise
        self.map = nn.Linear(width, width, bias=False) if kind == "mean" else None
        if self.map is not None:
            nn.init.zeros_(self.map.weight)

    def forward(self, hidden: Tensor, layout: Ragged, behind: Tensor | None = None) -> Tensor:
        """The vectors ``(B, D)`` of the states ``hidden (T, D)``.

        ``behind`` (T,) is 1 for tokens that the last layer did not compute, and between 0 and 1
        where a soft decision blends both; None if it computed all.
        """
        return self._scaled(self.pool(hidden, layout, behind))

    def padded(self, hidden: Tensor, mask: Tensor | None) -> Tensor:
        """The vectors ``(B, D)`` of padded states ``(B, N, D)`` of the whole last layer.

        ``mask`` (B, N) is 1 for tokens; None if no text is padded.
        """
        if self.kind == "cls":
            return self._scaled(hidden[:, 0])
        if mask is None:
            return self._scaled(hidden.mean(1))
        total = (hidden * mask.unsqueeze(2).to(hidden.dtype)).sum(1)
        return self._scaled(total / mask.sum(1, keepdim=True))

    def _scaled(self, vectors: Tensor) -> Tensor:
        return F.normalize(vectors, dim=1) if self.normalise else vectors

    def pool(self, hidden: Tensor, layout: Ragged, behind: Tensor | None = None) -> Tensor:
        """The vectors ``(B, D)`` before they are normalised."""
        if self.map is None:
            return hidden[layout.first]
        if behind is None:
            total = segment_weighted_sum(None, hidden, layout)
        else:
            behind = behind.to(hidden.dtype)
            left = segment_weighted_sum(behind, hidden, layout)
            total = segment_weighted_sum(1 - behind, hidden, layout) + self.map(left)
        return total / layout.lengths.unsqueeze(1)

    def map_flops(self) -> float:
        """FLOPs of the map, per text."""
        return 0.0 if self.map is None else 2.0 * self.map.weight.numel()


def read_pooling(folder: Path | None, name: str, asked: Kind | None) -> tuple[Kind, bool]:
    """The pooling of a backbone and whether it is followed by a normalisation.

    The folder may have a ``modules.json``.  ``asked`` is the pooling to use; None is that of the
    folder.
    """
    if folder is None or not (folder / MODULES).is_file():
        if asked is None:
            raise InputError(f"backbone {name!r}: no {MODULES} says how to pool; {ADVICE}")
        return asked, False
    paths = {}
    for module in read_object(folder / MODULES, list):
        kind = str(module.get("type")).rpartition(".")[2]
        if kind not in ("Transformer", "Pooling", "Normalize"):
            raise InputError(
                f"{folder / MODULES}: the module {kind!r:.60} is not supported, only a Pooling and "
                "a Normalize behind the Transformer are"
            )
        paths[kind] = str(module.get("path"))
    if asked is None:
        asked = _named(folder / paths.get("Pooling", "") / "config.json")
    return asked, "Normalize" in paths


def _named(path: Path) -> Kind:
    """The pooling that the configuration of a Pooling module names."""
    config = read_object(path)
    names = [config.get("pooling_mode")]  # since version 6 of sentence-transformers
    names += [kind for kind, key in KEYS.items() if config.get(key) is True]
    other = [
        key
        for key, value in config.items()
        if key.startswith("pooling_mode_") and value is True and key not in KEYS.values()
    ]
    kinds: list[Kind] = [kind for kind in KEYS if kind in names]
    if len(kinds) != 1 or other:
        raise InputError(
            f"{path}: neither the mean of all tokens nor [CLS] alone is its pooling; {ADVICE}"
        )
    return kinds[0]


def write_pooling(folder: Path, pooling: Pooling, width: int) -> None:
    """Write the files that `read_pooling` and sentence-transformers read."""
    types = ["Transformer", "Pooling"] + ["Normalize"] * pooling.normalise
    places = ["", "1_Pooling", "2_Normalize"]
    modules = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (kind, path) in enumerate(zip(types, places, strict=False))
    ]
    (folder / MODULES).write_text(json.dumps(modules, indent=2) + "\n")
    for place in places[1 : len(types)]:
        (folder / place).mkdir(exist_ok=True)
    config = {key: kind == pooling.kind for kind, key in KEYS.items()}
    config |= {"word_embedding_dimension": width}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(config, indent=2) + "\n")
