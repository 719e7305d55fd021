"""Every registered method, from any installed package, keeps every rule."""

from typing import Any

import pytest

from lotbench import registry
from lotbench.conformance.checklist import GROUPS, Rule, examine
from lotbench.conformance.subject import Subject

TINY, EXPORTED, REAL = GROUPS[:-3], GROUPS[-3:-1], GROUPS[-1:]
"""The rules on tiny models, on their exported graphs, and on a real encoder with real text."""

ONE_OF_A_KIND = ("lot", "tome", "first-k")
"""Methods that leap, merge and drop."""

# Settings that change what a method does, not only how much.
VARIANTS: list[tuple[str, dict[str, Any]]] = [
    ("first-k", {"k": 5}),
    ("lot", {"preset": "paper"}),
    ("lot", {"decision_every": 2, "leaping_keys": "none", "guidance": "random"}),
    ("lot", {"decision_every": 2, "leaping_keys": "all"}),
    ("lot", {"routing": "drop"}),
    ("lot", {"routing": "drop", "decision_every": 2}),
    ("lot", {"preset": "paper", "routing": "drop", "decision_every": 2}),
    ("lot", {"router": "table"}),
    ("lot", {"router": "table", "routing": "drop"}),
    ("lot-fixed", {"router": "table", "keep_ratio": 0.3}),
    ("lot-fixed", {"leaping_keys": "all", "decision_every": 2}),
    ("lot-fixed", {"leaping_keys": "none"}),
    ("length-drop", {"drop_ratio": 0.7}),
    ("power-bert", {"unit": "share"}),
    ("power-bert", {"retention": [30, 20, 10, 5]}),
    ("random-drop", {"keep_ratio": [1.0, 0.7, 0.7, 0.2]}),
    ("tome", {"score": "energy"}),
    ("truncated", {"layers": 3}),
    ("truncated", {"layers": 0}),
]

# Settings that change training alone, so that their exported graph is that of another variant.
OF_TRAINING: list[tuple[str, dict[str, Any]]] = [
    ("lot", {"guidance": "attention"}),
    ("lot", {"detach_router": True}),
    ("lot", {"straight_through": True, "leaping_keys": "all"}),
    ("lot", {"straight_through": True, "leaping_keys": "none"}),
    ("lot", {"routing": "drop", "straight_through": True}),
    ("lot", {"router": "table", "straight_through": True}),
    ("tr-bert", {"samples": 2, "imitation_share": 0.0}),
]


def keeps(name: str, groups: tuple[tuple[Rule, ...], ...], **values: Any) -> None:
    """Fails if the method breaks a rule of these groups."""
    verdicts = list(examine(Subject(registry.get(name), values), groups=groups))
    assert len(verdicts) == sum(map(len, groups))
    allowed = ("ok", "not seen") if values else ("ok",)
    assert [verdict for verdict in verdicts if verdict.outcome not in allowed] == []


@pytest.mark.parametrize("name", registry.names())
@pytest.mark.slow
def test_a_method_keeps_every_rule_on_tiny_models(name):
    keeps(name, TINY)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in ONE_OF_A_KIND else pytest.mark.long)
        for name in registry.names()
    ],
)
@pytest.mark.parametrize("groups", [EXPORTED, REAL], ids=["exported", "real text"])
@pytest.mark.slow
def test_a_method_keeps_the_costly_rules(name, groups):
    keeps(name, groups)


@pytest.mark.parametrize(("name", "values"), VARIANTS, ids=str)
@pytest.mark.slow
@pytest.mark.long
def test_a_variant_keeps_every_rule_but_the_real_run(name, values):
    keeps(name, TINY + EXPORTED, **values)


@pytest.mark.parametrize(("name", "values"), OF_TRAINING, ids=str)
@pytest.mark.slow
@pytest.mark.long
def test_a_setting_of_training_keeps_every_rule_before_the_export(name, values):
    keeps(name, TINY, **values)
