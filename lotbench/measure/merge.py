"""One timing record per batch size, from what one or more worker processes measured.

A process lays out its memory once, and some layouts are faster than others: that is the same in
all of its rounds, so its interval cannot show it.  Several processes do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lotbench.measure import protocol

ROUNDS_EACH = 4


def plan(rounds: int) -> list[int]:
    """The rounds of each process: one process for every four rounds."""
    count = max(1, rounds // ROUNDS_EACH)
    return [rounds // count + (number < rounds % count) for number in range(count)]


def records(
    parts: Sequence[list[dict[str, Any]]],
    contenders: Sequence[dict[str, Any]],
    asked: dict[str, Any],
) -> list[dict[str, Any]]:
    """Setting, noise floor and contenders of each batch size.

    Parameters
    ----------
    parts : sequence of list
        What each worker process measured (see `lotbench.measure.worker`), the first one first.
    contenders : sequence of dict
        As given to `lotbench.measure.launch.run_pass`, without those that are left out.
    asked : dict
        What all processes together were asked for: rounds, minimum seconds, seed.
    """
    return [_record(each, contenders, asked) for each in zip(*parts, strict=True)]


def _record(
    parts: Sequence[dict[str, Any]],
    contenders: Sequence[dict[str, Any]],
    asked: dict[str, Any],
) -> dict[str, Any]:
    """The record of one batch size."""
    setting = parts[0]["setting"]
    groups = list(zip(*(part["groups"] for part in parts), strict=True))
    known = {contender["name"]: contender for contender in contenders}
    wanted = {protocol.DENSE, protocol.AGAIN, protocol.PACKED, *known}
    samples = [
        [{k: v for k, v in process["samples"].items() if k in wanted} for process in group]
        for group in groups
    ]
    record = {
        "setting": setting | asked | {"processes": len(parts)},
        **protocol.summarise(samples, setting["examples"], asked["seed"]),
    }
    for row in record["contenders"]:
        name = row["name"]
        contender = known.get(name, {})
        row["trial_id"] = contender.get("trial_id")
        row["budget"] = contender.get("budget", {})
        own = [process for group in groups for process in group if name in process["samples"]]
        calls = protocol.pool([process["calls"] for process in own], [name])[name]
        row["call_seconds"] = protocol.percentiles(calls)
        row |= own[0]["watched"][name]
        if own[0]["events"]:
            row["event_samples"] = protocol.pool([each["events"] for each in own], [name])[name]
    return record
