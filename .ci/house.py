"""Measure the size of the project, and fail if a number is above its bound in house.json.

``--lower`` writes the numbers that have fallen into the file as new bounds.
"""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BOUNDS = Path(__file__).with_name("house.json")
CODE = ("lotbench", "baselines")
LONG = 400
"""Lines of a long file."""


def tracked(root: Path) -> list[Path]:
    """The files of the repository that git knows and that are there, without links."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=root, capture_output=True, check=True)
    paths = [root / name for name in listed.stdout.decode().split("\0") if name]
    return [path for path in paths if path.is_file() and not path.is_symlink()]


def measure(root: Path, files: list[Path]) -> dict[str, float]:
    """Every number of the project, by name."""
    texts = {path: path.read_text("utf-8") for path in files if path.suffix in (".py", ".md")}
    parts = {path: path.relative_to(root).parts for path in files}
    python = {path: text for path, text in texts.items() if path.suffix == ".py"}
    code = {path: text for path, text in python.items() if parts[path][0] in CODE}
    tests = {path: text for path, text in python.items() if parts[path][0] == "tests"}
    results = [path for path in files if parts[path][0] == "results"]
    docs = [text for path, text in texts.items() if parts[path][0] == "docs"]
    modules = [path for path in code if path.parent == root / "lotbench"]
    return {
        "lines of lotbench/ and baselines/": sum(map(lines, code.values())),
        "lines of tests/": sum(map(lines, tests.values())),
        "words of docs/": sum(len(text.split()) for text in docs),
        "words of README.md": len(texts.get(root / "README.md", "").split()),
        "MB of results/": round(sum(path.stat().st_size for path in results) / 1e6, 1),
        "stores in results/": len(
            {path.parents[1] for path in results if path.parent.name == "trials"}
        ),
        "raise InputError": sum(text.count("raise InputError") for text in code.values()),
        "dict[str, Any]": sum(text.count("dict[str, Any]") for text in code.values()),
        "root modules of lotbench/": sum(not path.stem.startswith("__") for path in modules),
        "lines of the longest function": max(map(longest, code.values()), default=0),
        f"files over {LONG} lines": sum(lines(text) > LONG for text in python.values()),
    }


def lines(text: str) -> int:
    """Lines of a file."""
    return len(text.splitlines())


def longest(text: str) -> int:
    """Lines of the longest function of a file, without decorators."""
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    found = [node for node in ast.walk(ast.parse(text)) if isinstance(node, functions)]
    return max(((node.end_lineno or 0) - node.lineno + 1 for node in found), default=0)


def main(root: Path, bounds: Path, lower: bool = False) -> int:
    """Prints each number with its bound and aim; returns 1 if one is above its bound."""
    limits = json.loads(bounds.read_text())
    now = measure(root, tracked(root))
    if lower:
        for name, limit in limits.items():
            limit["bound"] = min(limit["bound"], now[name])
        bounds.write_text(json.dumps(limits, indent=2) + "\n")
    print(f"{'':36}{'now':>8}{'bound':>8}{'aim':>8}")
    for name, value in now.items():
        bound, aim = limits[name]["bound"], limits[name]["aim"]
        over = "  above its bound" if value > bound else ""
        print(f"{name:36}{value:>8g}{bound:>8g}{aim:>8g}{over}")
    return int(any(value > limits[name]["bound"] for name, value in now.items()))


if __name__ == "__main__":
    sys.exit(main(ROOT, BOUNDS, "--lower" in sys.argv[1:]))
