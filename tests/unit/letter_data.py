"""Small data folders whose texts are single letters."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from lotbench.config.sections import TaskConfig
from lotbench.data import task
from lotbench.data.sources import read_source
from lotbench.errors import InputError


def load_task(
    name: str,
    data: TaskConfig,
    tokenizer: Any,
    seed: int = 0,
    root: str | None = None,
    scored_length: int | None = None,
    classes: list[str] | None = None,
    share: float = 1.0,
) -> task.Task:
    """The task, read, limited and tokenised."""
    source = read_source(name, data, root, classes)
    return task.load_task(source, tokenizer, seed, scored_length, share)


def letters(n: int, offset: int = 0) -> list[str]:
    """n different texts of 1 to 7 letters."""
    numbers = range(offset, offset + n)
    return [" ".join("abcdefgh"[int(digit)] for digit in f"{i:o}") for i in numbers]


def folder_of(path: Path, train: dict[str, list], validation: dict[str, list]) -> TaskConfig:
    path.mkdir(exist_ok=True)
    pd.DataFrame(train).to_parquet(path / "train.parquet")
    pd.DataFrame(validation).to_parquet(path / "validation.parquet")
    return TaskConfig(source=str(path))


def plain(path: Path, n: int = 40) -> TaskConfig:
    return folder_of(
        path,
        {"text": letters(n), "label": [i % 2 for i in range(n)]},
        {"text": letters(10, 1000), "label": [i % 2 for i in range(10)]},
    )


def refusal(data: TaskConfig, tokenizer: Any, name: str = "mine", root: str | None = None) -> str:
    with pytest.raises(InputError) as caught:
        load_task(name, data, tokenizer, 0, root)
    return str(caught.value)
