"""A reduced encoder as one ONNX graph.

The packed path of the engine is exported as it is, for every method.  All layouts are `Traced`, so
the graph gathers and scatters by tensors of its own and holds for any batch size and length.
A method with ``padded = True`` is exported as the untouched Hugging Face model.
"""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from copy import copy
from dataclasses import dataclass
from io import StringIO
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from lotbench import registry
from lotbench.backends import need
from lotbench.batch import Batch
from lotbench.deploy import onnx_operators
from lotbench.engine.encoder import ReducedEncoder
from lotbench.engine.pooling import Pooling
from lotbench.engine.traced import Traced
from lotbench.errors import InputError
from lotbench.ragged import segment_weighted_sum, select
from lotbench.reducer import Outputs

if TYPE_CHECKING:
    import onnx
    import onnx_ir as ir

INPUTS = ("input_ids", "attention_mask", "token_type_ids")
"""The inputs of every graph, int64 of shape (batch, length)."""
BUDGET, SEED = "budget", "text_seed"
LOGITS, VECTORS, TOKENS = "logits", "sentence_embedding", "last_hidden_state"
"""The output of a classifier, and those of an embedding model, by their usual names."""
OWN = re.compile(r"(^|\.)(reducer|pooling)\.")
"""Names of the weights that belong to the method or the pooling, not to the backbone."""
OPSET = 20
"""The first with one operator for GELU."""


@dataclass(frozen=True)
class ExportedGraph:
    """An ONNX graph of a method."""

    model: onnx.ModelProto
    budget: Any
    """The budget of the graph: the default of the input `BUDGET` if ``fixed`` is None."""
    fixed: str | None
    """Why the budget is no input of the graph; None if it is, or if the method has no budget."""


class _GraphBatch(Batch):
    """A batch that has only what the graph is given."""

    def __init__(self, **fields: Tensor | Traced) -> None:
        vars(self).update(fields)

    def __getattr__(self, name: str) -> Any:
        raise NotImplementedError(f"it reads batch.{name}, which an exported model is not given")


class _Graph(nn.Module):
    """The function that is exported: padded inputs to logits, or to states and vectors."""

    def __init__(self, encoder: ReducedEncoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        token_type_ids: Tensor,
        extra: dict[str, Tensor],
    ) -> Tensor | tuple[Tensor, Tensor]:
        encoder, reducer = self.encoder, self.encoder.reducer
        backbone, pooling = encoder.backbone, encoder.backbone.pooling
        if reducer.padded:
            typed = getattr(backbone.config, "type_vocab_size", 0) > 1  # as where dense is timed
            types = {INPUTS[2]: token_type_ids} if typed else {}
            answer = backbone.model(input_ids=input_ids, attention_mask=attention_mask, **types)
            if pooling is None:
                return answer.logits
            states = answer.last_hidden_state
            return states, pooling.padded(states, attention_mask)
        rows, layout = Traced.of_mask(attention_mask.bool())
        batch = _GraphBatch(
            input_ids=input_ids.flatten().index_select(0, rows),
            token_type_ids=token_type_ids.flatten().index_select(0, rows),
            layout=layout,
            text_seed=extra[SEED],
        )
        if BUDGET in extra:
            name, reducer = reducer.budget_name, copy(reducer)
            assert name is not None, "only a method with a budget has the input"
            setattr(reducer, name, extra[BUDGET])  # not checked: it has no value yet
        outputs = encoder(batch, reducer=reducer)
        if pooling is None:
            return outputs.logits
        return _states(outputs, pooling, rows, layout), outputs.logits


def _states(outputs: Outputs, pooling: Pooling, rows: Tensor, layout: Traced) -> Tensor:
    """States of all tokens ``(B, S, D)`` whose pooling is the sentence vector.

    Runtimes pool what the graph gives, over all tokens of the mask.  So the tokens that the last
    layer did not compute, whether they leapt or were dropped, share the state that makes the mean
    right.  After drops alone it is the mean of the others.  ``rows`` (T,) has the place of each
    token of the batch in the flattened mask, and ``layout`` is that of the batch.
    """
    hidden, present, at = outputs.hidden, outputs.layout, rows.index_select(0, outputs.rows)
    shared = pooling.pool(hidden, present, outputs.behind)
    if outputs.behind is not None:
        kept, present = select(~outputs.behind, present)
        hidden, at = hidden.index_select(0, kept), at.index_select(0, kept)
    if pooling.kind == "mean":
        missing = (layout.lengths - present.lengths).clamp(min=1)
        total = shared * layout.lengths[:, None] - segment_weighted_sum(None, hidden, present)
        shared = total / missing[:, None]
    states = shared[:, None].expand(-1, layout.max_length, -1).flatten(0, 1)
    return states.index_copy(0, at, hidden).unflatten(0, (-1, layout.max_length))


def export(encoder: ReducedEncoder) -> ExportedGraph:
    """The graph of a model at its present budget.

    The budget is an input of the graph, unless the method needs its value while it is exported.
    """
    need("onnx", "onnxscript")
    budget, fixed = encoder.reducer.budget if encoder.reducer.budget_name else None, None
    if isinstance(budget, int | float):
        try:
            return ExportedGraph(_export(encoder, budget), budget, None)
        except InputError as error:
            fixed = str(error)
    elif budget is not None:
        fixed = "it is not a number"
    return ExportedGraph(_export(encoder, None), budget, fixed)


def _export(encoder: ReducedEncoder, budget: float | None) -> onnx.ModelProto:
    """The graph; if a budget is given, it is an input, of which that is the default."""
    # The exporter takes sizes of 0 and 1 for constants, and eight texts make groups of six and two.
    ids = torch.ones(8, 8, dtype=torch.int64)
    mask = ids.clone()
    mask[1, 5:] = 0
    extra = {SEED: torch.zeros(8, dtype=torch.int64)}
    if budget is not None:
        kind = torch.int64 if isinstance(budget, int) else torch.float64
        extra[BUDGET] = torch.tensor(budget, dtype=kind)
    dynamic = torch.export.Dim.DYNAMIC
    sizes = {0: dynamic, 1: dynamic}
    extra_sizes = {name: {0: dynamic} if x.dim() else {} for name, x in extra.items()}
    with silent(), torch.no_grad(), _eager(encoder.backbone.model):
        try:
            program = torch.export.export(
                _Graph(encoder).eval(),
                (ids, mask, torch.zeros_like(ids), extra),
                dynamic_shapes=(sizes, sizes, sizes, extra_sizes),
            )
            program.graph.eliminate_dead_code()  # the counts of the trace
            made = torch.onnx.export(
                program,
                input_names=[*INPUTS, *extra],
                output_names=[LOGITS] if encoder.backbone.pooling is None else [TOKENS, VECTORS],
                opset_version=OPSET,
                custom_translation_table=onnx_operators.table(),
                optimize=False,  # slow, and the runtimes optimise the graph when they load it
                verbose=False,
            )
        except Exception as error:
            name = getattr(encoder.reducer, "name", "")
            why = registry.located(error, type(encoder.reducer))
            if "data-dependent" in str(error):
                python = "Python code depends on the value of a tensor, which a graph cannot follow"
                why = f"{python}: {why}"
            raise InputError(f"method {name!r}: {why}") from error
        assert made is not None
        tidy(made.model)
        return _finished(made.model_proto, budget)


@contextmanager
def _eager(model: Any) -> Iterator[None]:
    """Gives a Hugging Face model plain attention; sdpa's graph checks for rows all masked."""
    before = model.config._attn_implementation
    model.set_attn_implementation("eager")
    try:
        yield
    finally:
        model.set_attn_implementation(before)


def tidy(model: ir.Model) -> None:
    """Computes what is constant, and removes what is computed twice or not used."""
    from onnx_ir.passes import Sequential, common
    from onnxscript.optimizer import fold_constants

    _name_computed(model)
    # Without limits: the transposed weights of 3-d products are constants, and only those are
    # quantised.
    fold_constants(model, input_size_limit=2**31, output_size_limit=2**31)
    Sequential(
        common.InlinePass(),
        common.IdentityEliminationPass(),
        # Equal constants are one, or what is computed from them would not be seen to be equal.
        common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
        common.DeduplicateInitializersPass(),
        common.CommonSubexpressionEliminationPass(),
        common.RemoveUnusedNodesPass(),
        common.RemoveUnusedFunctionsPass(),
        common.RemoveUnusedOpsetsPass(),
    )(model)


def _name_computed(model: ir.Model) -> None:
    """Gives constants that are computed from weights of the method or the pooling their names.

    By its name the quantiser tells a constant from the weights of the backbone.
    """
    known = set(model.graph.initializers.values())
    for node in model.graph:
        inputs = [value for value in node.inputs if value is not None]
        if not known.issuperset(inputs):
            continue
        known.update(node.outputs)
        owners = [value.name for value in inputs if value.name and OWN.search(value.name)]
        for value in node.outputs if owners else ():
            value.name = f"{owners[0]}.{value.name}"


def _finished(model: onnx.ModelProto, budget: float | None) -> onnx.ModelProto:
    """The graph with named sizes, and with a default value of the budget if there is one."""
    from onnx import helper

    graph = model.graph
    sizes = ("batch", "length")
    for value in [*graph.input, *graph.output]:
        for axis, name in zip(value.type.tensor_type.shape.dim, sizes, strict=False):
            if axis.dim_param or value.name in INPUTS:
                axis.dim_param = name
    del graph.value_info[:]  # it names the sizes as the exporter did
    read = {name for node in graph.node for name in node.input}
    if SEED not in read:  # the method does not draw at random
        graph.input.remove(next(value for value in graph.input if value.name == SEED))
    if budget is not None:
        (value,) = [value for value in graph.input if value.name == BUDGET]
        kind = value.type.tensor_type.elem_type
        graph.initializer.append(helper.make_tensor(BUDGET, kind, [], [budget]))
    return model


@contextmanager
def silent() -> Iterator[None]:
    """Hides what the exporter logs, warns about and prints; exceptions say what matters."""
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
