"""Timing passes: fresh, exclusive worker processes, one after another, per device setting."""

from __future__ import annotations

import json
import os
import platform
import secrets
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lotbench import machine
from lotbench.errors import InputError, PassFailed
from lotbench.measure import merge, protocol

LOCK = Path(tempfile.gettempdir()) / "lotbench-timing.lock"
ALLOCATOR = {
    "MALLOC_MMAP_THRESHOLD_": str(1 << 30),
    "MALLOC_TRIM_THRESHOLD_": str(4 << 30),
    "MALLOC_TOP_PAD_": str(256 << 20),
}
"""glibc returns large blocks to the system after each use by default, and the page faults slow
eager attention at length 512 by half."""
TAIL = 15


@dataclass(frozen=True)
class Setting:
    """One device setting: what a worker process is started for."""

    device: str
    threads: int
    dtype: str

    @property
    def parts(self) -> tuple[str, str, str]:
        """The setting as parts of a file name, such as ``cpu``, ``1t``, ``fp32``."""
        return self.device.replace(":", ""), f"{self.threads}t", self.dtype


def settings(
    devices: Sequence[str] = ("cpu",),
    threads: Sequence[int | str] = (1,),
    dtypes: Sequence[str] = ("fp32",),
) -> list[Setting]:
    """The settings that a measure block stands for, without repetition.

    "all" threads are the cores this process may use; the device "auto" is the CPU and every GPU
    found, "cuda" the first GPU.  The number of threads hardly matters on a GPU, so it is timed
    with the first only.

    Raises
    ------
    InputError
        If a GPU is asked for that is not there.
    """
    counts = [machine.usable_cores() if count == "all" else int(count) for count in threads]
    found = [] if set(devices) <= {"cpu"} else _gpus()
    places: list[str] = []
    for device in devices:
        named = "cuda:0" if device == "cuda" else device
        if named not in ("cpu", "auto", *found):
            have = ", ".join(found) or "none"
            raise InputError(f"measure.devices: no {named} on this machine (GPUs found: {have})")
        places += ["cpu", *found] if device == "auto" else [named]
    return list(
        dict.fromkeys(
            Setting(device, count, dtype)
            for device in places
            for count in (counts if device == "cpu" else counts[:1])
            for dtype in dtypes
        )
    )


def run_pass(
    *,
    task: str,
    dense: str | Path,
    contenders: Sequence[dict[str, Any]],
    examples: Sequence[dict[str, Any]],
    batch_sizes: Sequence[int] = (1, 32),
    threads: Sequence[int | str] = (1,),
    devices: Sequence[str] = ("cpu",),
    dtypes: Sequence[str] = ("fp32",),
    rounds: int = 20,
    min_seconds: float = 1.0,
    seed: int = 0,
    progress: Callable[[str], None] | None = None,
) -> Iterator[dict[str, Any]]:
    """Timing records, one per setting and batch size, as each setting is done.

    A contender that raises is left out; ``broken`` of each record says why, by name.

    Parameters
    ----------
    task : str
    dense : path
        Folder of the fine-tuned dense model, the reference of every speed-up.
    contenders : sequence of dict
        ``name`` (unique), ``trial_id``, ``folder``, and ``budget``, ``{name: value}`` or ``{}``.
    examples : sequence of dict
        Tokenised validation inputs: ``input_ids``, ``token_type_ids``, and ``text_seed`` for
        methods that draw at random.
    progress : callable, optional
        Is given each line of progress; stderr by default.

    Raises
    ------
    InputError
        If two contenders share a name or take a baseline's, or there are no examples.
    PassFailed
        If a worker dies.
    """
    names = [contender["name"] for contender in contenders]
    for name in names:
        if names.count(name) > 1 or name in (protocol.DENSE, protocol.AGAIN, protocol.PACKED):
            raise InputError(f"contenders: the name {name!r} is taken; every name must be unique")
    if not examples:
        raise InputError("examples: nothing to time; raise measure.examples")
    progress = progress or (lambda line: print(line, file=sys.stderr, flush=True))
    for setting in settings(devices, threads, dtypes):
        label = f"timing {task} on {setting.device}, {setting.threads} threads, {setting.dtype}"
        progress(f"{label}: {len(contenders)} contenders")
        plan, parts, broken = merge.plan(rounds), [], {}
        spec = {
            **vars(setting),
            "dense": str(dense),
            "contenders": [{**c, "folder": str(c["folder"])} for c in contenders],
            "examples": list(examples),
            "batch_sizes": list(batch_sizes),
            "min_seconds": min_seconds / len(plan),
            "seed": seed,
        }
        for process, share in enumerate(plan):
            own = spec | {"process": process, "rounds": share}
            number = f"{label}: process {process + 1} of {len(plan)}"
            part = run_alone("lotbench.measure.worker", own, number, progress)
            parts.append(part["measured"])
            broken |= part["broken"]
        asked = {"rounds": rounds, "min_seconds": min_seconds, "seed": seed}
        device, count, dtype = setting.parts
        sound = [contender for contender in contenders if contender["name"] not in broken]
        for record in merge.records(parts, sound, asked):
            batch = f"b{record['setting']['batch_size']}"
            origin = provenance("pass_id", task, device, count, batch, dtype)
            yield {**origin, "task": task, **record, "broken": broken}


def environment(threads: int) -> dict[str, str]:
    """The worker's environment: pinned threads, and glibc's allocator kept from returning pages."""
    count = str(threads)
    extra = {"OMP_NUM_THREADS": count, "MKL_NUM_THREADS": count, "HF_HUB_OFFLINE": "1"}
    # What the profiler logs is no progress.
    return {**os.environ, **extra, "KINETO_LOG_LEVEL": "99", **allocator()}


def allocator() -> dict[str, str]:
    """The allocator's variables; none where the C library is not glibc."""
    return dict(ALLOCATOR) if platform.libc_ver()[0] == "glibc" else {}


def provenance(key: str, *parts: str) -> dict[str, Any]:
    """A record's id (under ``key``: the time and the parts), machine, versions and commit."""
    now = datetime.now(UTC)
    return {
        key: "-".join([now.strftime("%Y%m%dT%H%M%SZ"), *parts, secrets.token_hex(2)]),
        "created": now.isoformat(timespec="seconds"),
        "machine": machine.record(),
        "versions": machine.versions(),
        "git_commit": machine.git_commit(),
        "allocator": allocator(),
    }


def exclusive(lock: Path, progress: Callable[[str], None]):
    """The machine-wide lock that keeps two passes from slowing each other, to be held by a worker.

    It falls with the process that holds it, so the one that times must be that process.
    """
    from filelock import FileLock, Timeout

    held = FileLock(lock, mode=0o666)
    try:
        return held.acquire(timeout=0)
    except Timeout:
        progress(f"waiting for another timing pass on this machine to finish ({lock})")
        return held.acquire()


def run_alone(
    module: str, spec: dict[str, Any], label: str, progress: Callable[[str], None]
) -> Any:
    """What ``python -m MODULE SPEC OUT`` writes; the worker waits until no other pass runs.

    Raises
    ------
    PassFailed
        If it dies.
    """
    with tempfile.TemporaryDirectory(prefix="lotbench-timing-") as folder:
        spec_path, out_path = Path(folder) / "spec.json", Path(folder) / "out.json"
        spec_path.write_text(json.dumps({**spec, "lock": str(LOCK)}))
        command = [sys.executable, "-m", module, str(spec_path), str(out_path)]
        tail: deque[str] = deque(maxlen=TAIL)
        with subprocess.Popen(
            command,
            env=environment(spec["threads"]),
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        ) as worker:
            try:
                for line in worker.stderr:
                    tail.append(line.rstrip())
                    progress(f"{label}: {line.rstrip()}")
            except BaseException:
                # An interrupted pass must not leave a worker that disturbs the next one.
                worker.kill()
                raise
        if worker.returncode != 0 or not out_path.exists():
            lines = "\n".join(tail) or "(it printed nothing)"
            raise PassFailed(
                f"{label}: the worker ended with exit code {worker.returncode}; "
                f"its last lines:\n{lines}"
            )
        return json.loads(out_path.read_text())


def _gpus() -> list[str]:
    import torch

    return [f"cuda:{number}" for number in range(torch.cuda.device_count())]
