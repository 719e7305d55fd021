"""The looks that methods bring: told apart by label, colour and marker."""

from __future__ import annotations

from itertools import combinations

import pytest

from lotbench import registry
from lotbench.report import looks
from lotbench.statistics.runs import Label
from lotbench.store.rows import Look

ONCE, DROP, TABLE = {"decision_every": 6}, {"routing": "drop"}, {"router": "table"}
VARIANTS = [
    {"preset": preset, **decides, **routing}
    for preset in ("recommended", "paper")
    for decides in ({}, ONCE, TABLE)
    for routing in ({}, DROP)
]


def look(method: str, params: dict) -> Look:
    cls = registry.get(method)
    return cls.look_with(cls.Params(**params), 6)


@pytest.fixture
def installed() -> list[Look]:
    """The looks of all methods and variants of this package."""
    others = [look(name, {}) for name in registry.names() if not name.startswith("lot")]
    fixed = [look("lot-fixed", params) for params in ({}, TABLE)]
    energy = look("tome", {"score": "energy"})
    return [*(look("lot", params) for params in VARIANTS), *fixed, *others, energy]


@pytest.mark.parametrize(
    ("method", "params", "expected"),
    [
        ("lot", {}, "LoT (ours)"),
        ("lot", {"decision_every": 5}, "LoT (ours)"),
        ("lot", ONCE, "LoT (ours, one decision)"),
        ("lot", {"preset": "paper", "decision_every": 12}, "LoT (paper, one decision)"),
        ("lot", ONCE | DROP, "LoT (ours, one decision, drop)"),
        ("lot", TABLE | DROP, "LoT (ours, table, drop)"),
        ("lot-fixed", TABLE, "LoT (fixed budget, table)"),
        ("tome", {"score": "similarity"}, "ToMe"),
        ("tome", {"score": "energy"}, "PiToMe"),
    ],
)
def test_variants_have_labels(method, params, expected):
    assert look(method, params).label == expected


def test_a_method_that_derives_from_another_goes_under_its_name():
    """Else both would be drawn, and ranked, as one."""

    class Mine(registry.get("lot")):
        name = "mine"

    class Static(registry.get("static")):
        name = "static-too"

    for cls in (Mine, Static):
        assert cls.look_with(cls.Params(), 6) == Look(label=cls.name)


def test_no_two_looks_are_alike(installed):
    labels = [Label(own) for own in installed]
    names = [*labels, *(f"plugin-{number}" for number in range(20))]
    many = looks.looks(names)
    assert len(set(many.values())) == len(many) == len(names)
    assert looks.order(names)[0] == "LoT (ours)"
    assert looks.order(names)[-2:] == ["dense", "dense-packed"]


def test_shades_of_leap_of_thought_are_far_apart(installed):
    """Their luminance differs, or their hue does: the distance in RGB is at least a fifth."""
    shades = [own.colour or "" for own in installed[: len(VARIANTS)]]
    parts = [[int(own[place : place + 2], 16) / 255 for place in (1, 3, 5)] for own in shades]
    for recipe in (parts[: len(parts) // 2], parts[len(parts) // 2 :]):
        for one, other in combinations(recipe, 2):
            assert sum((a - b) ** 2 for a, b in zip(one, other, strict=True)) ** 0.5 >= 0.2


def test_lines_can_be_told_apart_and_seen_on_white(installed):
    styles = looks.looks(map(Label, installed))
    ours = [styles[own.label] for own in installed[: len(VARIANTS) // 2]]
    assert len({own.dash for own in ours}) == len(ours)
    # By the formulas of WCAG, which asks for a contrast of 3; a yellow has 1.3.
    for own in styles.values():
        parts = (int(own.line[place : place + 2], 16) / 255 for place in (1, 3, 5))
        linear = [x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in parts]
        red, green, blue = linear
        assert 1.05 / (0.2126 * red + 0.7152 * green + 0.0722 * blue + 0.05) > 2.9
