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
    """A rule: its one-line title, its check, and the rules that it rests on.

    It runs if none of those failed.  If one did, it would fail, too, for the same reason.
    """

    title: str
    check: Callable[[Subject], str]
    rests_on: tuple[Rule, ...] = ()


@dataclass(frozen=True)
class Verdict:
    """The outcome of a rule.

    ``detail`` says what was observed, what is wrong on which input, or, of a rule that was not run,
    which rule it rests on.
    """

    rule: Rule
    outcome: Outcome
    detail: str = ""


def _of_vectors(rule: Rule, *rests_on: Rule) -> Rule:
    """The rule on a model that gives sentence vectors, not logits."""
    title = f"sentence vectors: {rule.title}"
    return Rule(
        title, lambda subject: rule.check(subject.pooled), (rule, *rule.rests_on, *rests_on)
    )


SOUND = Rule("class, stages, budget and needs are sound", rules.is_sound)
RUNS = Rule("decides in evaluation, in both modes", rules.runs, (SOUND,))


def _no(kind: str, title: str) -> Rule:
    return Rule(title, partial(rules.no_fault, kind=kind), (SOUND, RUNS))


FORM = (
    _no("first token", "the first token is always kept"),
    _no("soft", "decisions are hard, except in soft stages"),
    _no("sizes", "declared sizes equal the sizes of the mask"),
    _no("groups", "what merges is of one text and goes into a token that stays"),
    _no("mutation", "its inputs are not changed"),
)
"""What the engine needs to carry out a decision, in evaluation and in training."""
DETERMINISTIC = Rule(
    "decisions in evaluation are deterministic", rules.is_deterministic, (SOUND, RUNS, *FORM)
)
STABLE = (SOUND, RUNS, *FORM, DETERMINISTIC)
"""What two runs need to be compared."""
LABELS = Rule("decisions in evaluation ignore the labels", rules.ignores_labels, STABLE)
ALONE = Rule("a text does not depend on its batch", rules.ignores_neighbours, STABLE)
PAIRS = Rule("a pair is read alike with and without token types", rules.knows_both_texts, STABLE)
MODES = Rule("the packed path equals the reference", rules.modes_agree, STABLE)
WHOLE = Rule(
    "keeping everything equals the untouched model", rules.equals_dense, (SOUND, RUNS, *FORM)
)
FLOPS = Rule("its FLOPs equal the count of fvcore", rules.counts_flops, STABLE)
# Not on evaluation: a method that fails there before it is trained may train.
TRAINS = Rule("every stage trains", learning.trains, (SOUND, *FORM))
GRADIENTS = Rule(
    "every parameter that should learn gets a gradient",
    learning.gives_gradients,
    (SOUND, *FORM, TRAINS),
)
REPEATS = Rule("training is reproducible", learning.is_reproducible, (*STABLE, TRAINS))
SAVED = Rule("a saved model decides as before", learning.survives_saving, (*STABLE, TRAINS))
EXPORTED = Rule("the exported graph equals the packed path", exported.equals_packed, STABLE)
LEARNS = Rule(
    "learns real text with fewer tokens", learning.learns, (*STABLE, MODES, TRAINS, SAVED)
)

RULES: tuple[Rule, ...] = (
    *(SOUND, RUNS, *FORM, DETERMINISTIC, LABELS, ALONE, PAIRS, MODES, WHOLE, FLOPS),
    *(TRAINS, GRADIENTS, REPEATS, SAVED),
    *(_of_vectors(rule, LABELS) for rule in (ALONE, MODES, WHOLE, FLOPS, TRAINS)),
    *(EXPORTED, _of_vectors(EXPORTED), LEARNS),
)


def examine(
    subject: Subject,
    begin: Callable[[Rule], None] | None = None,
    among: tuple[Rule, ...] = RULES,
) -> Iterator[Verdict]:
    """Yields the verdict on each rule, in order; ``begin`` is called with each before its check."""
    _ = subject.params
    threads = torch.get_num_threads()
    # A tiny model gains nothing from a second thread, and on a busy machine it waits for it.
    torch.set_num_threads(1)
    failed: list[Rule] = []
    try:
        for rule in among:
            if broken := [needed for needed in failed if needed in rule.rests_on]:
                yield Verdict(rule, "not run", broken[0].title)
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
            if verdict.outcome == "failed":
                failed.append(rule)
            yield verdict
    finally:
        torch.set_num_threads(threads)
