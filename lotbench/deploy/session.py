"""Sessions that run an exported model: ONNX Runtime and OpenVINO behind one call.

Nothing here needs torch, so a process that only runs a model starts fast.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from lotbench.backends import BY_NAME, Backend, need
from lotbench.errors import InputError

Feed = Mapping[str, np.ndarray]


def open_session(model: Path | bytes, backend: str, threads: int | None = None) -> Session:
    """A model ready to run.

    The model is ``model.onnx`` or its content; for ``onnx-int8`` its weights must be quantised
    already.  The backend is one of `lotbench.backends.EXPORTED`.  By default the runtime chooses
    the threads of a call.
    """
    record = BY_NAME[backend]
    kind = OpenVino if record.runtime == "openvino" else OnnxRuntime
    try:
        return kind(model, record, threads)
    except InputError:
        raise
    except Exception as error:  # both libraries have exceptions of their own
        name = model if isinstance(model, Path) else "the model"
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise InputError(
            f"{name}: {backend} cannot load it: {lines[0]}; export it again"
        ) from error


class OnnxRuntime:
    """A model in ONNX Runtime; ``inputs`` names its inputs, of which the budget is optional."""

    def __init__(self, model: Path | bytes, backend: Backend, threads: int | None) -> None:
        need("onnxruntime")
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors only
        if threads is not None:
            options.intra_op_num_threads = threads
            options.inter_op_num_threads = 1
        source = str(model) if isinstance(model, Path) else model
        self._session = onnxruntime.InferenceSession(
            source, options, providers=["CPUExecutionProvider"]
        )
        values = [*self._session.get_inputs(), *self._session.get_overridable_initializers()]
        self.inputs = tuple(value.name for value in values)
        # The states that an embedding model gives for other runtimes come before its vectors.
        self._output = self._session.get_outputs()[-1].name

    def __call__(self, feed: Feed) -> np.ndarray:
        """Logits (B, C) or sentence vectors (B, D); ``feed`` has an array for each input."""
        return np.asarray(self._session.run([self._output], dict(feed))[0])


class OpenVino:
    """The same in OpenVINO."""

    def __init__(self, model: Path | bytes, backend: Backend, threads: int | None) -> None:
        need("openvino", "onnx")
        content, self._defaults = _without_defaults(model)
        settings: dict[str, str | int] = {
            "INFERENCE_PRECISION_HINT": "bf16" if backend.precision == "bf16" else "f32",
            "PERFORMANCE_HINT": "LATENCY",
        }
        if threads is not None:
            settings["INFERENCE_NUM_THREADS"] = threads
        core = _openvino_core()
        graph = core.read_model(content)
        if any("text_seed" in value.get_names() for value in graph.inputs):
            raise InputError(
                f"{backend.name} cannot run a method that draws at random: it computes in 32 bits, "
                "and the draws need 64; take onnx-fp32 or onnx-int8"
            )
        # Of equal scores the first ranks first, as in ONNX.
        for operator in graph.get_ops():
            if operator.get_type_name() == "TopK":
                operator.set_attribute("stable", True)
        compiled = core.compile_model(graph, "CPU", settings)
        self._request = compiled.create_infer_request()
        self.inputs = tuple(value.get_any_name() for value in compiled.inputs)
        self._output = compiled.outputs[-1]

    def __call__(self, feed: Feed) -> np.ndarray:
        self._request.infer({**self._defaults, **feed})
        return self._request.get_tensor(self._output).data.copy()


Session = OnnxRuntime | OpenVino
"""A loaded model."""


@cache
def _openvino_core() -> Any:
    """OpenVINO's runtime, one for the process.

    A runtime replaces the thread's stack for signal handlers and puts the former one back when it
    ends.  If two overlap, the first to end frees a stack that the second puts back, and the next
    signal ends the process with a segmentation fault.
    """
    import openvino

    return openvino.Core()


def _without_defaults(model: Path | bytes) -> tuple[bytes, dict[str, np.ndarray]]:
    """The model with all inputs required, and their default values.

    OpenVINO takes an input with a default value for a constant.
    """
    import onnx
    from onnx import numpy_helper

    content = model.read_bytes() if isinstance(model, Path) else model
    loaded = onnx.load_from_string(content)
    names = {value.name for value in loaded.graph.input}
    defaults = {}
    for value in [value for value in loaded.graph.initializer if value.name in names]:
        defaults[value.name] = numpy_helper.to_array(value)
        loaded.graph.initializer.remove(value)
    return loaded.SerializeToString() if defaults else content, defaults


def feed(
    names: Sequence[str],
    input_ids: Sequence[Sequence[int]],
    token_type_ids: Sequence[Sequence[int]],
    text_seed: Sequence[int],
    padding: int = 0,
    budget: float | None = None,
) -> dict[str, np.ndarray]:
    """The padded arrays of B texts, of those inputs of a session that are among the ``names``.

    ``padding`` is the token id of padding; the budget of None is the default of the model.
    """
    longest = max(map(len, input_ids))
    shape = (len(input_ids), longest)
    ids, types = np.full(shape, padding, np.int64), np.zeros(shape, np.int64)
    mask = np.zeros(shape, np.int64)
    for row, (row_ids, row_types) in enumerate(zip(input_ids, token_type_ids, strict=True)):
        ids[row, : len(row_ids)] = row_ids
        mask[row, : len(row_ids)] = 1
        if any(row_types):  # those of a single text are zeros already
            types[row, : len(row_ids)] = row_types
    arrays = {
        "input_ids": ids,
        "attention_mask": mask,
        "token_type_ids": types,
        "text_seed": np.asarray(text_seed, np.int64),
    }
    if budget is not None:
        arrays["budget"] = np.asarray(budget, np.int64 if isinstance(budget, int) else np.float64)
    return {name: value for name, value in arrays.items() if name in names}
