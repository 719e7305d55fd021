"""Validation faults: one plain line each."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field

from lotbench.errors import InputError
from lotbench.validation import report_at, validate


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")
    width: int = 3
    lambda_: float = Field(0.1, alias="lambda")


class Model(BaseModel):
    model_config = ConfigDict(extra="forbid")
    ratio: float | list[float] = 0.5
    size: int | Literal["all"] = "all"
    inner: Inner | None = None
    named: dict[str, int] = {}
    needed: int


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        ({}, ["at.needed: required, but missing"]),
        ({"needed": []}, ["at.needed: Input should be a valid integer (given: [])"]),
        # Both branches of a union are in one line, without their names.
        (
            {"ratio": None},
            ["at.ratio: Input should be a valid number or a valid list (given: null)"],
        ),
        (
            {"size": "many"},
            [
                "at.size: Input should be a valid integer, unable to parse string as an integer "
                "or 'all' (given: \"many\")"
            ],
        ),
        # A fault inside the branch that fits hides that of the branch that does not.
        (
            {"ratio": [1, {}]},
            ["at.ratio.1: Input should be a valid number (given: {})"],
        ),
        ({"inner": 3}, ["at.inner: a mapping of keys to values is needed (given: 3)"]),
        ({"named": [1]}, ["at.named: a mapping of keys to values is needed (given: [1])"]),
        ({"inner": {"widht": 3}}, ["at.inner.widht: unknown key; did you mean 'width'?"]),
        ({"inner": {"lamda": 3}}, ["at.inner.lamda: unknown key; did you mean 'lambda'?"]),
        ({"named": {"a": "b", "c": 1}}, ["at.named.a: Input should be a valid integer"]),
        ({"nedded": 1}, ["at.nedded: unknown key; did you mean 'needed' or 'named'?"]),
    ],
)
def test_each_fault_is_a_line_with_its_key_path(data: dict[str, Any], lines: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        validate(Model, {"needed": 1, **data} if data else data, report_at("at"))
    found = str(caught.value).splitlines()
    assert len(found) == len(lines)
    for line, wanted in zip(found, lines, strict=True):
        assert line.startswith(wanted)


def test_a_value_that_cannot_be_written_is_named_by_its_type() -> None:
    with pytest.raises(InputError, match=r"^needed: .* \(given: dict\)$"):
        validate(Model, {"needed": {(1, 2): 3}}, report_at(""))


def test_good_data_become_the_model() -> None:
    assert validate(Model, {"needed": 1, "ratio": [1]}, report_at("at")).ratio == [1.0]
