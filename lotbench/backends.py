"""The backends that run a model: their names, their packages, and which of them suit a machine.

``torch`` is the engine (packed) or the Hugging Face model (padded), ``compile`` the padded model
under ``torch.compile``, and the others run the exported graph.
"""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from lotbench import machine
from lotbench.errors import InputError

INSTALL = "pip install 'lotbench[deploy]'"


@dataclass(frozen=True)
class Backend:
    """A runtime at a precision."""

    runtime: str
    precision: str
    """Of weights and activations; with ``int8`` only the weights are quantised beforehand."""
    packages: tuple[str, ...] = ()
    exported: bool = False
    """True if it runs an exported graph."""
    compiled: bool = False
    """True if it runs the dense model alone."""

    @property
    def name(self) -> str:
        """Such as ``onnx-int8``."""
        return f"{self.runtime}-{self.precision}"

    @property
    def missing(self) -> list[str]:
        """The needs of the backend that this machine lacks."""
        compiler = not self.compiled or any(map(shutil.which, ("g++", "clang++")))
        return missing(*self.packages) + ([] if compiler else ["g++"])


EXPORTER = ("onnx", "onnxscript")
BY_NAME = {
    backend.name: backend
    for backend in (
        Backend("torch", "fp32"),
        Backend("torch", "bf16"),
        Backend("compile", "fp32", compiled=True),
        Backend("compile", "bf16", compiled=True),
        Backend("onnx", "fp32", (*EXPORTER, "onnxruntime"), exported=True),
        Backend("onnx", "int8", (*EXPORTER, "onnxruntime"), exported=True),
        Backend("openvino", "fp32", (*EXPORTER, "openvino"), exported=True),
        Backend("openvino", "bf16", (*EXPORTER, "openvino"), exported=True),
    )
}
BACKENDS = tuple(BY_NAME)
EXPORTED = tuple(name for name, backend in BY_NAME.items() if backend.exported)
TOKENISERS = ("gigatoken", "nanotoken", "tokenizers")
TORCH = "torch-fp32"
"""The backend in which trials are scored."""


def missing(*packages: str) -> list[str]:
    """Those of the packages that are not installed."""
    return [name for name in packages if importlib.util.find_spec(name) is None]


def need(*packages: str) -> None:
    """Refuse to go on without these packages."""
    if lacking := missing(*packages):
        raise InputError(f"{', '.join(lacking)} is not installed; install it with: {INSTALL}")


def chosen(names: Iterable[str] | None, device: str) -> list[str]:
    """The backends of a pass on a device, in the order of `BACKENDS`.

    By default they are all that are installed and that the device runs natively: bf16 needs AMX or
    AVX-512 with bf16, and int8 needs VNNI or AMX.  The device is ``cpu``, or a GPU, which runs
    ``torch`` and ``compile`` alone.
    """
    backends = list(BY_NAME.values())
    if names is None:
        native = {"fp32", *(machine.native_formats() if device == "cpu" else ["bf16"])}
        backends = [x for x in backends if x.precision in native and not x.missing]
    else:
        wanted = set(names)
        backends = [backend for backend in backends if backend.name in wanted]
    for backend in backends:
        if lacking := backend.missing:
            raise InputError(
                f"measure.backends: {backend.name} needs {', '.join(lacking)}; install it"
                + (f" with: {INSTALL}" if backend.exported else "")
            )
    if device != "cpu":
        backends = [backend for backend in backends if not backend.exported]
    if all(backend.compiled for backend in backends):
        message = f"none of them runs a reduced model on {device}; add {TORCH}"
        raise InputError(f"measure.backends: {message}")
    return [backend.name for backend in backends]


def runtimes(names: Iterable[str], versions: Mapping[str, str]) -> tuple[str | None, ...]:
    """The versions of the packages that these backends, and the tokenisers, need."""
    known = [BY_NAME[name].packages for name in names if name in BY_NAME]
    return tuple(versions.get(package) for package in sorted(set(TOKENISERS).union(*known)))
