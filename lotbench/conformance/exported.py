"""The rule on exported models: the ONNX graph equals the packed path."""

from __future__ import annotations

from copy import deepcopy

import numpy as np

from lotbench.batch import Batch
from lotbench.conformance.answers import answer
from lotbench.conformance.outcome import Broken, NotSeen, on
from lotbench.conformance.subject import Subject
from lotbench.conformance.texts import BATCHES, RAGGED, batch
from lotbench.deploy.graph import export
from lotbench.deploy.session import Session, feed, open_session
from lotbench.engine.encoder import ReducedEncoder
from lotbench.errors import InputError

CLOSE = 1e-4
SHALLOW = 2
"""Layers of the exported model, since each costs seconds; all layers if the method needs them."""


def equals_packed(subject: Subject) -> str:
    """The exported graph gives the outputs of the packed path, in float32.

    Texts on which float32 and float64 decide differently are counted and not compared.
    """
    try:
        encoder = subject.randomised(1, SHALLOW)
    except InputError:  # such as one parameter for each layer
        encoder = subject.randomised(1)
    exact = deepcopy(encoder).double()
    try:
        exported = export(encoder)
    except InputError as error:
        raise NotSeen(str(error)) from None
    session = open_session(exported.model.SerializeToString(), "onnx-fp32", threads=1)
    budget = exported.budget if isinstance(exported.budget, int | float) else None
    movable = budget is not None and exported.fixed is None
    alone = {f"text {text} alone": (text,) for text in (RAGGED[0], RAGGED[3])}
    compared = flipped = 0
    most = 0.0
    for value in [budget, *(subject.budgets_to_try(budget) if movable else [])]:
        if value is not None:
            encoder.reducer.budget = exact.reducer.budget = value
        at = "" if value is None else f", {encoder.reducer.budget_name}={value:g}"
        for name, rows in (BATCHES | alone).items():
            with on(subject.cls, name + at):
                limit = value if movable else None
                off, flips = _compare(encoder, exact, session, batch(rows), limit)
            compared, flipped = compared + len(off), flipped + flips
            most = max([most, *off])
    fixed = "" if exported.fixed is None else f"; the budget is fixed: {exported.fixed}"
    return f"outputs of {compared} texts within {most:.0e}, {flipped} decided differently{fixed}"


def _compare(
    encoder: ReducedEncoder,
    exact: ReducedEncoder,
    session: Session,
    data: Batch,
    budget: float | None,
) -> tuple[list[float], int]:
    """Differences of outputs by text, and the number of texts that were not compared.

    ``exact`` is the encoder in float64.  A difference that is too large is refused.
    """
    packed, wanted = answer(encoder, data), answer(exact, data)
    flipped = packed.flipped(wanted)
    rows = [x.split(data.layout.sizes) for x in (data.input_ids, data.token_type_ids)]
    ids, types = ([row.tolist() for row in split] for split in rows)
    outputs = session(feed(session.inputs, ids, types, data.text_seed.tolist(), budget=budget))
    off = []
    for text, output in zip(data.index.tolist(), outputs, strict=True):
        if text in flipped:
            continue
        off.append(float(np.abs(output - packed.logits[text].numpy()).max()))
        if not off[-1] <= CLOSE:
            raise Broken(
                f"text {text}: outputs of the exported graph and of the packed path differ by "
                f"{off[-1]:.1e}"
            )
    return off, len(flipped)
