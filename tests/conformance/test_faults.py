"""Every faulty method breaks the intended rule and no other."""

from collections.abc import Callable, Iterable
from pathlib import Path
from textwrap import dedent, indent

import pytest
from decision_faults import WEIGHTED
from faults import FAULTS, HEADER

from lotbench import registry
from lotbench.conformance.checklist import GROUPS, Verdict, examine
from lotbench.conformance.subject import Subject

# One that shows at once and one that shows in training; the others are slow together.
QUICK = ("drops [CLS]", "a parameter without gradient")
TRAINS = "never leaves anything out"


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
            marks=[pytest.mark.slow] * (name not in QUICK) + [pytest.mark.long] * (name == TRAINS),
        )
        for name in FAULTS
    ],
)
def test_a_fault_is_caught_by_the_rule_it_breaks(fault, subject):
    body, title, words = FAULTS[fault]
    group = next(group for group in GROUPS if any(title in rule.title for rule in group))
    (verdict,) = broken(examine(subject(body), groups=(group,)))
    assert title in verdict.rule.title
    for word in words:
        assert word in verdict.detail
    assert "\n" not in verdict.detail


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.slow
@pytest.mark.long
def test_a_fault_breaks_no_rule_before_it(fault, subject):
    body, title, _ = FAULTS[fault]
    assert [title in verdict.rule.title for verdict in broken(examine(subject(body)))] == [True]


@pytest.mark.slow
@pytest.mark.long
def test_without_the_fault_the_same_method_passes(subject):
    sound = WEIGHTED.replace(", self.forgotten", "").replace(", nn.Linear(width, 1)", "")
    assert broken(examine(subject(sound))) == []
