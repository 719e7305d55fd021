"""The names of methods in tables and figures, with variants told apart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

NAMES = {
    "lot-fixed": "LoT (fixed budget)",
    "power-bert": "PoWER-BERT",
    "ltp": "LTP",
    "tr-bert": "TR-BERT",
    "transkimmer": "Transkimmer",
    "adapler": "AdapLeR",
    "length-drop": "LengthDrop",
    "tome": "ToMe",
}


def name(method: str, params: Mapping[str, Any], layers: int) -> str:
    """The written name of a registered method; plugins and controls keep their own.

    ``params`` are those of a row, which may lack newer ones; they count for ``lot`` and ``tome``.
    ``layers`` is the number of layers of the model, 0 if it is not known.
    """
    if method == "lot-fixed" and params.get("router") == "table":
        return "LoT (fixed budget, table)"
    if method == "tome" and params.get("score") == "energy":
        return "PiToMe"
    if method != "lot":
        return NAMES.get(method, method)
    parts = ["paper" if params.get("preset") == "paper" else "ours"]
    if params.get("router") == "table":
        parts.append("table")  # which always decides once
    elif 0 < layers <= (params.get("decision_every") or 0):
        parts.append("one decision")
    if params.get("routing") == "drop":
        parts.append("drop")
    return f"LoT ({', '.join(parts)})"
