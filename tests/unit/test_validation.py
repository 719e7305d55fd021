"""Validation faults: one plain line each."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from lotbench.errors import InputError
from lotbench.validation import first_fault, report_at, validate


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
        ({"inner": 3}, ["at.inner: Input should be a mapping of keys to values (given: 3)"]),
        ({"named": [1]}, ["at.named: Input should be a mapping of keys to values (given: [1])"]),
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


class Measured(BaseModel):
    model_config = ConfigDict(strict=True)
    seed: int
    ratio: int | float

    @field_validator("ratio")
    @classmethod
    def _positive(cls, value: float) -> float:
        if value <= 0:
            raise ValueError("a ratio is not above zero")
        return value


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"ratio": 2}, "seed: required, but missing"),
        ({"seed": "x", "ratio": 2}, 'seed: Input should be a valid integer (given: "x")'),
        (
            {"seed": 1, "ratio": "x"},
            'ratio: Input should be a valid integer or a valid number (given: "x")',
        ),
        ({"seed": 1, "ratio": 0}, "ratio: a ratio is not above zero (given: 0)"),
        ([1], "Input should be a mapping of keys to values (given: [1])"),
    ],
)
def test_the_first_fault_of_a_record_has_its_key_path(data: object, message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Measured.model_validate(data)
    assert first_fault(caught.value) == message


def test_good_data_become_the_model() -> None:
    assert validate(Model, {"needed": 1, "ratio": [1]}, report_at("at")).ratio == [1.0]
