"""The choice of backends: what is installed, what is native, what a device runs."""

import pytest

from lotbench import machine
from lotbench.backends import BACKENDS, Backend, chosen, runtimes
from lotbench.errors import InputError


@pytest.fixture
def installed(monkeypatch):
    monkeypatch.setattr(Backend, "missing", [])


@pytest.mark.parametrize(
    ("flags", "native"),
    [
        ("fpu avx512_vnni", {"int8"}),
        ("fpu avx_vnni avx512_bf16", {"int8", "bf16"}),
        ("fpu amx_bf16 amx_int8", {"int8", "bf16"}),
        ("fpu avx2", set()),
    ],
)
def test_the_default_is_what_the_processor_has_instructions_for(
    flags, native, installed, monkeypatch, tmp_path
):
    (tmp_path / "cpuinfo").write_text(f"flags\t\t: {flags}\n")
    found = machine.native_formats(tmp_path / "cpuinfo")
    assert found == native
    monkeypatch.setattr(machine, "native_formats", lambda: found)
    formats = {"fp32", *native}
    assert chosen(None, "cpu") == [name for name in BACKENDS if name.split("-")[1] in formats]


def test_what_is_not_installed_is_left_out_or_refused(monkeypatch):
    lacking = {"onnx-fp32": ["onnxruntime"], "compile-fp32": ["g++"]}
    monkeypatch.setattr(Backend, "missing", property(lambda own: lacking.get(own.name, [])))
    monkeypatch.setattr(machine, "native_formats", set)
    assert chosen(None, "cpu") == ["torch-fp32", "openvino-fp32"]
    message = (
        r"^measure\.backends: onnx-fp32 needs onnxruntime; .*pip install 'lotbench\[deploy\]'$"
    )
    with pytest.raises(InputError, match=message):
        chosen(["onnx-fp32", "torch-fp32"], "cpu")
    with pytest.raises(InputError, match=r"^measure\.backends: compile-fp32 needs g\+\+; .* it$"):
        chosen(["compile-fp32"], "cpu")


def test_a_gpu_runs_torch_and_compile(installed):
    given = ["onnx-fp32", "compile-bf16", "torch-bf16"]
    assert chosen(given, "cpu") == ["torch-bf16", "compile-bf16", "onnx-fp32"]
    assert chosen(given, "cuda:0") == ["torch-bf16", "compile-bf16"]
    with pytest.raises(InputError, match="none of them runs a reduced model on cuda:0; add torch"):
        chosen(["onnx-fp32"], "cuda:0")


def test_the_dense_model_alone_is_not_enough(installed):
    with pytest.raises(InputError, match="none of them runs a reduced model on cpu; add torch"):
        chosen(["compile-fp32", "compile-bf16"], "cpu")


def test_runtimes_are_the_versions_of_what_the_backends_need():
    versions = {"onnx": "1", "onnxruntime": "2", "openvino": "3", "tokenizers": "4"}
    # The tokenisers are first and last; neither of the fast ones is installed, nor onnxscript.
    assert runtimes(["torch-fp32"], versions) == (None, None, "4")
    both = runtimes(["onnx-int8", "torch-fp32"], versions)
    assert both == (None, None, "1", "2", None, "4")
