"""Short translations of operators: same numbers as PyTorch, and the plain cases are short."""

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from lotbench.deploy import onnx_operators as translate
from lotbench.deploy.graph import OPSET, silent, tidy

pytestmark = pytest.mark.slow


class Functions(nn.Module):
    def __init__(self, computed: Sequence[Callable[..., Tensor]]) -> None:
        super().__init__()
        self.computed = computed

    def forward(self, states: Tensor, rows: Tensor, mask: Tensor) -> list[Tensor]:
        return [compute(states, rows, mask) for compute in self.computed]


def operators(computed: Sequence[Callable[..., Tensor]]) -> Counter[str]:
    """The operators of a graph of all functions, each of which is checked against PyTorch."""
    values = (
        torch.arange(24.0).view(4, 2, 3),
        torch.tensor([3, 0]),
        torch.tensor([True, False, True, False]),
    )
    sizes = tuple({0: torch.export.Dim.DYNAMIC} for _ in values)
    functions = Functions(computed)
    with silent(), torch.no_grad():
        made = torch.onnx.export(
            torch.export.export(functions, values, dynamic_shapes=sizes),
            input_names=["states", "rows", "mask"],
            opset_version=OPSET,
            custom_translation_table=translate.table(),
            optimize=False,
            verbose=False,
        )
    assert made is not None
    tidy(made.model)
    session = onnxruntime.InferenceSession(made.model_proto.SerializeToString())
    names = [value.name for value in session.get_inputs()]
    given = dict(zip(["states", "rows", "mask"], values, strict=True))
    found = session.run(None, {name: given[name].numpy() for name in names})
    for one, other in zip(found, functions(*values), strict=True):
        np.testing.assert_array_equal(np.asarray(one), other.numpy())
    return Counter(node.op_type for node in made.model.graph)


def test_a_plain_case_is_one_operator():
    found = operators(
        [
            lambda x, rows, mask: x.index_select(1, rows // 3),
            lambda x, rows, mask: x[rows],
            lambda x, rows, mask: x[torch.stack([rows, rows - 4])],
            lambda x, rows, mask: x[:, :, rows - 1],
            lambda x, rows, mask: x.index_copy(0, rows, x[rows] + 1),
            lambda x, rows, mask: x[:, None, 0:].neg(),
            lambda x, rows, mask: x.flatten(1).abs(),
            lambda x, rows, mask: x.flatten(1).unflatten(1, (3, 2)),
        ]
    )
    expected = {"Gather": 4, "ScatterND": 1, "Reshape": 2}
    assert {name: found[name] for name in expected} == expected
    longer = {"GatherND", "Transpose", "Expand", "Shape", "Slice", "Max"}
    assert not found.keys() & longer


def test_rows_that_were_just_written_are_not_read_again():
    found = operators(
        [lambda x, rows, mask: x.index_copy(0, rows, -x[rows - 1]).index_select(0, rows)]
    )
    assert (found["Gather"], found["ScatterND"]) == (1, 0)


def test_the_rows_of_a_mask_are_not_turned_twice():
    found = operators([lambda x, rows, mask: mask.nonzero().squeeze(1)])
    assert found == {"NonZero": 1, "Squeeze": 1}


def test_equal_sizes_with_different_symbols_are_a_plain_case():
    def written(x: Tensor, rows: Tensor, mask: Tensor) -> Tensor:
        at, source = mask.nonzero().squeeze(1), (~mask).nonzero().squeeze(1)
        torch._check(at.shape[0] == source.shape[0])
        return x.index_copy(0, at, x[source])

    found = operators([written])
    assert found["ScatterND"] == 1
    assert "Expand" not in found


def test_every_other_case_computes_the_same():
    operators(
        [
            lambda x, rows, mask: x[mask],
            lambda x, rows, mask: x[rows, rows % 2],
            lambda x, rows, mask: x.index_select(0, rows[0]),
            lambda x, rows, mask: x.index_put((rows,), x[:1]),
            lambda x, rows, mask: x.index_put((rows,), x[:2], accumulate=True),
            lambda x, rows, mask: x.index_put((mask,), x[:1] * 0),
            lambda x, rows, mask: x.index_copy(0, rows, -x[rows - 1]).index_select(0, 3 - rows),
            lambda x, rows, mask: x.index_put((rows,), x[rows], accumulate=True).index_select(
                0, rows
            ),
            lambda x, rows, mask: x[:, :1].squeeze(1),
            lambda x, rows, mask: x.index_put((rows, rows % 2), x[:1, 0]),
            lambda x, rows, mask: x[1:, :, ::2],
            lambda x, rows, mask: x[:0].view(2, 0),
            lambda x, rows, mask: (x[:, None] * rows[:, None, None]).flatten(0, 1),
            lambda x, rows, mask: x.view(-1, 1, 6).expand(-1, rows.shape[0], -1),
            lambda x, rows, mask: (x % 5).argsort(dim=0, descending=True, stable=True),
            lambda x, rows, mask: torch.arange(rows.max().item()),
            lambda x, rows, mask: x.new_zeros(int(x.sum().item() * 0 + 1)),
        ]
    )
