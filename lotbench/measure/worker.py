"""One process of a timing pass: ``python -m lotbench.measure.worker SPEC OUT LOCK``.

`lotbench.measure.launch` starts it in a fresh process.  SPEC holds a
`lotbench.measure.spec.PassSpec`, OUT a `lotbench.measure.spec.WorkerResult`.  Progress goes to
stderr, a line at a time.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from lotbench.engine.checkpoint import load
from lotbench.engine.encoder import ReducedEncoder
from lotbench.measure import launch, memory, protocol
from lotbench.measure.breakdown import time_shares
from lotbench.measure.contenders import (
    Contender,
    model_bytes,
    packed_contender,
    padded_contender,
    plan_groups,
)
from lotbench.measure.devices import CudaTimer, device_name, memory_bytes, prepare
from lotbench.measure.spec import (
    Candidate,
    Example,
    GroupTimes,
    Observation,
    PassSpec,
    WorkerResult,
)
from lotbench.reducer import Params, TokenReducer

log = logging.getLogger(__name__)

MEMORY_SHARE = 0.25
"""Share of the memory that the models of one group may fill."""


class Worker:
    """The dense model and the candidates of one pass, on one device."""

    def __init__(self, spec: PassSpec) -> None:
        self.spec = spec
        self.device, self.dtype = prepare(spec.setting)
        self.examples = sorted(spec.examples, key=lambda example: len(example.input_ids))
        self.dense = self._load(spec.dense)
        backbone = self.dense.backbone
        nothing = TokenReducer(Params(), len(backbone.layers), backbone.width)
        self.packed = ReducedEncoder(backbone, nothing).eval()
        self.broken: dict[str, str] = {}

    def run(self) -> WorkerResult:
        """Time every group of candidates at every batch size."""
        capacity = memory_bytes(self.device) * MEMORY_SHARE
        groups = plan_groups(self.spec.candidates, model_bytes, capacity)
        timed: dict[int, list[GroupTimes]] = {size: [] for size in self.spec.batch_sizes}
        for number, group in enumerate(groups, start=1):
            models: dict[str, ReducedEncoder] = {}
            for size in self.spec.batch_sizes:
                label = f"group {number} of {len(groups)}, batch {size}"
                log.info("%s: %d contenders", label, len(group))
                contenders = self._contenders(group, models, size, label)
                with torch.inference_mode():
                    timed[size].append(self._time(contenders, number, label))
        attention = self.dense.backbone.config._attn_implementation
        name = device_name(self.spec.setting.device)
        return WorkerResult(name, attention, timed, self.broken)

    def _load(self, folder: str) -> ReducedEncoder:
        return load(Path(folder), self.spec.plugins).to(self.device, self.dtype)

    def _contenders(
        self,
        group: Sequence[Candidate],
        models: dict[str, ReducedEncoder],
        size: int,
        label: str,
    ) -> dict[str, Contender]:
        """The baselines and those of the group that run; ``models`` keeps what is loaded."""
        contenders = {
            protocol.DENSE: padded_contender(self.dense, self.examples, size),
            protocol.AGAIN: padded_contender(self.dense, self.examples, size),
            protocol.PACKED: packed_contender(self.packed, self.examples, size, {}),
        }
        for candidate in group:
            name, folder = candidate.name, candidate.folder
            try:  # a model that raises must not end the pass of the others
                if folder not in models:
                    models[folder] = self._load(folder)
                own = _contender(models[folder], self.examples, size, candidate)
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
        calls = {name: contender.calls for name, contender in contenders.items()}
        timer = CudaTimer(self.device) if self.device.type == "cuda" else protocol.CallTimer()
        passes = protocol.warm_up(calls, timer)
        timer.calls.clear()
        if isinstance(timer, CudaTimer):
            timer.events.clear()
        start = time.perf_counter()
        seed = f"{spec.seed} {spec.process} {group}"
        samples = protocol.run_rounds(calls, spec.rounds, spec.min_seconds, seed, timer)
        seconds, rounds = time.perf_counter() - start, len(samples[protocol.DENSE])
        log.info("%s: %d warm-up passes, %d rounds in %.1f s", label, passes, rounds, seconds)
        events = timer.events if isinstance(timer, CudaTimer) else {}
        # After the timed rounds, because observing a call slows it.
        observations = self._observe(contenders) if spec.process == 0 else {}
        return GroupTimes(samples, timer.calls, events, observations)

    def _observe(self, contenders: dict[str, Contender]) -> dict[str, Observation]:
        dense = contenders[protocol.DENSE].flops()
        return {
            name: Observation(
                peak_bytes=memory.peak_bytes(own.calls, self.device),
                time_shares=time_shares(own.encoder, own.calls, own.padded),
                flops_speedup=dense / own.flops(),
            )
            for name, own in contenders.items()
            if name != protocol.AGAIN
        }


def _contender(
    model: ReducedEncoder, examples: Sequence[Example], size: int, candidate: Candidate
) -> Contender:
    if model.reducer.padded:
        return padded_contender(model, examples, size)
    return packed_contender(model, examples, size, candidate.budget)


if __name__ == "__main__":
    launch.work(PassSpec, lambda spec: Worker(spec).run())
