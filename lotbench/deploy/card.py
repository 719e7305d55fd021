"""The card of an exported model: a record in ``config.json``, and Markdown for readers."""

from __future__ import annotations

import operator
from collections.abc import Callable
from numbers import Real
from pathlib import Path
from typing import Any, Literal

from pydantic import model_validator

from lotbench.backends import EXPORTED
from lotbench.engine.checkpoint import ModelCard
from lotbench.errors import near_misses

Bound = Literal["minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum"]
"""A keyword of JSON Schema."""
BOUNDS: dict[Bound, tuple[Callable[[Any, Any], bool], str]] = {
    "minimum": (operator.ge, "at least"),
    "exclusiveMinimum": (operator.gt, "more than"),
    "maximum": (operator.le, "at most"),
    "exclusiveMaximum": (operator.lt, "less than"),
}
"""Does a value keep to the bound, and how to say it."""


class ExportedCard(ModelCard):
    """The card of an exported model."""

    backend: str
    """The runtime and precision that the model was exported for."""
    budget_name: str | None
    """None if the method has no budget."""
    budget: Any
    """The budget of the export."""
    budget_input: bool
    """True if the budget is an input of the graph."""
    budget_bounds: dict[Bound, int | float]
    """What the budget may be."""

    @model_validator(mode="after")
    def _is_sound(self) -> ExportedCard:
        if self.backend not in EXPORTED:
            raise ValueError(f"backend: {near_misses(self.backend, list(EXPORTED))}")
        if self.budget_input:
            self.checked_budget(self.budget)
        return self

    def checked_budget(self, value: Any) -> float:
        """The budget as the graph takes it.

        Raises
        ------
        ValueError
            If it is not finite, not whole though the graph's is, or out of bounds.
        """
        whole = isinstance(self.budget, int)
        number: Any = value if isinstance(value, Real) and not isinstance(value, bool) else None
        if number is None or not abs(number) < 2**63 or (whole and number % 1):
            kind = "whole" if whole else "finite"
            raise ValueError(
                f"{self.budget_name}: a {kind} number is needed (given: {value!r:.60})"
            )
        for keyword, bound in self.budget_bounds.items():
            holds, words = BOUNDS[keyword]
            if not holds(number, bound):
                raise ValueError(
                    f"{self.budget_name}: {words} {bound} is needed (given: {value!r:.60})"
                )
        return int(number) if whole else float(number)


SNIPPET = """\
{imports}import numpy
import onnxruntime
from tokenizers import Tokenizer

tokenizer = Tokenizer.from_file("tokenizer.json")
tokenizer.enable_truncation({max_length})
tokenizer.enable_padding(pad_id={pad_id}, pad_token="{pad_token}")
given = ["the first text", "another one"]
texts = tokenizer.encode_batch(given)
feed = {{"input_ids": [t.ids for t in texts], "attention_mask": [t.attention_mask for t in texts]}}
feed["token_type_ids"] = {types}
{seeds}feed = {{name: numpy.array(rows) for name, rows in feed.items()}}
session = onnxruntime.InferenceSession("model.onnx", providers=["CPUExecutionProvider"])
print(session.run(["logits"], feed)[0])
"""
SEEDS = """\
digests = [hashlib.blake2b(text.encode(), digest_size=8).digest() for text in given]
feed["text_seed"] = [int.from_bytes(digest, "big") >> 1 for digest in digests]
"""


def markdown(
    card: ExportedCard,
    source: Path,
    tokenizer: Any,
    fixed: str | None,
    needs_seed: bool,
    measured: str,
) -> str:
    """The card for readers.

    Parameters
    ----------
    card : ExportedCard
    source : Path
        Folder of the trained model.
    tokenizer : transformers.PreTrainedTokenizerBase
    fixed : str or None
        Why the budget is not an input.
    needs_seed : bool
        True if the graph has the input ``text_seed``.
    measured : str
        Measured numbers as Markdown; may be empty.
    """
    runs = {
        "onnx-fp32": "in float32",
        "onnx-int8": "with int8 weights (dynamic quantisation by ONNX Runtime)",
        "openvino-fp32": "in float32; exported for OpenVINO",
        "openvino-bf16": "in float32; exported for OpenVINO, which computes in bf16 by a hint",
    }
    parts = [
        f"# {source.resolve().name}",
        f"An encoder for text {'classification' if card.n_labels > 1 else 'regression'} with the "
        f"method `{card.method}` (version {card.version}). `model.onnx` is one graph, "
        f"{runs[card.backend]}.",
        "Inputs: `input_ids`, `attention_mask`, `token_type_ids`, int64, of any batch and length "
        f"up to {card.max_length} tokens; each text has at least one token. Output: `logits` "
        f"(batch, {card.n_labels}).",
    ]
    if needs_seed:
        parts.append(
            "The method draws at random, so the graph has a fourth input: `text_seed` (batch), "
            "int64, a hash of each text."
        )
    if card.budget_input:
        parts.append(
            f"The optional input `budget` is a number (no dimension, "
            f"{'int64' if isinstance(card.budget, int) else 'float64'}): the method's "
            f"`{card.budget_name}`, {card.budget!r} by default. It moves speed against accuracy. "
            "ONNX Runtime warns that it is no constant; that is meant."
        )
    elif card.budget_name:
        parts.append(
            f"`{card.budget_name}` is fixed to {card.budget!r} and is no input of the graph: "
            f"{fixed}"
        )
    parts += ["## Use", f"```python\n{_snippet(card, tokenizer, needs_seed)}```"]
    parts.append('With LoTBench: `lotbench.load(folder)(["a text"])`.')
    parts += ["## Measured", measured or "Nothing: the model does not come from a store."]
    return "\n\n".join(parts) + "\n"


def _snippet(card: ExportedCard, tokenizer: Any, needs_seed: bool) -> str:
    typed = "token_type_ids" in tokenizer.model_input_names
    return SNIPPET.format(
        max_length=card.max_length,
        pad_id=tokenizer.pad_token_id or 0,
        pad_token=tokenizer.pad_token or "[PAD]",
        imports="import hashlib\n\n" if needs_seed else "",
        seeds=SEEDS if needs_seed else "",
        types="[t.type_ids for t in texts]" if typed else "[[0] * len(t) for t in texts]",
    )
