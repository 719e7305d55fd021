"""All rules of `lotbench check`, in order, and the verdict on each for a method."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch

from lotbench.conformance import exported, learning, rules
from lotbench.conformance.outcome import Broken, NotSeen, crash
from lotbench.conformance.subject import Subject
from lotbench.errors import InputError

Outcome = Literal["ok", "failed", "not seen", "not run"]


@dataclass(frozen=True)
class Rule:
    """A rule: its one-line title and its check."""

    title: str
    check: Callable[[Subject], str]


@dataclass(frozen=True)
class Verdict:
    """The outcome of a rule; ``detail`` says what was observed, or what is wrong on which input."""

    rule: Rule
    outcome: Outcome
    detail: str = ""


def _no(kind: str) -> Callable[[Subject], str]:
    return partial(rules.no_fault, kind=kind)


def _of_vectors(rule: Rule) -> Rule:
    """The rule on a model that gives sentence vectors, not logits."""
    return Rule(f"sentence vectors: {rule.title}", lambda subject: rule.check(subject.pooled))


# Rules of logits and of sentence vectors.
OF_BOTH = (
    Rule("a text does not depend on its batch", rules.ignores_neighbours),
    Rule("the packed path equals the reference", rules.modes_agree),
    Rule("keeping everything equals the untouched model", rules.equals_dense),
    Rule("its FLOPs equal the count of fvcore", rules.counts_flops),
    Rule("every stage trains", learning.trains),
)
EXPORTED = Rule("the exported graph equals the packed path", exported.equals_packed)

# A group runs only if no rule of the groups before it has failed, since it builds on them.
GROUPS: tuple[tuple[Rule, ...], ...] = (
    (Rule("class, stages, budget and needs are sound", rules.is_sound),),
    (Rule("decides in evaluation, in both modes", rules.runs),),
    (
        Rule("the first token is always kept", _no("first token")),
        Rule("decisions are hard, except in soft stages", _no("soft")),
        Rule("declared sizes equal the sizes of the mask", _no("sizes")),
        Rule("what merges is of one text and goes into a token that stays", _no("groups")),
        Rule("its inputs are not changed", _no("mutation")),
    ),
    (Rule("decisions in evaluation are deterministic", rules.is_deterministic),),
    (Rule("decisions in evaluation ignore the labels", rules.ignores_labels), *OF_BOTH),
    (
        Rule("every parameter that should learn gets a gradient", learning.gives_gradients),
        Rule("training is reproducible", learning.is_reproducible),
        Rule("a saved model decides as before", learning.survives_saving),
    ),
    tuple(map(_of_vectors, OF_BOTH)),
    (EXPORTED,),
    (_of_vectors(EXPORTED),),
    (Rule("learns real text with fewer tokens", learning.learns),),
)


def examine(
    subject: Subject,
    begin: Callable[[Rule], None] | None = None,
    groups: tuple[tuple[Rule, ...], ...] = GROUPS,
) -> Iterator[Verdict]:
    """Yields the verdict on each rule, in order; ``begin`` is called with each before its check."""
    _ = subject.params
    threads = torch.get_num_threads()
    # A tiny model gains nothing from a second thread, and on a busy machine it waits for it.
    torch.set_num_threads(1)
    failed = False
    try:
        for group in groups:
            builds_on_failed = failed
            for rule in group:
                if builds_on_failed:
                    yield Verdict(rule, "not run")
                    continue
                if begin is not None:
                    begin(rule)
                try:
                    verdict = Verdict(rule, "ok", rule.check(subject))
                except NotSeen as error:
                    verdict = Verdict(rule, "not seen", str(error))
                except Broken as error:
                    verdict = Verdict(rule, "failed", str(error))
                except InputError:
                    raise
                except Exception as error:
                    verdict = Verdict(rule, "failed", crash(error, subject.cls))
                failed = failed or verdict.outcome == "failed"
                yield verdict
    finally:
        torch.set_num_threads(threads)
