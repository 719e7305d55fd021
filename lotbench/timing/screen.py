"""Screening: a short pass finds the contenders that may be the fastest of their model.

The rounds of the protocol are for these alone, in fresh processes.  A screening's times decide what
is timed, and nothing else: none is stored.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from lotbench.backends import BY_NAME
from lotbench.measure import launch, protocol
from lotbench.measure.spec import PassSpec, WorkerResult, key, sums
from lotbench.measure.worker import SCREENED_ROUNDS
from lotbench.store.passes import Pair
from lotbench.timing.prepare import Preparation

log = logging.getLogger(__name__)

MAY_BE_FASTEST = 0.2
"""A contender that is at most so much slower than the fastest of its model may be the fastest.

Tried on the first two rounds of 12 stored passes: it keeps 29% of all pairs, and of 97 of 99 models
the backend that is fastest in all rounds.
"""
COMPILED = 1.2
"""Compiled dense is less than so many times as fast as torch's on a CPU; 1.14 in those passes."""
Seconds = Mapping[str, Sequence[float]]
"""By contender, the seconds of a pass at each batch size."""


def narrowed(spec: PassSpec, prepared: Preparation) -> PassSpec:
    """The pass with only those contenders that may be fastest, and their scores.

    A model may be fastest in a backend where it holds its score and is close to its fastest at any
    batch size.  The same is true of dense, which is also timed in every backend that is left.
    """
    every = {each.key: each for each in (*spec.dense, *spec.entries)}
    seconds = _screened(spec) if len(spec.backends) > 1 else {}

    def able(backend: str) -> bool:
        return prepared.scored(every[key(protocol.DENSE_NAME, backend)]) is not None

    def held(name: str) -> bool:
        own = prepared.scored(every[name])
        return own is not None and own.held and able(own.backend)

    models = defaultdict(list)
    for each in every.values():
        models[each.trial_id, each.budget].append(each.key)
    # Scoring would disturb the pass of another process, and be disturbed.
    with launch.exclusive(launch.LOCK):
        kept = set[str]().union(*(promising(own, seconds, held) for own in models.values()))
        used = {own.backend for name in kept if (own := prepared.scored(every[name]))}
        for backend in used:
            own = [each.key for each in spec.dense if each.backend == backend]
            kept |= promising(own, seconds, held) | {key(protocol.DENSE_NAME, backend)}
        scored = {
            name: own
            for name, each in every.items()
            if name in kept and (own := prepared.scored(each)) and able(each.backend)
        }
    return replace(
        spec,
        dense=[scored[each.key] for each in spec.dense if each.key in scored],
        entries=[scored[each.key] for each in spec.entries if each.key in scored],
        backends=[each for each in spec.backends if each not in used or able(each)],
        unable=prepared.unable,
        slower=[
            Pair(trial_id=each.trial_id or each.name, budget=each.budget, backend=each.backend)
            for name, each in every.items()
            if name not in kept
        ],
    )


def promising(names: Sequence[str], seconds: Seconds, held: Callable[[str], bool]) -> set[str]:
    """Those contenders of a model that may be its fastest at any batch size.

    Those without seconds are kept: they raised, and their scoring says why.  ``held`` says whether
    a contender holds its score, and is asked from the fastest on until one does.
    """
    known = [name for name in names if name in seconds]
    kept = {*names} - {*known}
    for own in zip(*(seconds[name] for name in known), strict=True):
        order = sorted(zip(own, known, strict=True))
        fastest = next((one for one, name in order if held(name)), order[0][0])
        kept |= {name for one, name in order if one <= (1 + MAY_BE_FASTEST) * fastest}
    return kept


def _screened(spec: PassSpec) -> dict[str, list[float]]:
    """The seconds of the contenders in a short pass over the run of texts in the middle."""
    label = f"timing {spec.task} on {spec.setting}"
    every = [*spec.dense, *spec.entries]
    log.info("%s: screening %d contenders in %d backends", label, len(every), len(spec.backends))
    run = spec.picked.run
    start = len(spec.examples) // run // 2 * run
    short = replace(
        spec,
        dense=[],
        entries=[each for each in every if not BY_NAME[each.backend].compiled],
        examples=spec.examples[start : start + run] or spec.examples,
        rounds=SCREENED_ROUNDS,
        min_seconds=0.0,
    )
    result = launch.run_worker(
        "lotbench.measure.worker", short, WorkerResult, f"{label}: screening"
    )
    found: dict[str, list[float]] = defaultdict(list)
    for groups in result.groups.values():
        for group in groups:
            for name, samples in sums(group.call).items():
                found[name].append(min(samples))
    found = {name: own for name, own in found.items() if len(own) == len(spec.batch_sizes)}
    for each in spec.dense:
        # It takes half a minute to compile, so it is left only where it might be faster than all.
        twin = key(each.name, f"torch-{BY_NAME[each.backend].precision}")
        if BY_NAME[each.backend].compiled and twin in found and spec.setting.device == "cpu":
            found[each.key] = [(1 + MAY_BE_FASTEST) / COMPILED * own for own in found[twin]]
    return found
