"""Damaged data folders, drawn with a seed."""

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
from damage import damage_file

LABELS: tuple[Any, ...] = (
    *(None, "", "x", "1_0", "1e999", 0.5, 1e300, True, [1], {"a": 1}, -1, 2**53 + 1, 10**400),
    *("nan", "\ud800", "a" * 10_000, "\0", " 1", "٣", float("inf"), float("nan"), "NA", "0x1"),
)


def damaged(folder: Path, number: int, seed: int) -> None:
    """Writes a folder with a train and a validation split, then damages it."""
    draw = random.Random(seed * 1_000_003 + number)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    suffix = draw.choice(("csv", "tsv", "jsonl", "parquet"))
    rows = {
        name: [
            {
                **{"text": f"text {name} {i}", "label": i % 2, "ask": f"ask {i}", "group": i // 2},
                "why": [[0, 4]] * (i % 3),
            }
            for i in range(size)
        ]
        for name, size in (("train", 20), ("validation", 6))
    }
    ways: tuple[Callable[[random.Random, Any], None], ...] = (cells, columns, drop)
    for _ in range(draw.randint(0, 2)):
        draw.choice(ways)(draw, rows[draw.choice(("train", "validation"))])
    for name, split in rows.items():
        _write(folder / f"{name}.{suffix}", split)
    for _ in range(draw.randint(0, 2)):
        _damage(draw, draw.choice(sorted(folder.iterdir())))


def cells(draw: random.Random, rows: list[dict[str, Any]]) -> None:
    """Some values that hardly fit."""
    for _ in range(draw.choice((1, 2, len(rows)))):
        if rows:
            row = draw.choice(rows)
            row[draw.choice(list(row) or ["text"])] = draw.choice(LABELS)


def columns(draw: random.Random, rows: list[dict[str, Any]]) -> None:
    """A column renamed, left out or put in."""
    name = draw.choice(("text", "label", "ask", "group"))
    new = draw.choice(("Text", "labels", "", "text ", None))
    for row in rows:
        value = row.pop(name, 0)
        if new is not None:
            row[new] = value


def drop(draw: random.Random, rows: list[dict[str, Any]]) -> None:
    """Few rows or none."""
    del rows[draw.choice((0, 1, 2)) :]


def _write(path: Path, rows: list[dict[str, Any]]) -> None:
    if path.suffix == ".jsonl":
        path.write_text("\n".join(map(json.dumps, rows)))
        return
    try:
        if path.suffix == ".parquet":
            pd.DataFrame(rows).to_parquet(path)
        else:
            sep = "\t" if path.suffix == ".tsv" else ","
            pd.DataFrame(rows).to_csv(path, index=False, sep=sep, errors="surrogatepass")
    except Exception:  # what this format cannot hold
        _write(path.with_suffix(".jsonl"), rows)


def _damage(draw: random.Random, path: Path) -> None:
    """Another ending, or what `damage_file` does."""
    if path.is_file() and not draw.randrange(8):
        path.rename(path.with_suffix(draw.choice((".csv", ".jsonl", ".parquet", ".tsv", ".txt"))))
    else:
        damage_file(draw, path)
