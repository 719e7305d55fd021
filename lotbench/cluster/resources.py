"""CPUs and GPUs of a trial on a Ray cluster; refuses one whose nodes are too small."""

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
    need, small = {"CPU": cpus, "GPU": part}, {}
    for name, node in have.items():
        short = {kind: n for kind, n in need.items() if node.get(kind, 0) < n}
        lack = " and ".join(f"{node.get(kind, 0):g} of {n:g} {kind}" for kind, n in short.items())
        small |= {name: f"{name} has {lack}"} if lack else {}
    if len(small) == len(have):
        raise InputError(
            "no node of this Ray cluster is large enough for a trial: "
            f"{'; '.join(small.values())}; add one that is, or start it with more "
            "(ray start --num-cpus, --num-gpus)"
        )
    if named := [line for name, line in small.items() if have[name].get("CPU")]:
        log.warning("too small for a trial, so not used: %s", "; ".join(named))
    return cpus, part
