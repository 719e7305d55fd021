"""One process of a timing pass: ``python -m lotbench.measure.worker SPEC OUT LOCK``.

`lotbench.measure.launch` starts it in a fresh process.  SPEC holds a
`lotbench.measure.spec.PassSpec`, OUT a `lotbench.measure.spec.WorkerResult`.  Progress goes to
stderr, a line at a time.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from lotbench.backends import TORCH
from lotbench.engine.loading import load_tokenizer
from lotbench.errors import InputError
from lotbench.measure import launch, memory, protocol
from lotbench.measure.breakdown import time_shares
from lotbench.measure.calls import (
    Calls,
    Loaded,
    Packed,
    Padded,
    as_given,
    chunks,
    load_engine,
    load_entry,
    packed_dense,
    tokenising,
)
from lotbench.measure.devices import memory_bytes, occupy, timer_for
from lotbench.measure.flops import dense_flops
from lotbench.measure.spec import (
    Entry,
    Example,
    GroupTimes,
    PassSpec,
    WorkerResult,
    key,
)

log = logging.getLogger(__name__)

MEMORY_SHARE = 0.25
"""Share of the memory that the models of one group may fill."""
GROUP_SIZE = 24
"""Most entries in a group: with more, the samples of one round are too far apart in time."""
SCREENED_CALLS, SCREENED_ROUNDS = 8, 2
"""Most calls of a batch size in a screening, and its rounds."""


class Worker:
    """The dense models and the entries of one pass, on one device."""

    def __init__(self, spec: PassSpec) -> None:
        self.spec = spec
        self.device = occupy(spec.setting)
        self.examples = sorted(spec.examples, key=lambda example: len(example.input_ids))
        self.read = tokenising(load_tokenizer(spec.tokenizer), spec.max_length)
        if self.read(self.examples) != as_given(self.examples):
            raise InputError(f"{spec.tokenizer}: its tokens are not those that were scored")
        self.dense: dict[str, Loaded] = {}
        for each in spec.dense:
            padded = self.dense.get(key(protocol.DENSE_NAME, each.backend))
            if each.name == protocol.PACKED and isinstance(padded, Padded):
                # So that both share their weights.
                self.dense[each.key] = Packed(packed_dense(padded.encoder.backbone))
            else:
                self.dense[each.key] = self._load(each)
        padded = [each for each in self.dense.values() if isinstance(each, Padded)]
        self.backbone = padded[0].encoder.backbone if padded else None
        self.broken: dict[str, str] = {}

    def run(self) -> WorkerResult:
        """Time every group of entries at every batch size."""
        capacity = memory_bytes(self.device) * MEMORY_SHARE
        groups = plan_groups(self.spec.entries, capacity)
        timed: dict[int, list[GroupTimes]] = {size: [] for size in self.spec.batch_sizes}
        for number, group in enumerate(groups, start=1):
            models: dict[tuple[str, ...], Loaded] = {}
            for size in self.spec.batch_sizes:
                label = f"group {number} of {len(groups)}, batch {size}"
                log.info("%s: %d contenders", label, len(group))
                contenders = self._contenders(group, models, size)
                with torch.inference_mode():
                    timed[size].append(self._time(contenders, number, label))
        attention = self.backbone and self.backbone.config._attn_implementation
        return WorkerResult(attention, timed, self.broken)

    def _load(self, entry: Entry) -> Loaded:
        return load_entry(entry, self.device, self.spec.setting.threads, self.spec.plugins)

    def _contenders(
        self, group: Sequence[Entry], models: dict[tuple[str, ...], Loaded], size: int
    ) -> dict[str, Calls]:
        """The dense models and those of the group; ``models`` keeps what is loaded."""
        batches = self._batches(size)
        contenders = {
            name: model.calls(batches, read=self.read) for name, model in self.dense.items()
        }
        if self.dense:
            first = self.spec.dense[0]
            contenders[key(protocol.AGAIN, first.backend)] = Calls(contenders[first.key].calls)
        for entry in (each for each in group if each.key not in self.broken):
            with self._kept_going(entry.key):
                if entry.model not in models:
                    models[entry.model] = self._load(entry)
                own = models[entry.model].calls(batches, entry.budget, self.read)
                flops = own.flops or partial(self._flops_in_torch, entry, batches)
                contenders[entry.key] = replace(own, flops=flops)
        return contenders

    def _flops_in_torch(self, entry: Entry, batches: Sequence[Sequence[Example]]) -> float:
        """FLOPs of an exported model, loaded anew so that it takes no memory from the rounds."""
        model = self._load(replace(entry, backend=TORCH, graph=None))
        flops = model.calls(batches, entry.budget).flops
        assert flops is not None, "an engine counts"
        return flops()

    def _batches(self, size: int) -> list[Sequence[Example]]:
        """The batches of a size; of a screening a few."""
        found = chunks(self.examples, size)
        return found[:: math.ceil(len(found) / SCREENED_CALLS)] if self.spec.screening else found

    @contextmanager
    def _kept_going(self, name: str) -> Iterator[None]:
        """Notes a contender that raises, so that it does not end the pass of the others."""
        try:
            yield
        except Exception as error:
            self.broken[name] = f"{type(error).__name__}: {error}".splitlines()[0]
            log.warning("not timed: %s: %s", name, self.broken[name])

    def _time(self, contenders: dict[str, Calls], group: int, label: str) -> GroupTimes:
        """The times of one group at one batch size."""
        spec, timer, first = self.spec, timer_for(self.device), dict[str, float]()
        for name, own in contenders.items():
            with nullcontext() if name in self.dense else self._kept_going(name):
                first[name] = timer(name, own.calls)
        calls = {name: contenders[name].calls for name in first}
        passes = 1 if spec.screening else protocol.warm_up(calls, timer, first)
        start, timer = time.perf_counter(), timer_for(self.device)
        seed = f"{spec.seed} {spec.process} {group}"
        dense = [each.key for each in spec.dense]
        shares = protocol.rounds_of_processes(spec.rounds)
        process_rounds, min_seconds = shares[spec.process], spec.min_seconds / len(shares)
        protocol.run_rounds(calls, process_rounds, min_seconds, seed, timer, dense)
        seconds = time.perf_counter() - start
        rounds = max(map(len, timer.call.values()), default=0)  # all may have raised
        log.info("%s: %d warm-up passes, %d rounds in %.1f s", label, passes, rounds, seconds)
        # After the timed rounds, because observing a call slows it.
        timed = {name: contenders[name] for name in calls}
        observations = self._observe(timed) if spec.process == 0 else {}
        return GroupTimes(timer.encoder, timer.call, timer.events, observations)

    def _observe(self, contenders: dict[str, Calls]) -> dict[str, dict[str, Any]]:
        """FLOPs, and memory and shares of time of the torch models; others cannot be observed."""
        if self.spec.screening:
            return {}
        lengths = torch.tensor([len(example.input_ids) for example in self.examples])
        backbone = self.backbone or load_engine(self.spec.dense[0]).backbone
        dense = float(dense_flops(lengths, backbone).sum())
        found = {}
        for name, own in contenders.items():
            if own.flops is not None:
                found[name] = {"flops_speedup": dense / own.flops()}
            if own.encoder is not None:
                # Without their first step, which is done.
                steps = [partial(call.run, call.prepare()) for call in own.calls]
                found[name] |= {
                    "peak_bytes": memory.peak_bytes(steps, self.device),
                    "time_shares": time_shares(own.encoder, steps, own.encoder.reducer.padded),
                }
        return found


def plan_groups(entries: Sequence[Entry], capacity: float) -> list[list[Entry]]:
    """Entries in groups of at most `GROUP_SIZE` whose models fit into ``capacity`` bytes.

    All budgets of a model in one backend are in one group, even if they exceed its size, so that
    each is loaded once.  Without entries there is one empty group, which times dense.
    """
    by_model: dict[tuple[str, ...], list[Entry]] = {}
    for entry in entries:
        by_model.setdefault(entry.model, []).append(entry)
    groups: list[list[Entry]] = [[]]
    used = 0.0
    for members in by_model.values():
        size = model_bytes(members[0])
        full = len(groups[-1]) + len(members) > GROUP_SIZE or used + size > capacity
        if groups[-1] and full:
            groups.append([])
            used = 0.0
        groups[-1].extend(members)
        used += size
    return groups


def model_bytes(entry: Entry) -> int:
    """Size of an entry's saved weights, in bytes."""
    if entry.graph is not None:
        return Path(entry.graph).stat().st_size
    return sum(path.stat().st_size for path in Path(entry.folder).glob("*.safetensors"))


if __name__ == "__main__":
    launch.work(PassSpec, lambda spec: Worker(spec).run())
