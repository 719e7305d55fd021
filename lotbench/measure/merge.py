"""Merge the times of several worker processes into one record per batch size.

A process lays out its memory once, and some layouts are faster than others.  All rounds of
a process share one layout, so only an interval over several processes includes this variation.
"""

from __future__ import annotations

from collections.abc import Sequence

from lotbench.measure import protocol
from lotbench.measure.spec import Candidate, GroupTimes, PassSpec, WorkerResult
from lotbench.store.records import Contender, Setting

ROUNDS_EACH = 4


def rounds_of_processes(rounds: int) -> list[int]:
    """Number of rounds for each process; there is one process for every four rounds."""
    count = max(1, rounds // ROUNDS_EACH)
    return [rounds // count + (number < rounds % count) for number in range(count)]


def merge(
    spec: PassSpec, results: Sequence[WorkerResult], batch_size: int
) -> tuple[Setting, protocol.Summary]:
    """Setting, noise floor and contenders of one batch size.

    Parameters
    ----------
    spec : PassSpec
        The specification of the whole pass.
    results : sequence of WorkerResult
        One per process, in order.
    batch_size : int
    """
    broken = {name for result in results for name in result.broken}
    known = {each.name: each for each in spec.candidates if each.name not in broken}
    groups = list(zip(*(result.groups[batch_size] for result in results), strict=True))
    wanted = {*protocol.BASELINES, *known}
    samples = [
        [{k: v for k, v in process.samples.items() if k in wanted} for process in group]
        for group in groups
    ]
    setting = Setting(
        device=spec.setting.device,
        device_name=results[0].device_name,
        threads=spec.setting.threads,
        dtype=spec.setting.dtype,
        batch_size=batch_size,
        examples=len(spec.examples),
        attention=results[0].attention,
        rounds=spec.rounds,
        min_seconds=spec.min_seconds,
        seed=spec.seed,
        processes=len(results),
        **({} if spec.picked is None else {"picked": spec.picked}),
    )
    summary = protocol.summarise(samples, len(spec.examples), spec.seed)
    rows = [_completed(row, known.get(row.name), groups) for row in summary.contenders]
    return setting, protocol.Summary(
        summary.fastest_dense, summary.noise_floor, summary.groups, rows
    )


def _completed(
    row: Contender, candidate: Candidate | None, groups: Sequence[Sequence[GroupTimes]]
) -> Contender:
    """The row with its trial, budget, call seconds and observations added."""
    name = row.name
    own = [process for group in groups for process in group if name in process.samples]
    calls = protocol.pool([process.calls for process in own], [name])[name]
    found = {
        "trial_id": candidate and candidate.trial_id,
        "budget": candidate.budget if candidate else {},
        "call_seconds": protocol.percentiles(calls),
        **vars(own[0].observations[name]),
    }
    if own[0].events:
        found["event_samples"] = protocol.pool([each.events for each in own], [name])[name]
    return row.model_copy(update=found)
