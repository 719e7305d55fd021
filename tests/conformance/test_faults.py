"""Every faulty method breaks the intended rule and no other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from textwrap import dedent, indent

import pytest
from decision_faults import WEIGHTED
from faults import FAULTS, HEADER

from lotbench import registry
from lotbench.conformance.checklist import Verdict, examine
from lotbench.conformance.subject import Subject

# One that shows at once and one that shows in training; the others are slow together.
QUICK = ("drops [CLS]", "a parameter without gradient")


@pytest.fixture
def verdicts(tmp_path: Path) -> Callable[[str], list[Verdict]]:
    """A function that examines a method, given the body of its class."""

    def judge(body: str) -> list[Verdict]:
        path = tmp_path / "faulty.py"
        path.write_text(HEADER.lstrip() + indent(dedent(body).strip("\n"), "    ") + "\n")
        (cls,) = registry.load_plugin(str(path))
        return list(examine(Subject(cls, plugins=[str(path)])))

    return judge


@pytest.mark.parametrize(
    "fault",
    [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in FAULTS],
)
def test_a_fault_is_caught_by_the_rule_it_breaks_and_no_other(fault: str, verdicts) -> None:
    body, title, words = FAULTS[fault]
    failed = [v for v in verdicts(body) if v.outcome == "failed"]
    assert len(failed) == 1, failed
    assert title in failed[0].rule.title
    for word in words:
        assert word in failed[0].detail
    assert "\n" not in failed[0].detail


@pytest.mark.slow
@pytest.mark.long
def test_without_the_fault_the_same_method_passes(verdicts) -> None:
    sound = WEIGHTED.replace(", self.forgotten", "").replace(", nn.Linear(width, 1)", "")
    assert [v for v in verdicts(sound) if v.outcome not in ("ok", "not seen")] == []
