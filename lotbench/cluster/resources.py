"""What one trial gets of a Ray cluster, and which of its nodes are too small for a trial."""

from __future__ import annotations

import logging
from typing import Any

from lotbench.errors import InputError

log = logging.getLogger(__name__)


def share(nodes: list[dict[str, Any]], threads: int) -> tuple[int, float]:
    """CPUs and GPU share of one trial or teacher; with these, all cores are in use.

    A trial gets a CPU for each of its threads, if one of the nodes (as `ray.nodes` lists them) has
    so many.  Nodes that are too small for a trial are named in a warning, but for those without
    cores.  If all are, the cluster is refused: Ray would wait for another node for ever.
    """
    have = {
        f"{node['NodeManagerAddress']} ({node['NodeID'][:8]})": node["Resources"]
        for node in nodes
        if node["Alive"]
    }
    largest = int(max(node.get("CPU", 0) for node in have.values()))
    cpus = max(1, min(threads, largest))
    total, gpus = (sum(node.get(kind, 0) for node in have.values()) for kind in ("CPU", "GPU"))
    part = max(1 / 8, min(1.0, gpus * cpus / max(total, 1))) if gpus else 0
    lacks = {name: _lacks(node, {"CPU": cpus, "GPU": part}) for name, node in have.items()}
    small = {name: f"{name} has {lack}" for name, lack in lacks.items() if lack}
    if len(small) == len(have):
        raise InputError(
            "no node of this Ray cluster is large enough for a trial: "
            f"{'; '.join(small.values())}; add one that is, or start it with more "
            "(ray start --num-cpus, --num-gpus)"
        )
    if named := [line for name, line in small.items() if have[name].get("CPU")]:
        log.warning("too small for a trial, so not used: %s", "; ".join(named))
    return cpus, part


def _lacks(have: dict[str, float], need: dict[str, float]) -> str:
    """What a node has too little of, such as ``1 of 4 CPU``; empty if nothing."""
    short = {kind: n for kind, n in need.items() if have.get(kind, 0) < n}
    return " and ".join(f"{have.get(kind, 0):g} of {n:g} {kind}" for kind, n in short.items())
