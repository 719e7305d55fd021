"""The machine, the package versions and the commit, which are stored with every number."""

from __future__ import annotations

import math
import os
import platform
import subprocess
import sys
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = (
    *("lotbench", "torch", "transformers", "tokenizers", "nanotoken", "gigatoken", "safetensors"),
    *("onnx", "onnxscript", "onnxruntime", "openvino", "datasets", "ray", "numpy", "pandas"),
)
CPUINFO = Path("/proc/cpuinfo")
CGROUP = Path("/sys/fs/cgroup")


def record() -> dict[str, Any]:
    """The machine, as `lotbench.store.record.Machine` describes it."""
    return {
        "cpu": cpu_model(),
        "cpu_id": cpu_id(),
        "cores": usable_cores(),
        "memory_gib": memory_gib(),
        "gpus": gpus(),
        "os": platform.platform(terse=True),
        "arch": platform.machine(),
        "libc": " ".join(platform.libc_ver()).strip() or None,
    }


def versions() -> dict[str, str]:
    """Versions of Python and of the installed packages that can change a number."""
    installed = {"python": platform.python_version()}
    for package in PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            installed[package] = metadata.version(package)
    return installed


def git_commit() -> str | None:
    """The commit of LoTBench, with ``-dirty`` for local changes; None outside git."""
    here = Path(__file__).resolve()
    # LoTBench may be installed inside another repository, whose commit would be wrong.
    if _run("git", "-C", str(here.parent), "ls-files", "--error-unmatch", here.name) is None:
        return None
    describe = ("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")
    return _run("git", "-C", str(here.parent), *describe) or None


def cpu_model(cpuinfo: Path = CPUINFO) -> str:
    """The processor's marketing name, or the architecture if the name is unknown."""
    name = _first_core(cpuinfo).get("model name")
    if sys.platform == "darwin":
        name = _run("sysctl", "-n", "machdep.cpu.brand_string")
    return name or platform.processor() or platform.machine()


def cpu_id(cpuinfo: Path = CPUINFO) -> str | None:
    """Family, model and stepping, since in clouds many processors share one marketing name."""
    core = _first_core(cpuinfo)
    parts = [core.get(key) for key in ("cpu family", "model", "stepping")]
    return "-".join(part for part in parts if part) or None


def fast_bf16(cpuinfo: Path = CPUINFO) -> bool:
    """True if a training step in bf16 is faster than in float32 on this processor.

    It is faster with AMX, and on AMD with the AVX-512 instructions for bf16.  On Intel, AVX-512
    without AMX was 1.4 to 1.7 times slower than float32.  Without either, bf16 is emulated.
    """
    core = _first_core(cpuinfo)
    flags, amd = core.get("flags", ""), core.get("vendor_id") == "AuthenticAMD"
    return "amx_bf16" in flags or ("avx512_bf16" in flags and amd)


def native_formats(cpuinfo: Path = CPUINFO) -> set[str]:
    """Those of ``bf16`` and ``int8`` that this processor has instructions for."""
    flags = set(_first_core(cpuinfo).get("flags", "").split())
    native = {"bf16": {"amx_bf16", "avx512_bf16"}, "int8": {"amx_int8", "avx512_vnni", "avx_vnni"}}
    return {name for name, any_of in native.items() if any_of & flags}


def _first_core(cpuinfo: Path) -> dict[str, str]:
    """The fields of the first core in /proc/cpuinfo; empty on other systems."""
    text = cpuinfo.read_text(errors="replace") if cpuinfo.is_file() else ""
    lines = (line.partition(":") for line in text.partition("\n\n")[0].splitlines())
    return {key.strip(): value.strip() for key, _, value in lines}


def usable_cores() -> int:
    """Cores that this process may use; in a container, they can be fewer than the machine has."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, int(min(cores or 1, container_cores())))


def trial_threads() -> int:
    """Threads of a trial: fixed for a machine, since the last digits of results depend on them."""
    return 1 if usable_cores() < 8 else 4


def memory_gib() -> float | None:
    """Memory of the machine or container in GiB, or None if it is unknown."""
    try:
        size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None
    return round(min(size, container_bytes()) / 2**30, 1)


def container_cores(cgroup: Path = CGROUP) -> float:
    """CPU limit of a container, in cores; infinity without a limit."""
    limits = _read_limits(cgroup / "cpu.max")
    limits = limits or [
        x for f in ("quota", "period") for x in _read_limits(cgroup / f"cpu/cpu.cfs_{f}_us")
    ]
    if len(limits) != 2 or limits[0] in ("max", "-1"):
        return math.inf
    quota, period = map(int, limits)
    return quota / period


def container_bytes(cgroup: Path = CGROUP) -> float:
    """Memory limit of a container, in bytes; infinity without a limit."""
    limits = _read_limits(cgroup / "memory.max")
    limits = limits or _read_limits(cgroup / "memory/memory.limit_in_bytes")
    return math.inf if limits in ([], ["max"]) else int(limits[0])


def _read_limits(file: Path) -> list[str]:
    return file.read_text().split() if file.is_file() else []


def gpus() -> list[dict[str, str]]:
    """Name, memory and driver of every NVIDIA GPU; from the driver, so torch is not needed."""
    rows = _nvidia_smi("gpu", "name", "memory.total", "driver_version")
    return [{"name": name, "memory": memory, "driver": driver} for name, memory, driver in rows]


def gpu_users(uuid: str) -> list[str]:
    """The other processes that compute on a GPU, by name and id; empty if that is unknown."""
    return [
        f"{name} (process {process})"
        for gpu, process, name in _nvidia_smi("compute-apps", "gpu_uuid", "pid", "process_name")
        if gpu.endswith(uuid) and process != str(os.getpid())
    ]


def _nvidia_smi(query: str, *fields: str) -> list[list[str]]:
    """The rows of a query, one value for each of three fields; none without an NVIDIA driver."""
    text = _run("nvidia-smi", f"--query-{query}={','.join(fields)}", "--format=csv,noheader") or ""
    rows = [[part.strip() for part in line.split(",", 2)] for line in text.splitlines()]
    return [row for row in rows if len(row) == 3]


def _run(*command: str) -> str | None:
    """Output of a command, or None if it is missing or fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
