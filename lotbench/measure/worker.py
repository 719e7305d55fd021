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
    Batches,
    Loaded,
    Model,
    as_given,
    chunks,
    load_engine,
    load_entry,
    packed,
    packed_dense,
    tokenising,
)
from lotbench.measure.devices import memory_bytes, occupy, timer_for
from lotbench.measure.flops import dense_flops
from lotbench.measure.protocol import Call
from lotbench.measure.spec import Entry, Example, GroupTimes, PassSpec, WorkerResult, key

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
        self.examples = spec.examples
        self.read = tokenising(load_tokenizer(spec.tokenizer), spec.max_length)
        if self.read(self.examples) != as_given(self.examples):
            raise InputError(f"{spec.tokenizer}: its tokens are not those that were scored")
        self.dense: dict[str, Model] = {}
        for entry in spec.dense:
            twin = self.dense.get(key(protocol.DENSE_NAME, entry.backend))
            if entry.name == protocol.PACKED and twin and twin.encoder:
                # So that both share their weights.
                self.dense[entry.key] = packed(packed_dense(twin.encoder.backbone))
            else:
                self.dense[entry.key] = self._load(entry)(entry.budget)
        engines = [model.encoder for model in self.dense.values() if model.padded]
        self.backbone = engines[0].backbone if engines and engines[0] else None
        self.entries = {entry.key: entry for entry in spec.entries}
        self.broken: dict[str, str] = {}

    def run(self) -> WorkerResult:
        """Time every group of entries at every batch size."""
        capacity = memory_bytes(self.device) * MEMORY_SHARE
        groups = plan_groups(self.spec.entries, capacity)
        timed: dict[int, list[GroupTimes]] = {size: [] for size in self.spec.batch_sizes}
        for number, group in enumerate(groups, start=1):
            loaded: dict[tuple[str, ...], Loaded] = {}
            models = dict(self.dense)
            for entry in group:
                with self._kept_going(entry.key):
                    if entry.model not in loaded:
                        loaded[entry.model] = self._load(entry)
                    models[entry.key] = loaded[entry.model](entry.budget)
            for size in self.spec.batch_sizes:
                label = f"group {number} of {len(groups)}, batch {size}"
                with torch.inference_mode():
                    timed[size].append(self._time(models, size, number, label))
        attention = self.backbone and self.backbone.config._attn_implementation
        return WorkerResult(attention, timed, self.broken)

    def _load(self, entry: Entry) -> Loaded:
        return load_entry(entry, self.device, self.spec.setting.threads, self.spec.plugins)

    def _batches(self, size: int) -> list[Sequence[Example]]:
        """The batches of a size; of a screening a few."""
        batches = chunks(self.examples, size)
        step = math.ceil(len(batches) / SCREENED_CALLS) if self.spec.screening else 1
        return batches[::step]

    @contextmanager
    def _kept_going(self, name: str) -> Iterator[None]:
        """Notes a contender that raises, so that it does not end the pass of the others."""
        try:
            yield
        except Exception as error:
            self.broken[name] = f"{type(error).__name__}: {error}".splitlines()[0]
            log.warning("not timed: %s: %s", name, self.broken[name])

    def _time(self, models: dict[str, Model], size: int, group: int, label: str) -> GroupTimes:
        """The times of one group at one batch size."""
        spec, timer, first = self.spec, timer_for(self.device), dict[str, float]()
        batches = self._batches(size)
        sound = {name: model for name, model in models.items() if name not in self.broken}
        every = {name: model.calls(batches, self.read) for name, model in sound.items()}
        if spec.dense:
            every[key(protocol.AGAIN, spec.dense[0].backend)] = every[spec.dense[0].key]
        for name in every:
            with self._kept_going(name) if name in self.entries else nullcontext():
                first[name] = timer(name, every[name])
        calls = {name: every[name] for name in first}
        passes = 1 if spec.screening else protocol.warm_up(calls, timer, first)
        start, timer = time.perf_counter(), timer_for(self.device)
        seed = f"{spec.seed} {spec.process} {group}"
        dense = [entry.key for entry in spec.dense]
        shares = protocol.rounds_of_processes(spec.rounds)
        process_rounds, min_seconds = shares[spec.process], spec.min_seconds / len(shares)
        protocol.run_rounds(calls, process_rounds, min_seconds, seed, timer, dense)
        seconds = time.perf_counter() - start
        rounds = max(map(len, timer.call.values()), default=0)  # all may have raised
        log.info("%s: %d warm-up passes, %d rounds in %.1f s", label, passes, rounds, seconds)
        # After the timed rounds, because observing a call slows it.
        observed = {name: model for name, model in sound.items() if name in first}
        if spec.process > 0 or spec.screening:
            observed = {}
        observations = self._observe(observed, calls, batches) if observed else {}
        return GroupTimes(timer.encoder, timer.call, timer.events, observations)

    def _observe(
        self, models: dict[str, Model], calls: dict[str, list[Call]], batches: Batches
    ) -> dict[str, dict[str, Any]]:
        """FLOPs, and memory and shares of time of the torch models; others cannot be observed."""
        lengths = torch.tensor([len(example.input_ids) for example in self.examples])
        backbone = self.backbone or load_engine(self.spec.dense[0]).backbone
        dense = float(dense_flops(lengths, backbone).sum())
        observations: dict[str, dict[str, Any]] = {}
        for name, model in models.items():
            entry = self.entries.get(name)
            if model.encoder and model.observable:
                # Without their first step, which is done.
                steps = [partial(call.run, call.prepare()) for call in calls[name]]
                observations[name] = {
                    "flops_speedup": dense / model.flops(batches),
                    "peak_bytes": memory.peak_bytes(steps, self.device),
                    "time_shares": time_shares(model.encoder, steps, model.padded),
                }
            elif entry is not None:
                # Loaded anew, so that it takes no memory from the rounds.
                in_torch = self._load(replace(entry, backend=TORCH, graph=None))
                speedup = dense / in_torch(entry.budget).flops(batches)
                observations[name] = {"flops_speedup": speedup}
        return observations


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
