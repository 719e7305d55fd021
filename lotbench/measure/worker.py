"""One process of a timing pass: ``python -m lotbench.measure.worker SPEC OUT LOCK``.

`lotbench.measure.launch` starts it in a fresh process.  SPEC holds a
`lotbench.measure.spec.PassSpec`, OUT a `lotbench.measure.spec.WorkerResult`.  Progress goes to
stderr, a line at a time.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

import torch

from lotbench.engine.encoder import ReducedEncoder
from lotbench.measure import launch, memory, protocol
from lotbench.measure.breakdown import time_shares
from lotbench.measure.contenders import Contender, contender, plan_groups
from lotbench.measure.devices import CudaTimer, device_name, memory_bytes, prepare
from lotbench.measure.flops import dense_flops
from lotbench.measure.models import Model, load_model, model_bytes, packed_dense
from lotbench.measure.spec import (
    Candidate,
    GroupTimes,
    Observation,
    PassSpec,
    WorkerResult,
    key,
)

log = logging.getLogger(__name__)

MEMORY_SHARE = 0.25
"""Share of the memory that the models of one group may fill."""


class Worker:
    """The dense model and the candidates of one pass, on one device."""

    def __init__(self, spec: PassSpec) -> None:
        self.spec = spec
        self.device = prepare(spec.setting)
        self.examples = sorted(spec.examples, key=lambda example: len(example.input_ids))
        self.dense: dict[str, Model] = {}
        for each in spec.dense:
            padded = self.dense.get(key(protocol.DENSE, each.backend))
            if each.name == protocol.PACKED and isinstance(padded, ReducedEncoder):
                self.dense[each.key] = packed_dense(padded)  # so that both share their weights
            else:
                self.dense[each.key] = self._load(each)
        encoders = [each for each in self.dense.values() if isinstance(each, ReducedEncoder)]
        self.backbone = encoders[0].backbone if encoders else None
        self.broken: dict[str, str] = {}

    def run(self) -> WorkerResult:
        """Time every group of candidates at every batch size."""
        capacity = memory_bytes(self.device) * MEMORY_SHARE
        groups = plan_groups(self.spec.candidates, model_bytes, capacity)
        timed: dict[int, list[GroupTimes]] = {size: [] for size in self.spec.batch_sizes}
        for number, group in enumerate(groups, start=1):
            models: dict[tuple[str, ...], Model] = {}
            for size in self.spec.batch_sizes:
                label = f"group {number} of {len(groups)}, batch {size}"
                log.info("%s: %d contenders", label, len(group))
                contenders = self._contenders(group, models, size, label)
                with torch.inference_mode():
                    timed[size].append(self._time(contenders, number, label))
        attention = self.backbone and self.backbone.config._attn_implementation
        name = device_name(self.spec.setting.device)
        return WorkerResult(name, attention, timed, self.broken)

    def _load(self, candidate: Candidate) -> Model:
        return load_model(candidate, self.device, self.spec.setting.threads, self.spec.plugins)

    def _contenders(
        self,
        group: Sequence[Candidate],
        models: dict[tuple[str, ...], Model],
        size: int,
        label: str,
    ) -> dict[str, Contender]:
        """The dense models and those of the group that run; ``models`` keeps what is loaded."""
        contenders = {
            each.key: contender(self.dense[each.key], each, self.examples, size)
            for each in self.spec.dense
        }
        first = self.spec.dense[0]
        again = contender(self.dense[first.key], first, self.examples, size)
        contenders[key(protocol.AGAIN, first.backend)] = Contender(again.calls)
        for candidate in group:
            name = candidate.key
            try:  # a model that raises must not end the pass of the others
                if candidate.model not in models:
                    models[candidate.model] = self._load(candidate)
                own = contender(models[candidate.model], candidate, self.examples, size)
                with torch.inference_mode():
                    for call in own.calls:
                        call()
            except Exception as error:
                self.broken[name] = f"{type(error).__name__}: {error}".splitlines()[0]
                log.warning("%s: not timed: %s: %s", label, name, self.broken[name])
            else:
                contenders[name] = own
        return contenders

    def _time(self, contenders: dict[str, Contender], group: int, label: str) -> GroupTimes:
        """The times of one group at one batch size."""
        spec = self.spec
        calls = {name: own.calls for name, own in contenders.items()}
        timer = CudaTimer(self.device) if self.device.type == "cuda" else protocol.CallTimer()
        passes = protocol.warm_up(calls, timer)
        timer.calls.clear()
        if isinstance(timer, CudaTimer):
            timer.events.clear()
        start = time.perf_counter()
        seed = f"{spec.seed} {spec.process} {group}"
        dense = [each.key for each in spec.dense]
        samples = protocol.run_rounds(calls, spec.rounds, spec.min_seconds, seed, timer, dense)
        seconds, rounds = time.perf_counter() - start, len(samples[dense[0]])
        log.info("%s: %d warm-up passes, %d rounds in %.1f s", label, passes, rounds, seconds)
        events = timer.events if isinstance(timer, CudaTimer) else {}
        # After the timed rounds, because observing a call slows it.
        observations = self._observe(contenders) if spec.process == 0 else {}
        return GroupTimes(samples, timer.calls, events, observations)

    def _observe(self, contenders: dict[str, Contender]) -> dict[str, Observation]:
        """What torch models cost beside their time; the others cannot be observed."""
        if self.backbone is None:
            return {}
        lengths = torch.tensor([len(example.input_ids) for example in self.examples])
        dense = float(dense_flops(lengths, self.backbone).sum())
        return {
            name: Observation(
                peak_bytes=memory.peak_bytes(own.calls, self.device),
                time_shares=time_shares(watched.encoder, own.calls, watched.padded),
                flops_speedup=dense / watched.flops(),
            )
            for name, own in contenders.items()
            if (watched := own.watched) is not None
        }


if __name__ == "__main__":
    launch.work(PassSpec, lambda spec: Worker(spec).run())
