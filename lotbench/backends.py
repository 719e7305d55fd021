"""The backends that run a model: their names, their packages, and which of them suit a machine.

``torch`` is the engine (packed) or the Hugging Face model (padded), ``compile`` the padded model
under ``torch.compile``, and the others run the exported graph.
"""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterable, Mapping

from lotbench import machine
from lotbench.errors import InputError

EXPORTER = ("onnx", "onnxscript")
PACKAGES: dict[str, tuple[str, ...]] = {
    "torch-fp32": (),
    "torch-bf16": (),
    "compile-fp32": (),
    "compile-bf16": (),
    "onnx-fp32": (*EXPORTER, "onnxruntime"),
    "onnx-int8": (*EXPORTER, "onnxruntime"),
    "openvino-fp32": (*EXPORTER, "openvino"),
    "openvino-bf16": (*EXPORTER, "openvino"),
}
BACKENDS = tuple(PACKAGES)
TORCH = "torch-fp32"
"""The backend in which trials are scored."""


def is_torch(backend: str) -> bool:
    """True for the engine in PyTorch, which runs trained models as they are."""
    return backend.startswith("torch-")


def is_compiled(backend: str) -> bool:
    """True for ``torch.compile``, which runs the dense model alone."""
    return backend.startswith("compile-")


def is_exported(backend: str) -> bool:
    """True if the backend runs an exported graph."""
    return bool(PACKAGES[backend])


def missing(backend: str) -> list[str]:
    """What this backend needs and this machine lacks."""
    lacking = [name for name in PACKAGES[backend] if importlib.util.find_spec(name) is None]
    if is_compiled(backend) and not any(map(shutil.which, ("g++", "clang++"))):
        lacking.append("g++")
    return lacking


def chosen(given: Iterable[str] | None, device: str) -> list[str]:
    """The backends of a pass on a device, in the order of `BACKENDS`.

    Parameters
    ----------
    given : iterable of str, optional
        By default, what is installed and what the device runs natively: bf16 needs AMX or AVX-512
        with bf16, and int8 needs VNNI or AMX.
    device : str
        ``cpu``, or a GPU, which runs ``torch`` and ``compile`` alone.

    Raises
    ------
    InputError
        If a package is missing, or if nothing but the dense model runs on the device.
    """
    if given is None:
        fast = machine.native_formats() if device == "cpu" else {"bf16"}
        names = [name for name in BACKENDS if name.split("-")[1] in {"fp32", *fast}]
        names = [name for name in names if not missing(name)]
    else:
        names = list(given)
    for name in names:
        if lacking := missing(name):
            raise InputError(
                f"measure.backends: {name} needs {', '.join(lacking)}; install it"
                + (" with: pip install 'lotbench[deploy]'" if is_exported(name) else "")
            )
    found = [name for name in BACKENDS if name in names]
    if device != "cpu":
        found = [name for name in found if not is_exported(name)]
    if not found:
        raise InputError(f"measure.backends: none of them runs on {device}; add {TORCH}")
    if all(map(is_compiled, found)):
        raise InputError(f"measure.backends: {found[0]} runs the dense model alone; add {TORCH}")
    return found


def runtimes(names: Iterable[str], versions: Mapping[str, str]) -> tuple[str | None, ...]:
    """The versions of the packages that these backends need."""
    packages = sorted({package for name in names for package in PACKAGES.get(name, ())})
    return tuple(versions.get(package) for package in packages)
