"""Writes the tables of docs/benchmarks.md from results/benchmarks.

``python tests/bench/tables.py`` does it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lotbench.report.tables.render import Table, markdown
from lotbench.report.text import NONE, with_interval
from lotbench.statistics.bootstrap import Estimate

ROOT = Path(__file__).parents[2]
PAGE, STORE = ROOT / "docs" / "benchmarks.md", ROOT / "results" / "benchmarks"
BEGIN, END = "<!-- tables: written by tests/bench/tables.py -->", "<!-- end of tables -->"


def page(text: str) -> str:
    """The text of the page, with the tables of every stored bench between its marks."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    stored = [
        json.loads(path.read_text()) | {"name": path.stem} for path in sorted(STORE.glob("*.json"))
    ]
    return (
        "\n\n".join([f"{before}{BEGIN}", *(markdown(table(each)) for each in stored), END]) + after
    )


def table(stored: dict[str, Any]) -> Table:
    """The table of a bench: of cells, shapes of batches by method and share kept; else a list."""
    rows = stored["rows"]
    in_cells = all(isinstance(row["case"], dict) for row in rows)
    columns, groups = grid(rows) if in_cells else listed(rows)
    own, versions = stored["machine"], stored["versions"]
    processes = f"{stored['processes']} processes" if stored["processes"] > 1 else "one process"
    notes = [
        f"{stored['ratio']}: median over all rounds of {processes}, on one thread, with its 95% "
        "interval",
        f"{own['cpu']} ({own['cpu_id']}), torch {versions['torch']}, ONNX Runtime "
        f"{versions['onnxruntime']}, commit {stored['commit'][:7]}",
    ]
    if missed := [row for row in rows if is_missed(row)]:
        clearly = sum(row["high"] < row["target"] for row in missed)
        notes.append(
            f"* below its target: {len(missed)} of {len(rows)}, {clearly} with the whole interval"
        )
    return Table(
        stored["name"][0].upper() + stored["name"][1:].replace("_", " "),
        columns,
        groups,
        notes,
        texts=2 if in_cells else 1,
    )


def grid(rows: list[dict[str, Any]]) -> tuple[list[str], list[list[list[str]]]]:
    """Columns and rows of cells; the precisions are groups."""
    kinds = list(dict.fromkeys(map(kind, rows)))
    places = {(row["case"]["runs_in"], shape(row), kind(row)): ratio(row) for row in rows}
    groups = []
    for backend in dict.fromkeys(row["case"]["runs_in"] for row in rows):
        shapes = sorted({shape(row) for row in rows if row["case"]["runs_in"] == backend})
        groups.append(
            [
                [
                    backend,
                    f"{batch} x {length}",
                    *(places.get((backend, (batch, length), own), NONE) for own in kinds),
                ]
                for batch, length in shapes
            ]
        )
    return [
        "runs in",
        "texts x tokens",
        *(f"{method}, {keep:.0%} kept" for method, keep in kinds),
    ], groups


def kind(row: dict[str, Any]) -> tuple[str, float]:
    """Method and share of the tokens kept."""
    return row["case"]["method"], row["case"]["keep"]


def shape(row: dict[str, Any]) -> tuple[int, int]:
    """Texts and tokens of each."""
    return row["case"]["batch"], row["case"]["length"]


def listed(rows: list[dict[str, Any]]) -> tuple[list[str], list[list[list[str]]]]:
    """Columns and rows of cases that are named by a text."""
    return ["case", "ratio"], [[[row["case"], ratio(row)] for row in rows]]


def ratio(row: dict[str, Any]) -> str:
    """The ratio with its interval, and a star if it is below its target."""
    own = Estimate(row["median"], row["low"], row["high"])
    return with_interval(own) + " *" * is_missed(row)


def is_missed(row: dict[str, Any]) -> bool:
    """True if there is a target and the ratio is below it."""
    return row["target"] is not None and row["median"] < row["target"]


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
