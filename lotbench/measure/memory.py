"""Peak memory of a model's calls, without the memory in use before them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate

import torch


def peak_bytes(calls: Sequence[Callable[[], object]], device: torch.device) -> int:
    """Peak tensor memory during the calls, run in sequence, in bytes.

    Weights and inputs do not count, since they exist before.  Memory that a kernel library
    allocates without torch's allocator does not count either.
    """
    if device.type == "cuda":
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        for call in calls:
            call()
        return torch.cuda.max_memory_allocated(device) - before
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        for call in calls:
            call()
    assert profiler.profiler is not None and profiler.profiler.kineto_results is not None
    found = profiler.profiler.kineto_results.events()
    events = sorted((e for e in found if e.name() == "[memory]"), key=lambda e: e.start_ns())
    # torch's stubs leave the method out.
    return highest(event.nbytes() for event in events)  # pyright: ignore[reportAttributeAccessIssue]


def highest(changes: Iterable[int]) -> int:
    """The highest sum, starting from 0, of allocations (positive) and releases (negative)."""
    return max(accumulate(changes, initial=0))
