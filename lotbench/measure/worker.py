"""One device setting, timed in a fresh process: ``python -m lotbench.measure.worker SPEC OUT``.

SPEC is what `lotbench.measure.launch` writes: device, threads, dtype, batch sizes, rounds,
minimum seconds, seed, which of several processes this is, the dense model's folder, the
contenders, the tokenised examples, the lock.  OUT holds what was ``measured`` at each batch size
(see `lotbench.measure.merge`), and why contenders could not be (``broken``, by name).  Progress
goes to stderr, a line at a time.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from lotbench import machine
from lotbench.batch import Batch
from lotbench.engine.checkpoint import load
from lotbench.engine.encoder import ReducedEncoder
from lotbench.measure import launch, memory, protocol
from lotbench.measure.breakdown import time_shares
from lotbench.measure.flops import dense_flops, reduced_flops
from lotbench.ragged import Ragged
from lotbench.reducer import Outputs, Params, TokenReducer

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
GROUP_SIZE = 16
"""Contenders of one group: more would move a round's samples too far apart in time."""
MEMORY_SHARE = 0.25
"""Share of the memory that the models of one group may fill."""


@dataclass(frozen=True)
class Contender:
    """A model and its calls, one per batch: padded Hugging Face model or packed path."""

    encoder: ReducedEncoder
    padded: bool
    calls: list[protocol.Call]
    flops: Callable[[], float]
    """FLOPs of one pass over the calls."""


@dataclass(frozen=True)
class Timed:
    """One group of contenders at one batch size; every dict is by contender."""

    samples: protocol.Samples
    calls: protocol.Samples
    events: protocol.Samples
    watched: dict[str, dict[str, Any]]
    """What was read off passes beside the timed ones, by the first process alone."""


def run(spec: dict[str, Any]) -> dict[str, Any]:
    """At each batch size the setting and the groups of contenders, and the broken contenders."""
    torch.set_num_threads(spec["threads"])
    device, dtype = torch.device(spec["device"]), DTYPES[spec["dtype"]]
    if device.type == "cuda":
        torch.cuda.set_device(device)  # events are recorded on the current device
    examples = sorted(spec["examples"], key=lambda example: len(example["input_ids"]))
    dense = load(Path(spec["dense"])).to(device, dtype)
    nothing = TokenReducer(Params(), len(dense.backbone.layers), dense.backbone.width)
    packed = ReducedEncoder(dense.backbone, nothing).eval()
    groups = plan_groups(spec["contenders"], model_bytes, memory_bytes(device) * MEMORY_SHARE)
    timed: dict[int, list[Timed]] = {size: [] for size in spec["batch_sizes"]}
    broken: dict[str, str] = {}
    for number, group in enumerate(groups, start=1):
        models: dict[str, ReducedEncoder] = {}
        for size in spec["batch_sizes"]:
            label = f"group {number} of {len(groups)}, batch {size}"
            log(f"{label}: {len(group)} contenders")
            contenders = {
                protocol.DENSE: padded_contender(dense, examples, size),
                protocol.AGAIN: padded_contender(dense, examples, size),
                protocol.PACKED: packed_contender(packed, examples, size, {}),
            }
            for contender in group:
                name, folder = contender["name"], contender["folder"]
                try:  # a model that breaks must not take the others' pass with it
                    if folder not in models:
                        models[folder] = load(Path(folder)).to(device, dtype)
                    own = _contender(models[folder], examples, size, contender["budget"])
                    with torch.inference_mode():
                        for call in own.calls:
                            call()
                except Exception as error:
                    broken[name] = f"{type(error).__name__}: {error}".splitlines()[0]
                    log(f"{label}: not timed: {name}: {broken[name]}")
                else:
                    contenders[name] = own
            with torch.inference_mode():
                timed[size].append(_time(contenders, spec, number, label))
    measured = [
        {"setting": _setting(spec, dense, size), "groups": [vars(group) for group in timed[size]]}
        for size in spec["batch_sizes"]
    ]
    return {"measured": measured, "broken": broken}


def _contender(
    model: ReducedEncoder, examples: list[dict[str, Any]], size: int, budget: dict[str, float]
) -> Contender:
    if model.reducer.padded:
        return padded_contender(model, examples, size)
    return packed_contender(model, examples, size, budget)


def _time(contenders: dict[str, Contender], spec: dict[str, Any], group: int, label: str) -> Timed:
    device = torch.device(spec["device"])
    calls = {name: contender.calls for name, contender in contenders.items()}
    timer = CudaTimer(device) if device.type == "cuda" else protocol.CallTimer()
    passes = protocol.warm_up(calls, timer)
    timer.calls.clear()
    if isinstance(timer, CudaTimer):
        timer.events.clear()
    start = time.perf_counter()
    seed = f"{spec['seed']} {spec['process']} {group}"
    samples = protocol.run_rounds(calls, spec["rounds"], spec["min_seconds"], seed, timer)
    log(
        f"{label}: {passes} warm-up passes, {len(samples[protocol.DENSE])} rounds in "
        f"{time.perf_counter() - start:.1f} s"
    )
    events = timer.events if isinstance(timer, CudaTimer) else {}
    watched = {}
    if spec["process"] == 0:  # only now, since what watches a call also slows it
        watched = {
            name: {
                "peak_bytes": memory.peak_bytes(own.calls, device),
                "time_shares": time_shares(own.encoder, own.calls, own.padded),
                "flops_speedup": contenders[protocol.DENSE].flops() / own.flops(),
            }
            for name, own in contenders.items()
            if name != protocol.AGAIN
        }
    return Timed(samples, timer.calls, events, watched)


def _setting(spec: dict[str, Any], dense: ReducedEncoder, size: int) -> dict[str, Any]:
    return {
        "device": spec["device"],
        "device_name": device_name(spec["device"]),
        "threads": spec["threads"],
        "dtype": spec["dtype"],
        "batch_size": size,
        "examples": len(spec["examples"]),
        "attention": dense.backbone.config._attn_implementation,
    }


def padded_contender(
    encoder: ReducedEncoder, examples: list[dict[str, list[int]]], size: int
) -> Contender:
    """The untouched Hugging Face model, called once per batch."""
    model = encoder.backbone.model.eval()
    calls = []
    for batch in chunks(examples, size):
        inputs = padded_inputs(batch, model.config, model.device)
        calls.append(lambda inputs=inputs: model(**inputs).logits)
    lengths = torch.tensor([len(example["input_ids"]) for example in examples])
    total = float(dense_flops(lengths, encoder.backbone).sum())
    return Contender(encoder, True, calls, lambda: total)


def padded_inputs(
    examples: Sequence[dict[str, list[int]]], config: Any, device: torch.device
) -> dict[str, torch.Tensor]:
    """Keyword arguments of a Hugging Face model for one padded batch.

    A batch that needs no padding comes without a mask, the fastest way to call the model.
    """
    lengths = [len(example["input_ids"]) for example in examples]
    longest = max(lengths)

    def table(key: str, fill: int) -> torch.Tensor:
        rows = [row[key] + [fill] * (longest - len(row[key])) for row in examples]
        return torch.tensor(rows, device=device)

    inputs = {"input_ids": table("input_ids", config.pad_token_id or 0)}
    if getattr(config, "type_vocab_size", 0) > 1:
        inputs["token_type_ids"] = table("token_type_ids", 0)
    if min(lengths) < longest:
        mask = torch.arange(longest)[None] < torch.tensor(lengths)[:, None]
        inputs["attention_mask"] = mask.to(device, torch.int64)
    return inputs


def packed_contender(
    encoder: ReducedEncoder,
    examples: list[dict[str, list[int]]],
    size: int,
    budget: dict[str, float],
) -> Contender:
    """The packed path at a post-hoc budget, called once per ragged batch."""
    device = encoder.backbone.model.device
    for value in budget.values():
        if value != encoder.reducer.budget:
            # A copy, so that contenders of one model each keep their own budget.
            encoder = ReducedEncoder(encoder.backbone, deepcopy(encoder.reducer)).eval()
            encoder.reducer.budget = value
    batches = [ragged_batch(batch).to(device) for batch in chunks(examples, size)]

    def call(batch: Batch) -> Outputs:
        # A fresh layout: its cached properties are part of a real call's work.
        layout = Ragged(batch.layout.cu_seqlens, batch.layout.sizes)
        return encoder(replace(batch, layout=layout))

    def flops() -> float:
        traces = [call(batch).trace for batch in batches]
        counts = [reduced_flops(trace, encoder.backbone, encoder.reducer) for trace in traces]
        return float(torch.cat(counts).sum())

    calls = [lambda batch=batch: call(batch).logits for batch in batches]
    return Contender(encoder, False, calls, flops)


def ragged_batch(examples: Sequence[dict[str, Any]]) -> Batch:
    """The examples end to end; labels, which no decision may look at, are zeros."""
    return Batch.from_ids(
        [example["input_ids"] for example in examples],
        [example["token_type_ids"] for example in examples],
        text_seed=[example.get("text_seed", 0) for example in examples],
    )


def plan_groups(
    contenders: list[dict[str, Any]],
    size_of: Callable[[str], int],
    capacity: float,
    limit: int = GROUP_SIZE,
) -> list[list[dict[str, Any]]]:
    """Contenders in groups whose models fit into ``capacity`` bytes, ``limit`` in a group.

    The budgets of one model stay together, so that each model is loaded once, even if they alone
    are more.  At least one group, empty if there is nothing to compare with dense.
    """
    by_folder: dict[str, list[dict[str, Any]]] = {}
    for contender in contenders:
        by_folder.setdefault(contender["folder"], []).append(contender)
    groups: list[list[dict[str, Any]]] = [[]]
    used = 0.0
    for folder, members in by_folder.items():
        size = size_of(folder)
        if groups[-1] and (len(groups[-1]) + len(members) > limit or used + size > capacity):
            groups.append([])
            used = 0.0
        groups[-1].extend(members)
        used += size
    return groups


def model_bytes(folder: str) -> int:
    """Size of a saved model's weights."""
    return sum(path.stat().st_size for path in Path(folder).glob("*.safetensors"))


def memory_bytes(device: torch.device) -> float:
    """The memory of the machine or the GPU; unlimited where the system does not tell.

    All of it, not what is free: every process of a pass must come to the same groups.
    """
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    known = machine.memory_gib()
    return float("inf") if known is None else known * 2**30


class CudaTimer:
    """Wall seconds with the device synchronised around every call.

    Keeps, by contender, the wall seconds of every call and the event seconds of every pass.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.calls: protocol.Samples = {}
        self.events: protocol.Samples = {}

    def __call__(self, name: str, calls: Iterable[protocol.Call]) -> float:
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


def log(text: str) -> None:
    """A progress line."""
    print(text, file=sys.stderr, flush=True)


def chunks(examples: list[Any], size: int) -> list[list[Any]]:
    """The batches of a pass: ``size`` examples each, in order; the last may be smaller."""
    return [examples[start : start + size] for start in range(0, len(examples), size)]


def device_name(device: str) -> str:
    """The marketing name of a processor or GPU."""
    return torch.cuda.get_device_name(device) if device != "cpu" else machine.cpu_model()


def work(run: Callable[[dict[str, Any]], Any]) -> None:
    """What a worker process does: OUT becomes ``run(SPEC)``, while no other pass runs."""
    spec, out = sys.argv[1:]
    asked = json.loads(Path(spec).read_text())
    with launch.exclusive(Path(asked["lock"]), log):
        Path(out).write_text(json.dumps(run(asked)))


if __name__ == "__main__":
    work(run)
