"""How long a timing pass takes, roughly, before it starts.

The number of models, backends, texts and rounds is known, and the speed of this processor is
measured.  The constants are of six layers, 384 wide, on one thread of AMD EPYC cores.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from statistics import fmean

import torch

from lotbench import machine
from lotbench.backends import BY_NAME
from lotbench.config.sections import MeasureConfig
from lotbench.measure.protocol import rounds_of_processes, turns
from lotbench.measure.spec import DeviceSetting
from lotbench.measure.worker import SCREENED_CALLS, SCREENED_ROUNDS

EXPORT, LOAD, START = 12.0, 0.7, 12.0
"""Seconds to export a model, to load one in a process, and to start a process."""
WARM_UP = 3
"""Passes of a contender in each process before the rounds."""
SPEED = {"fp32": 1.0, "bf16": 0.4, "int8": 0.5}
"""Time of dense at a precision, against float32."""
SLOW_BF16 = 1.6
"""The same of bf16 on a processor where it is not faster (OpenVINO on Intel without AMX)."""
REACHED = 0.65
"""Time falls by the FLOPs speed-up to this power: 4 times fewer FLOPs take 2.5 times less time."""
EFFICIENCY = 0.75
"""Speed of dense in float32 against that of its largest product alone."""
LEFT, DENSE_LEFT = 1.6, 5
"""Backends in which a model is left after the screening (as in 12 stored passes), and contenders
that are dense, one of them twice for the noise floor."""


@dataclass(frozen=True)
class Work:
    """The models of one dense model that are to be timed in one setting."""

    speedups: Sequence[float]
    """FLOPs speed-up of each model at each budget."""
    models: int
    texts: int
    """That each is scored on."""
    flops: float
    """Of dense for a text."""


def pass_seconds(
    work: Work, config: MeasureConfig, names: Sequence[str], settings: Sequence[DeviceSetting]
) -> dict[str, float]:
    """Seconds of the parts of the passes in some settings of a device, with these backends."""
    own = [BY_NAME[name] for name in names]
    running = [_relative(each.precision, settings) for each in own if not each.compiled]
    reduced = sum(speedup**-REACHED for speedup in work.speedups)
    models = work.models + 2  # padded and packed dense
    left, dense_left = min(LEFT, len(running)), min(DENSE_LEFT, 2 * len(running) + 1)
    run = max(config.batch_sizes)
    texts = sum(min(SCREENED_CALLS * size, run) for size in config.batch_sizes)
    screened = texts * (1 + SCREENED_ROUNDS) * sum(running) * (reduced + 2)
    contenders = min(running) * reduced * left + dense_left * fmean(running)
    count = len(rounds_of_processes(config.rounds))
    loads = count * (START + LOAD * (work.models * left + dense_left))
    passes = 0.0
    for size in config.batch_sizes:
        calls = -(-config.examples // size)
        untimed = turns(calls) / calls if turns(calls) > 1 else 0
        passes += config.rounds * (1 + untimed) + WARM_UP * count
    exports = EXPORT * models * any(each.exported for each in own)
    found = {"exports": exports, "screening": 0.0, "scores": 0.0, "rounds": 0.0}
    for setting in settings:
        dense = work.flops / dense_rate(setting)
        a_text = dense * contenders
        if len(own) > 1:
            found["screening"] += START + LOAD * models * len(running) + screened * dense
        # Once for all settings, on all cores.
        cores = replace(setting, threads=machine.usable_cores())
        found["scores"] = a_text * work.texts * dense_rate(setting) / dense_rate(cores)
        found["rounds"] += loads + a_text * config.examples * passes
    return found


def _relative(precision: str, settings: Sequence[DeviceSetting]) -> float:
    """Time of dense at a precision on the device of some settings, against float32."""
    slow = all(each.device == "cpu" for each in settings) and not machine.fast_bf16()
    return SLOW_BF16 if precision == "bf16" and slow else SPEED[precision]


@cache
def dense_rate(setting: DeviceSetting) -> float:
    """FLOPs of dense in float32 in a second: the best of a few products of matrices."""
    before = torch.get_num_threads()
    torch.set_num_threads(setting.threads)
    one = torch.ones(256, 384, device=setting.device)
    other = torch.ones(384, 1536, device=setting.device)
    seconds = []
    for _ in range(20):
        start = time.perf_counter()
        (one @ other)[0, 0].item()  # a GPU ends the product before
        seconds.append(time.perf_counter() - start)
    torch.set_num_threads(before)
    return EFFICIENCY * 2 * one.numel() * other.shape[1] / min(seconds)
