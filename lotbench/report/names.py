"""The names of methods in tables and figures, with variants of Leap-of-Thought told apart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

NAMES = {
    "lot-fixed": "LoT (fixed budget)",
    "power-bert": "PoWER-BERT",
    "ltp": "LTP",
    "tr-bert": "TR-BERT",
}


def named(table: pd.DataFrame) -> pd.DataFrame:
    """A frame whose ``method`` is the written name, such as ``LoT (ours)``.

    Its registered name is in ``registered``.  Everything that goes by ``method`` (fronts, ranks,
    legends, colours) then treats variants apart.
    """
    ratios = table[[name for name in map(str, table) if name.startswith("keep_ratio.")]]
    # A failed trial has no keep ratios; the other trials say how many layers there are.
    layers = ratios.notna().sum(axis=1).where(lambda count: count > 0, ratios.shape[1])
    params = {
        name: table.get(f"param.{name}", [None] * len(table))
        for name in ("preset", "decision_every", "routing")
    }
    names = [
        name(method, dict(zip(params, own, strict=True)), count)
        for method, count, *own in zip(table["method"], layers, *params.values(), strict=True)
    ]
    return table.assign(method=names, registered=table["method"])


def name(method: str, params: Mapping[str, Any], layers: int) -> str:
    """The written name of a method; plugins and controls keep their own.

    Parameters
    ----------
    method : str
        Its registered name.
    params : mapping
        ``preset``, ``decision_every`` and ``routing`` of ``lot``, missing in older rows.
    layers : int
        Number of layers of the model; 0 if it is not known.
    """
    if method != "lot":
        return NAMES.get(method, method)
    parts = ["paper" if params["preset"] == "paper" else "ours"]
    every = params["decision_every"]
    # A missing value is NaN, which is not at least anything.
    if layers and every is not None and every >= layers:
        parts.append("one decision")
    if params["routing"] == "drop":
        parts.append("drop")
    return f"LoT ({', '.join(parts)})"
