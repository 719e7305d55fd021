"""Every faulty method breaks the intended rule and no other."""

from collections.abc import Callable, Iterable
from pathlib import Path
from textwrap import dedent, indent

import pytest
from decision_faults import WEIGHTED
from faults import FAULTS, HEADER

from lotbench import registry
from lotbench.conformance.checklist import RULES, RUNS, TRAINS, Verdict, examine
from lotbench.conformance.subject import Subject

# One that shows at once and one that shows in training; the others are slow together.
QUICK = ("drops [CLS]", "a parameter without gradient")
COSTLY = "never leaves anything out"


@pytest.fixture
def subject(tmp_path: Path) -> Callable[[str], Subject]:
    """A function that makes a method, given the body of its class."""

    def make(body: str) -> Subject:
        path = tmp_path / "faulty.py"
        path.write_text(HEADER.lstrip() + indent(dedent(body).strip("\n"), "    ") + "\n")
        (cls,) = registry.load_plugin(str(path))
        return Subject(cls, plugins=[str(path)])

    return make


def broken(verdicts: Iterable[Verdict]) -> list[Verdict]:
    return [verdict for verdict in verdicts if verdict.outcome == "failed"]


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(
            name,
            marks=[pytest.mark.slow] * (name not in QUICK) + [pytest.mark.long] * (name == COSTLY),
        )
        for name in FAULTS
    ],
)
def test_a_fault_is_caught_by_the_rule_it_breaks(fault, subject):
    body, title, words = FAULTS[fault]
    rule = next(rule for rule in RULES if title in rule.title)
    (verdict,) = broken(examine(subject(body), among=(rule,)))
    for word in words:
        assert word in verdict.detail
    assert "\n" not in verdict.detail


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.slow
@pytest.mark.long
def test_a_fault_is_reported_by_no_other_rule(fault, subject):
    """But a decision that raises is reported twice, in evaluation and in training."""
    body, title, (word, *_) = FAULTS[fault]
    first, *others = broken(examine(subject(body)))
    assert title in first.rule.title
    for verdict in others:
        assert (verdict.rule, first.rule) == (TRAINS, RUNS) and word in verdict.detail


@pytest.mark.slow
@pytest.mark.long
def test_without_the_fault_the_same_method_passes(subject):
    sound = WEIGHTED.replace(", self.forgotten", "").replace(", nn.Linear(width, 1)", "")
    assert broken(examine(subject(sound))) == []
