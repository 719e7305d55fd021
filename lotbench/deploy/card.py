"""The model card of an exported model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lotbench.deploy.about import About

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


def text(
    about: About,
    source: Path,
    tokenizer: Any,
    fixed: str | None,
    needs_seed: bool,
    measured: str,
) -> str:
    """The card as Markdown.

    Parameters
    ----------
    about : About
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
        f"An encoder for text {'classification' if about.n_labels > 1 else 'regression'} with the "
        f"method `{about.method}` (version {about.version}). `model.onnx` is one graph, "
        f"{runs[about.backend]}.",
        "Inputs: `input_ids`, `attention_mask`, `token_type_ids`, int64, of any batch and length "
        f"up to {about.max_length} tokens; each text has at least one token. Output: `logits` "
        f"(batch, {about.n_labels}).",
    ]
    if needs_seed:
        parts.append(
            "The method draws at random, so the graph has a fourth input: `text_seed` (batch), "
            "int64, a hash of each text."
        )
    if about.budget_input:
        parts.append(
            f"The optional input `budget` is a number (no dimension, "
            f"{'int64' if isinstance(about.budget, int) else 'float64'}): the method's "
            f"`{about.budget_name}`, {about.budget!r} by default. It moves speed against accuracy. "
            "ONNX Runtime warns that it is no constant; that is meant."
        )
    elif about.budget_name:
        parts.append(
            f"`{about.budget_name}` is fixed to {about.budget!r} and is no input of the graph: "
            f"{fixed}"
        )
    parts += ["## Use", f"```python\n{_snippet(about, tokenizer, needs_seed)}```"]
    parts.append('With LoTBench: `lotbench.load(folder)(["a text"])`.')
    parts += ["## Measured", measured or "Nothing: the model does not come from a store."]
    return "\n\n".join(parts) + "\n"


def _snippet(about: About, tokenizer: Any, needs_seed: bool) -> str:
    typed = "token_type_ids" in tokenizer.model_input_names
    return SNIPPET.format(
        max_length=about.max_length,
        pad_id=tokenizer.pad_token_id or 0,
        pad_token=tokenizer.pad_token or "[PAD]",
        imports="import hashlib\n\n" if needs_seed else "",
        seeds=SEEDS if needs_seed else "",
        types="[t.type_ids for t in texts]" if typed else "[[0] * len(t) for t in texts]",
    )
