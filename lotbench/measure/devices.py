"""The device of a worker: number formats, names, memory, and the timer of a GPU."""

from __future__ import annotations

import time
from collections.abc import Iterable

import torch

from lotbench import machine
from lotbench.measure.protocol import Call, CallTimer
from lotbench.measure.spec import DeviceSetting, Samples

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


def timer_for(device: torch.device) -> CallTimer | CudaTimer:
    """A new timer of calls on this device."""
    return CudaTimer(device) if device.type == "cuda" else CallTimer()


class CudaTimer:
    """A timer of wall seconds that synchronises the GPU around every call.

    It keeps, by contender, the wall seconds of every call and the CUDA event seconds of every pass.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.calls: Samples = {}
        self.events: Samples = {}

    def __call__(self, name: str, calls: Iterable[Call]) -> float:
        wall, events = [], 0.0
        for call in calls:
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            torch.cuda.synchronize(self.device)
            start = time.perf_counter()
            begin.record()
            call()
            end.record()
            torch.cuda.synchronize(self.device)
            wall.append(time.perf_counter() - start)
            events += begin.elapsed_time(end) / 1000
        self.calls.setdefault(name, []).extend(wall)
        self.events.setdefault(name, []).append(events)
        return sum(wall)
