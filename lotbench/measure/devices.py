"""The device of a worker: number formats, names, memory, and the timer of a GPU."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import torch

from lotbench import machine
from lotbench.measure.protocol import Call, CallTimer, keep
from lotbench.measure.spec import DeviceSetting

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def occupy(setting: DeviceSetting) -> torch.device:
    """The device of a setting; also sets PyTorch's threads and current device."""
    torch.set_num_threads(setting.threads)
    device = torch.device(setting.device)
    if device.type == "cuda":
        torch.cuda.set_device(device)  # events are recorded on the current device
    return device


def device_name(device: str) -> str:
    """The marketing name of a processor or GPU."""
    return torch.cuda.get_device_name(device) if device != "cpu" else machine.cpu_model()


def memory_bytes(device: torch.device) -> float:
    """Memory of the machine or the GPU, in bytes; infinity if it is unknown.

    It is the total, not the free memory, so that every process of a pass makes the same groups.
    """
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    known = machine.memory_gib()
    return float("inf") if known is None else known * 2**30


def clock_of(device: torch.device) -> Callable[[], float]:
    """A clock in seconds; on a GPU it waits for the device."""

    def seconds() -> float:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter()

    return seconds


def timer_for(device: torch.device) -> CallTimer:
    """A new timer of calls on this device."""
    return CudaTimer(device) if device.type == "cuda" else CallTimer()


class CudaTimer(CallTimer):
    """A timer of wall seconds that waits for the GPU at every tick of the clock.

    It also has the seconds of every call by CUDA events.
    """

    def __init__(self, device: torch.device) -> None:
        super().__init__(clock_of(device))
        self._next: Iterator[tuple[Any, Any]] = iter(())

    def __call__(self, name: str, calls: Sequence[Call], goes_on: bool = False) -> float:
        # Made here, outside the timed seconds.
        event = partial(torch.cuda.Event, enable_timing=True)
        pairs = [(event(), event()) for _ in calls]
        self._next = iter(pairs)
        seconds = super().__call__(name, calls, goes_on)
        events = [begin.elapsed_time(end) / 1000 for begin, end in pairs]
        keep(self.events, name, events, goes_on)
        return seconds

    def run(self, call: Call, given: Any) -> None:
        begin, end = next(self._next)
        begin.record()
        call.run(given)
        end.record()
