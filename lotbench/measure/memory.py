"""Peak memory of a model's calls, beyond what is live before them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch

from lotbench.measure.protocol import Call


def peak_bytes(calls: Sequence[Call], device: torch.device) -> int:
    """The most tensor memory that the calls, one after another, hold at a time, in bytes.

    Weights and inputs are live before and do not count; nor does what a kernel library allocates
    beside torch's allocator.
    """
    if device.type == "cuda":
        return _cuda_peak(calls, device)
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        for call in calls:
            call()
    events = [e for e in profiler.profiler.kineto_results.events() if e.name() == "[memory]"]
    return highest(event.nbytes() for event in sorted(events, key=lambda e: e.start_ns()))


def highest(changes: Iterable[int]) -> int:
    """The highest level that allocations (positive) and releases (negative) reach, from 0."""
    level = top = 0
    for change in changes:
        level += change
        top = max(top, level)
    return top


def _cuda_peak(calls: Sequence[Call], device: torch.device) -> int:
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    for call in calls:
        call()
    return torch.cuda.max_memory_allocated(device) - before
