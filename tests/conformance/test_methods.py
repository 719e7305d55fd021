"""Every registered method, from any installed package, keeps every rule."""

from typing import Any

import pytest

from lotbench import registry
from lotbench.conformance.checklist import EXPORTED, LEARNS, RULES, Rule, examine
from lotbench.conformance.scaffold import write_method
from lotbench.conformance.subject import Subject

TINY, GRAPHS = RULES[:-3], RULES[-3:-1]
"""The rules on tiny models, and on their exported graphs."""

COSTLY = {
    "exported": (EXPORTED, ("lot",)),
    "exported vectors": (GRAPHS[-1], ("tome",)),
    "real text": (LEARNS, ("lot", "tome")),
}
"""Rules that take seconds, and the methods of which they are not ``long``.

Graphs of drops have tests in tests/unit/deploy.
"""

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
    ("lot", {"reads": "match"}),
    ("lot", {"reads": "match", "router": "table"}),
    ("lot", {"reads": "match", "routing": "drop", "after": 1}),
    ("lot-fixed", {"router": "table", "keep_ratio": 0.3}),
    ("lot-fixed", {"reads": "match", "after": 2, "decision_every": 1000}),
    ("lot-fixed", {"router": "table", "reads": "match", "balance": "chosen"}),
    ("lot-fixed", {"leaping_keys": "all", "decision_every": 2}),
    ("lot-fixed", {"leaping_keys": "none"}),
    ("length-drop", {"drop_ratio": 0.7}),
    ("power-bert", {"unit": "share"}),
    ("power-bert", {"retention": [30, 20, 10, 5]}),
    ("random-drop", {"keep_ratio": [1.0, 0.7, 0.7, 0.2]}),
    ("tome", {"score": "energy"}),
    ("truncated", {"layers": 3}),
    ("truncated", {"layers": 0}),
    ("window", {"neighbours": 0, "static_weight": 0.0}),
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


def keeps(name: str, rules: tuple[Rule, ...], **values: Any) -> None:
    """Fails if the method breaks one of these rules."""
    verdicts = list(examine(Subject(registry.get(name), values), among=rules))
    # A bag runs no layer, so it has nothing to compare with the untouched model.
    allowed = ("ok", "not seen") if values or name == "bag" else ("ok",)
    assert [verdict for verdict in verdicts if verdict.outcome not in allowed] == []


@pytest.mark.parametrize("name", registry.names())
@pytest.mark.slow
def test_a_method_keeps_every_rule_on_tiny_models(name):
    keeps(name, TINY)


@pytest.mark.slow
def test_the_example_of_a_learned_method_keeps_every_rule_on_tiny_models(tmp_path):
    plugin = str(write_method("mine", tmp_path, "learned"))
    (cls,) = registry.load_plugin(plugin)
    verdicts = list(examine(Subject(cls, plugins=[plugin]), among=TINY))
    assert [verdict for verdict in verdicts if verdict.outcome != "ok"] == []


@pytest.mark.parametrize(
    ("rule", "name"),
    [
        pytest.param(rule, name, marks=[] if name in short else pytest.mark.long, id=f"{id}-{name}")
        for id, (rule, short) in COSTLY.items()
        for name in registry.names()
    ],
)
@pytest.mark.slow
def test_a_method_keeps_a_costly_rule(rule, name):
    keeps(name, (rule,))


@pytest.mark.parametrize(("name", "values"), VARIANTS, ids=str)
@pytest.mark.slow
@pytest.mark.long
def test_a_variant_keeps_every_rule_but_the_real_run(name, values):
    keeps(name, TINY + GRAPHS, **values)


@pytest.mark.parametrize(("name", "values"), OF_TRAINING, ids=str)
@pytest.mark.slow
@pytest.mark.long
def test_a_setting_of_training_keeps_every_rule_before_the_export(name, values):
    keeps(name, TINY, **values)
