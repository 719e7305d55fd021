"""Rules on decisions: each is a function that returns a note or raises `Broken`.

All compare in float64 on a tiny random BERT, where a difference cannot be rounding.
"""

from __future__ import annotations

import random
from collections.abc import Set
from copy import deepcopy

import numpy as np
import torch

from lotbench.conformance.answers import Case, answer, compare
from lotbench.conformance.outcome import Broken, NotSeen, on
from lotbench.conformance.subject import TINY_LAYERS, Subject
from lotbench.conformance.texts import BATCHES, RAGGED, UNIFORM, batch, pairs
from lotbench.conformance.tiny import CLASSES
from lotbench.engine.encoder import MODES, ReducedEncoder
from lotbench.measure.flops import fvcore_flops, reduced_flops
from lotbench.reducer import Look, Stage
from lotbench.trial.saliency import SALIENCIES
from lotbench.trial.training import prefix_of, stage_steps

NEEDS = frozenset({"received_attention", "keys", "teacher_logits", *SALIENCIES})
EXACT, CLOSE = 1e-10, 1e-8


def is_sound(subject: Subject) -> str:
    """The class can be built, and what it declares exists."""
    with on(subject.cls, f"built for {TINY_LAYERS} layers"):
        reducer = subject.fresh().reducer
        stages = reducer.stages()
        if not stages or not all(isinstance(stage, Stage) for stage in stages):
            raise Broken(f"stages() returns {stages!r}; a list of Stage is needed")
        stage_steps(stages, 10_000)
        names = [name for name, _ in reducer.named_parameters()]
        for stage in stages:
            named = [f for f in stage.frozen if f not in ("backbone", "reducer")]
            for prefix in [*named, *stage.learning_rates]:
                if not any(prefix_of(name, [prefix]) for name in names):
                    raise Broken(
                        f"stage {stage.name!r} names {prefix!r}, which is not a parameter; "
                        f"its parameters: {', '.join(names) or 'none'}"
                    )
        if not isinstance(reducer.needs, Set):
            raise Broken(f"needs is a {type(reducer.needs).__name__}; a set of names is needed")
        unknown = sorted(reducer.needs - NEEDS)
        if unknown:
            raise Broken(f"needs {unknown}; the engine can give {sorted(NEEDS)}")
        look = reducer.look_with(reducer.params, TINY_LAYERS)
        if not isinstance(look, Look):
            raise Broken(f"look_with() returns {look!r:.60}; a lotbench.reducer.Look is needed")
        budget = reducer.budget_name
        if budget and not hasattr(reducer, budget):
            raise Broken(f"budget_name = {budget!r}, but the method has no such attribute")
        for stage in stages:
            reducer.start_stage(stage)
            for name, parameter in reducer.named_parameters():
                if not parameter.requires_grad:
                    raise Broken(
                        f"{name} has requires_grad=False (stage {stage.name!r}), which the trainer "
                        "ignores; name it in stage.frozen, or register it as a buffer"
                    )
        return f"{len(stages)} stages" if len(stages) > 1 else "1 stage"


def runs(subject: Subject) -> str:
    """Decisions have the right form, and logits are finite, in both modes."""
    for label, name, mode, _, outputs in subject.watched:
        if not outputs.logits.isfinite().all():
            raise Broken(f"outputs that are not finite; {label}, {name}, {mode}")
    for part in subject.staged:
        if part.error and not part.training:  # that of training breaks another rule
            raise part.error
    return f"{len(subject.cases)} cases x {len(BATCHES)} batches x 2 modes"


def is_deterministic(subject: Subject) -> str:
    """The same batch gives the same decisions and logits, for any random state."""
    for case in subject.cases:
        for name, rows in BATCHES.items():
            with on(subject.cls, f"{case.label}, {name}"):
                seed_all(1)
                one = case.answer(rows)
                seed_all(2)
                again = answer(case.encoder, batch(rows))
                compare(one, again, "at first", "the second time", 0.0)
    return ""


def seed_all(number: int) -> None:
    """Sets the random state of the whole process, which no method may depend on."""
    for module in (torch.manual_seed, np.random.seed, random.seed):
        module(number)


def ignores_labels(subject: Subject) -> str:
    """Decisions in evaluation do not depend on the labels."""
    for case in subject.cases:
        relabelled = batch()
        relabelled.labels = (relabelled.labels + 1) % CLASSES
        with on(subject.cls, f"{case.label}, ragged batch"):
            other = answer(case.encoder, relabelled)
            compare(case.answer(), other, "with one label", "with another", 0.0)
    return ""


def ignores_neighbours(subject: Subject) -> str:
    """Decisions and logits of a text do not depend on its row, its batch or the order in it."""
    half = len(RAGGED) // 2
    elsewhere = batch()
    elsewhere.index = elsewhere.index.flip(0) + 100
    for case in subject.cases:
        with on(subject.cls, case.label):
            together = case.answer()
            other = answer(case.encoder, elsewhere, named=batch())
            compare(together, other, "in one row of its split", "in another", 0.0)
        for how, rows in (
            *((f"alone (text {row})", (row,)) for row in RAGGED),
            ("in a batch in reverse order", RAGGED[::-1]),
            ("in a batch of half the size", RAGGED[half:]),
            ("among other texts", (*UNIFORM, *RAGGED)),
        ):
            with on(subject.cls, case.label):
                compare(together, case.answer(rows), f"in a batch of {len(RAGGED)}", how, CLOSE)
    return ""


def knows_both_texts(subject: Subject) -> str:
    """A pair has the same decisions and logits with and without token types."""
    backbone = deepcopy(subject.cases[0].encoder.backbone)
    with torch.no_grad():  # of equal embeddings, so that states do not differ
        for name, table in backbone.named_parameters():
            if "token_type" in name:
                table.copy_(table[:1].expand_as(table))
    for case in subject.cases:
        encoder = ReducedEncoder(backbone, case.encoder.reducer).eval()
        with on(subject.cls, f"{case.label}; batch.text_of_token needs no token types"):
            one, other = (answer(encoder, pairs(typed)) for typed in (True, False))
            compare(one, other, "with token types", "without", CLOSE)
    return ""


def modes_agree(subject: Subject) -> str:
    """The packed path equals the reference: decisions, counts, outputs."""
    most = 0.0
    for case in subject.cases:
        for name, rows in BATCHES.items():
            with on(subject.cls, f"{case.label}, {name}"):
                packed, reference = (case.answer(rows, mode) for mode in MODES)
                off = compare(packed, reference, "packed", "in the reference", CLOSE)
                most = max(most, off)
                for counted in ("embedded", "shown", "queries", "keys", "feed_forward"):
                    pair = (getattr(a.outputs.trace, counted) for a in (packed, reference))
                    one, other = (x if isinstance(x, list) else [x] for x in pair)
                    for layer, (here, there) in enumerate(zip(one, other, strict=True)):
                        if not here.equal(there):
                            text = int((here != there).nonzero()[0])
                            raise Broken(
                                f"{counted}: layer {layer}, text {text}: {int(here[text])} "
                                f"packed, {int(there[text])} in the reference"
                            )
    return f"outputs within {most:.0e}"


def equals_dense(subject: Subject) -> str:
    """A text with all tokens kept has the outputs of the untouched model."""
    seen, most = 0, 0.0
    if not subject.fresh().reducer.active_layers:
        raise NotSeen("it runs no layer")
    for case in subject.cases:
        for name, rows in BATCHES.items():
            with on(subject.cls, f"{case.label}, {name}"):
                reduced = case.answer(rows)
            touched, texts = {text for _, _, text in reduced.left_out}, torch.tensor(rows)
            whole = torch.tensor([text not in touched for text in rows])
            off = (reduced.outputs.logits - subject.untouched[name]).abs().amax(1)[whole]
            if off.numel() and (worst := float(off.max())) > EXACT:
                text = int(texts[whole][off.argmax()])
                raise Broken(
                    f"text {text}: outputs differ by {worst:.1e} from the untouched model, "
                    f"though every token was kept; {case.label}, {name}"
                )
            # Texts of up to three tokens do not count: most methods keep them whole.
            seen += int((whole & (reduced.outputs.trace.lengths > 3)).sum())
            most = max(most, float(off.max()) if off.numel() else 0.0)
    if not seen:
        raise NotSeen("no text was kept whole at any budget tried")
    return f"{seen} texts kept whole, outputs within {most:.0e}"


def counts_flops(subject: Subject) -> str:
    """Analytic FLOPs equal twice fvcore's multiply-adds of the packed path, in any batch.

    fvcore is slow, so it counts every case and every text at least once, but not each with each.
    """
    texts, cases = len(RAGGED), subject.cases
    for i, case in enumerate(cases):
        with on(subject.cls, f"{case.label}, ragged batch"):
            _charges_each_text(case)
        for row in range(i % texts, texts, len(cases)):
            data, encoder = batch((row,)), case.encoder
            size = data.layout.total
            with on(subject.cls, f"text {row} ({size} tokens), {case.label}"):
                trace = case.answer((row,)).outputs.trace
                ours = reduced_flops(trace, encoder.backbone, encoder.reducer).item()
                if off := ours - (counted := fvcore_flops(encoder, data)):
                    raise Broken(
                        f"{ours:,.0f} FLOPs with overhead_flops, but fvcore counts "
                        f"{counted:,.0f}: {off:+,.0f}, that is {off / size:+,.1f} a token"
                    )
    return ""


def _charges_each_text(case: Case) -> None:
    """The method's own FLOPs for a text depend on its number of tokens alone."""
    trace, reducer = case.answer().outputs.trace, case.encoder.reducer
    early = [trace.lengths] * bool(trace.decisions("before_embedding"))
    for layer, tokens in enumerate([*early, *trace.shown], start=-len(early)):
        together = torch.as_tensor(reducer.overhead_flops(layer, tokens.double()))
        if together.shape not in ((), tokens.shape):
            raise Broken(
                f"overhead_flops returns shape {tuple(together.shape)}; a number or (B,) needed"
            )
        for text, charged in enumerate(together.expand(tokens.shape).tolist()):
            one = tokens[text : text + 1].double()
            alone = float(reducer.overhead_flops(layer, one))
            if charged != alone:
                raise Broken(
                    f"overhead_flops of layer {layer} charges text {text} ({int(one)} tokens) "
                    f"{charged:,.0f} in a batch of {len(tokens)}, {alone:,.0f} alone"
                )


def no_fault(subject: Subject, kind: str) -> str:
    """Decisions have no fault of this kind (see `Watch`), in evaluation and training."""
    for label, name, mode, watch, _ in subject.watched:
        if kind in watch.faults:
            raise Broken(f"{watch.faults[kind]}; {label}, {name}, {mode}")
    for part in subject.staged:
        if kind in part.faults:
            raise Broken(f"{part.faults[kind]}; {part.where}")
    return ""
