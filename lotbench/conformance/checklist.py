"""All rules in order, and their outcome for a method."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import torch

from lotbench.conformance import learning, rules
from lotbench.conformance.outcome import Broken, NotSeen, crash
from lotbench.conformance.subject import Subject
from lotbench.errors import InputError

Outcome = Literal["ok", "failed", "not seen", "not run"]


@dataclass(frozen=True)
class Rule:
    """A rule by its one-line title."""

    title: str
    check: Callable[[Subject], str]


@dataclass(frozen=True)
class Verdict:
    """A rule's outcome; ``detail`` says what was seen, or what is wrong and on which input."""

    rule: Rule
    outcome: Outcome
    detail: str = ""


# A group is run when all rules of the groups before it hold: it builds on them.
GROUPS: tuple[tuple[Rule, ...], ...] = (
    (Rule("class, stages, budget and needs are sound", rules.is_sound),),
    (Rule("decides in evaluation, in both modes", rules.runs),),
    (
        Rule("the first token is always kept", rules.keeps_first),
        Rule("decisions are hard but in soft stages", rules.is_hard),
        Rule("sizes that are promised are those of the mask", rules.keeps_its_promise),
        Rule("nothing it is given is changed", rules.mutates_nothing),
    ),
    (Rule("decisions in evaluation are deterministic", rules.is_deterministic),),
    (
        Rule("decisions in evaluation ignore the labels", rules.ignores_labels),
        Rule("no other text of the batch matters", rules.ignores_neighbours),
        Rule("the packed path equals the reference", rules.modes_agree),
        Rule("keeping everything equals the untouched model", rules.equals_dense),
        Rule("its FLOPs equal those that fvcore counts", rules.counts_flops),
        Rule("every stage trains", learning.trains),
    ),
    (
        Rule("every parameter that should learn gets a gradient", learning.gives_gradients),
        Rule("training is reproducible", learning.is_reproducible),
        Rule("a saved model decides as before", learning.survives_saving),
    ),
    (Rule("learns real text with fewer tokens", learning.learns),),
)


def examine(subject: Subject, begin: Callable[[Rule], None] | None = None) -> Iterator[Verdict]:
    """The verdict on each rule, in order, as it is reached.

    Raises
    ------
    InputError
        If the hyper-parameters do not fit, or what the real run reads is not installed.
    """
    _ = subject.params
    threads = torch.get_num_threads()
    # Models this small gain nothing from a second thread, and on a busy machine they wait for it.
    torch.set_num_threads(1)
    try:
        yield from _examine(subject, begin)
    finally:
        torch.set_num_threads(threads)


def _examine(subject: Subject, begin: Callable[[Rule], None] | None) -> Iterator[Verdict]:
    held = True
    for group in GROUPS:
        verdicts = []
        for rule in group:
            if held and begin is not None:
                begin(rule)
            verdicts.append(_judge(rule, subject) if held else Verdict(rule, "not run"))
            yield verdicts[-1]
        held = held and all(verdict.outcome != "failed" for verdict in verdicts)


def _judge(rule: Rule, subject: Subject) -> Verdict:
    try:
        return Verdict(rule, "ok", rule.check(subject))
    except NotSeen as error:
        return Verdict(rule, "not seen", str(error))
    except Broken as error:
        return Verdict(rule, "failed", str(error))
    except InputError:
        raise
    except Exception as error:
        return Verdict(rule, "failed", crash(error, subject.cls))
