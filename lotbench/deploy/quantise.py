"""Quantise the weights of a graph to int8, by ONNX Runtime's dynamic quantisation."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from lotbench.backends import need
from lotbench.deploy.graph import OWN, silent

if TYPE_CHECKING:
    import onnx


def quantise_file(source: Path, target: Path) -> None:
    """Writes the quantised form of a graph's file."""
    need("onnx")
    import onnx

    target.write_bytes(quantised(onnx.load(source)).SerializeToString())


def quantised(model: onnx.ModelProto) -> onnx.ModelProto:
    """The graph with int8 weights in the matrix products of the backbone.

    Activations are quantised when the graph runs.  The products of the method itself (routers,
    policies) and of the pooling stay in float32: they are small, and sensitive to rounding.
    """
    need("onnx", "onnxruntime")
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    float32 = {weight.name for weight in model.graph.initializer if OWN.search(weight.name)}
    excluded = [node.name for node in model.graph.node if float32 & set(node.input)]
    excluded += [f"{name}_MatMul" for name in excluded]  # as the quantiser renames them
    with tempfile.TemporaryDirectory() as folder, silent():
        path = Path(folder) / "model.onnx"
        quantize_dynamic(
            model,
            path,
            op_types_to_quantize=["MatMul"],
            per_channel=True,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=excluded,
        )
        return onnx.load(path)
