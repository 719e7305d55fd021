"""ONNX translations of operators that the exporter writes inefficiently.

PyTorch's exporter writes every case of an operator as the same chain of small ones, such as eight
for a row index.  On short texts these chains take as long as what they serve.  Each function here
writes the plain case of one operator and leaves its other cases to the exporter.  The exporter has
no stable sort, so that one is written whole.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

# As in aten.slice, whose end is this if nothing is cut off.
EVERYTHING = 2**63 - 1


def table() -> dict[Callable, Callable]:
    """The translations, by operator of PyTorch, as `torch.onnx.export` wants them."""
    aten = torch.ops.aten
    return {
        aten.sort.stable: _stable_sort,
        aten.index_select.default: _index_select,
        aten.index.Tensor: _index,
        aten.index_put.default: _index_put,
        aten.slice.Tensor: _slice,
        aten.squeeze.dim: _squeeze,
        aten.view.default: _view,
        aten._unsafe_view.default: _view,
        aten._local_scalar_dense.default: _scalar,
    }


def _stable_sort(self: Any, stable: Any, dim: Any = -1, descending: Any = False) -> Any:
    """ONNX: TopK puts the first of equal values first (for OpenVINO see `session`)."""
    op, _ = _library()
    size = op.Shape(self, start=dim, end=None if dim == -1 else dim + 1)
    return op.TopK(self, size, axis=dim, largest=descending, sorted=True)


def _index_select(self: Any, dim: Any, index: Any) -> Any:
    op, library = _library()
    written = _made_by(self, "ScatterND")
    if written and written.attributes["reduction"].value == "none" and dim == 0:
        at = _made_by(written.inputs[1], "Unsqueeze")
        if at and at.inputs[0] is index:  # the rows that were just written
            return op.Identity(written.inputs[2])
    if _rank(self) and _rank(index) == 1:
        return op.Gather(self, index, axis=dim)
    return library.aten_index_select(self, dim, index)


def _index(self: Any, indices: Any) -> Any:
    op, library = _library()
    axis = _one_index(indices)
    if axis is None:
        return library.aten_index(self, indices)
    return op.Gather(self, indices[axis], axis=axis)


def _index_put(self: Any, indices: Any, values: Any, accumulate: Any = False) -> Any:
    op, library = _library()
    rows = not accumulate and _one_index(indices) == 0 and _rank(indices[0]) == 1
    alike = _rank(values) == _rank(self) and list(values.shape[1:]) == list(self.shape[1:])
    # One row would be for all indices.  Other sizes are equal, though their symbols may differ.
    if rows and alike and values.shape[0] != 1:
        return op.ScatterND(self, op.Unsqueeze(indices[0], [-1]), values)
    return library.aten_index_put(self, indices, values, accumulate)


def _slice(self: Any, dim: Any = 0, start: Any = None, end: Any = None, step: Any = 1) -> Any:
    op, library = _library()
    whole = start in (None, 0) and end in (None, EVERYTHING) and step in (None, 1)
    return op.Identity(self) if whole else library.aten_slice(self, dim, start, end, step)


def _squeeze(self: Any, dim: Any) -> Any:
    op, library = _library()
    turned = _made_by(self, "Transpose")
    mask = turned and _made_by(turned.inputs[0], "NonZero")
    if mask and _rank(mask.inputs[0]) == 1 and dim == 1:
        return op.Squeeze(mask.outputs[0], [0])
    return library.aten_squeeze_dim(self, dim)


def _view(self: Any, size: Any) -> Any:
    op, library = _library()
    known = [length if isinstance(length, int) else -1 for length in size]
    if size and 0 not in known and known.count(-1) <= 1:
        before = _made_by(self, "Reshape")
        whole = before.inputs[0] if before else self
        return op.Reshape(whole, op.Constant(value_ints=known))
    return library.aten_view(self, size)


def _scalar(self: Any) -> Any:
    op, library = _library()
    from onnx_ir import DataType

    if _rank(self) == 0 and self.dtype == DataType.INT64:
        return op.Identity(self)
    return library.aten__local_scalar_dense(self)


def _library() -> tuple[Any, Any]:
    """The operators of ONNX, and the exporter's translations."""
    from onnxscript import opset20
    from onnxscript.function_libs.torch_lib.ops import core

    return opset20, core


def _made_by(value: Any, operator: str) -> Any:
    """The node that a value comes from; None if it is another operator's."""
    node = value.producer()
    return node if node and node.op_type == operator else None


def _rank(value: Any) -> int | None:
    return None if value.shape is None else len(value.shape)


def _one_index(indices: Sequence[Any]) -> int | None:
    """The axis that the only index is for; None if there are several or if it is a mask."""
    from onnx_ir import DataType

    used = [axis for axis, index in enumerate(indices) if index is not None]
    return used[0] if len(used) == 1 and indices[used[0]].dtype == DataType.INT64 else None
