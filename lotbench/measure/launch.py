"""Fresh, exclusive worker processes: their settings, environment, lock and records of origin."""

from __future__ import annotations

import logging
import os
import platform
import secrets
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter

from lotbench import machine
from lotbench.errors import NOTE, InputError, PassFailed
from lotbench.measure.spec import DeviceSetting, MapSpec, PassSpec

Sent = TypeVar("Sent")
Returned = TypeVar("Returned")

log = logging.getLogger(__name__)

LOCK = Path(tempfile.gettempdir()) / "lotbench-timing.lock"
ALLOCATOR = {
    "MALLOC_MMAP_THRESHOLD_": str(1 << 30),
    "MALLOC_TRIM_THRESHOLD_": str(4 << 30),
    "MALLOC_TOP_PAD_": str(256 << 20),
}
"""By default glibc returns large blocks to the system after each use, and the page faults slow
eager attention at length 512 by half."""
TAIL = 15
"""Lines of a dead worker's output that its error quotes."""


def settings(
    devices: Sequence[str] = ("cpu",),
    threads: Sequence[int | str] = (1,),
) -> list[DeviceSetting]:
    """The settings that a measure block asks for, each once.

    The number of threads "all" is the number of usable cores.  The device "auto" is the CPU and
    every GPU, and "cuda" is the first GPU.  A GPU is timed only with the first number of threads,
    because the number hardly matters there.
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
            DeviceSetting(device, count)
            for device in places
            for count in (counts if device == "cpu" else counts[:1])
        )
    )


def run_worker(module: str, spec: PassSpec | MapSpec, kind: type[Returned], label: str) -> Returned:
    """The result of ``python -m MODULE SPEC OUT LOCK``, read from OUT as ``kind``.

    Each line that the worker writes to stderr is logged after ``label``, and a note alone; if it
    dies, the error quotes the last ones.
    """
    if users := _users(spec.setting.device):
        raise PassFailed(
            f"{label}: not timed, since other processes use {spec.setting.device}: "
            f"{', '.join(users)}; end them, or time on another GPU"
        )
    with tempfile.TemporaryDirectory(prefix="lotbench-timing-") as folder:
        spec_path, out_path = Path(folder) / "spec.json", Path(folder) / "out.json"
        spec_path.write_bytes(TypeAdapter(type(spec)).dump_json(spec))
        command = [sys.executable, "-m", module, str(spec_path), str(out_path), str(LOCK)]
        tail: deque[str] = deque(maxlen=TAIL)
        with subprocess.Popen(
            command,
            env=environment(spec.setting.threads),
            stdin=subprocess.PIPE,  # nothing is written; the worker sees that it is closed
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        ) as worker:
            try:
                for line in worker.stderr or ():
                    level, _, said = line.rstrip().partition(" ")
                    if not level.isdigit():
                        level, said = str(logging.INFO), line.rstrip()
                    tail.append(said)
                    if int(level) >= NOTE:  # once, whichever process says it
                        log.log(int(level), said)
                    else:
                        log.info("%s: %s", label, said)
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
        return TypeAdapter(kind).validate_json(out_path.read_bytes())


def work(kind: type[Sent], run: Callable[[Sent], object]) -> None:
    """The main function of a worker: writes ``run(SPEC)`` to OUT while no other pass runs here.

    Its log goes to stderr, which `run_worker` reads.  It ends with the process that started
    it, however that one ends, so that it disturbs no later pass.  ``kind`` is the type of the spec.
    """
    logging.basicConfig(level=logging.INFO, format="%(levelno)d %(message)s")
    threading.Thread(target=_end_with_parent, daemon=True).start()
    spec_path, out_path, lock = map(Path, sys.argv[1:])
    spec = TypeAdapter(kind).validate_json(spec_path.read_bytes())
    with exclusive(lock):
        result = run(spec)
        out_path.write_bytes(TypeAdapter(type(result)).dump_json(result))


def _end_with_parent() -> None:
    sys.stdin.read()  # returns when the other end is closed
    os._exit(1)


def exclusive(lock: Path) -> AbstractContextManager[object]:
    """A lock for the whole machine, so that two passes do not slow each other.

    The worker takes it, because the system frees the lock of a process that dies.
    """
    from filelock import FileLock, Timeout

    held = FileLock(lock, mode=0o666)
    try:
        return held.acquire(timeout=0)
    except Timeout:
        log.info("waiting for another timing pass on this machine to finish (%s)", lock)
        return held.acquire()


def environment(threads: int) -> dict[str, str]:
    """The worker's environment: the number of threads, and an allocator that keeps pages."""
    count = str(threads)
    # `tokenizers` reads that of Rayon.
    extra = {f"{each}_NUM_THREADS": count for each in ("OMP", "MKL", "RAYON")}
    extra["HF_HUB_OFFLINE"] = "1"
    # Without this, the profiler's log would appear as progress.
    return {**os.environ, **extra, "KINETO_LOG_LEVEL": "99", **allocator()}


def allocator() -> dict[str, str]:
    """The allocator's variables; none where the C library is not glibc."""
    return dict(ALLOCATOR) if platform.libc_ver()[0] == "glibc" else {}


def origin(key: str, *parts: str) -> dict[str, Any]:
    """The first fields of a record: its id (under ``key``), time, machine, versions and commit."""
    now = datetime.now(UTC)
    return {
        key: "-".join([now.strftime("%Y%m%dT%H%M%SZ"), *parts, secrets.token_hex(2)]),
        "created": now.isoformat(timespec="seconds"),
        "machine": machine.record(),
        "versions": machine.versions(),
        "git_commit": machine.git_commit(),
        "allocator": allocator(),
    }


def _users(device: str) -> list[str]:
    """The other processes on a GPU; none on the CPU, which `exclusive` guards."""
    if device == "cpu":
        return []
    import torch

    # By its UUID, since CUDA may number GPUs in another way than the driver.
    return machine.gpu_users(str(torch.cuda.get_device_properties(device).uuid))


def _gpus() -> list[str]:
    import torch

    return [f"cuda:{number}" for number in range(torch.cuda.device_count())]
