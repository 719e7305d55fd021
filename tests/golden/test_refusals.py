"""Parameters that do not go together, or not with a backbone of four layers."""

import pytest

from baselines.power_bert import PowerBert
from baselines.random_drop import RandomDrop
from baselines.truncated import Truncated
from lotbench.errors import InputError
from lotbench.lot import FixedBudget, LeapOfThought

COUNTED = {"router": "table", "guidance": "counted"}
TABLE = "router: table needs leaping_keys: none and router_context: false"


@pytest.mark.parametrize(
    ("cls", "values", "words"),
    [
        (RandomDrop, {"keep_ratio": [1.0, 0.5]}, "2 numbers for a backbone of 4 layers"),
        (Truncated, {"layers": 5}, "only 4 layers"),
        (PowerBert, {"retention": [3, 2]}, "2 numbers for a backbone of 4 layers"),
        (PowerBert, {"retention": [0.5, 0.5]}, "with unit: tokens, retention lists"),
        (PowerBert, {"retention": [3, -1]}, "with unit: tokens, retention lists"),
        (PowerBert, {"unit": "share", "retention": [2, 1]}, "with unit: share, retention lists"),
        (LeapOfThought, {"routing": "drop", "leaping_keys": "all"}, "needs leaping_keys: none"),
        (LeapOfThought, {"saliency_length": 64}, "needs share_normalisation: softmax"),
        (LeapOfThought, {"router": "table", "leaping_keys": "context"}, TABLE),
        (LeapOfThought, {"router": "table", "leaping_keys": "all"}, TABLE),
        (LeapOfThought, {"router": "table", "router_context": True}, TABLE),
        (LeapOfThought, {"router": "table", "decision_every": 2}, "but decision_every: 2 decides"),
        (LeapOfThought, {"router": "table", "after": 1}, "remove after: 1 or router: table"),
        (
            LeapOfThought,
            {"guidance": "counted"},
            "counted learns nothing, so it needs router: table",
        ),
        (LeapOfThought, {**COUNTED, "straight_through": True}, "and straight_through: false"),
        (LeapOfThought, {**COUNTED, "reads": "match"}, "also balance: chosen"),
        (LeapOfThought, {"after": 4}, "after: 4 leaves no layer to decide on; give at most 3"),
        (FixedBudget, {"straight_through": True}, "straight_through"),
        (FixedBudget, {"preset": "paper"}, "straight_through"),
        (FixedBudget, {"routing": "drop"}, r"routing\n.*should be 'leap'"),
    ],
)
def test_a_wrong_value_is_named(cls, values, words):
    with pytest.raises((InputError, ValueError), match=words):
        cls(cls.Params(**values), 4, 16)
