"""Rules of layering that the contracts of import-linter in pyproject.toml cannot say."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAVY = {
    *("torch", "transformers", "datasets", "ray", "pandas", "matplotlib", "scipy", "fvcore"),
    *("moocore", "onnx", "onnxruntime", "openvino"),
}
MODULES = (
    *("lotbench", "lotbench.audit.store", "lotbench.machine"),
    *("lotbench.deploy.session", "lotbench.measure.launch"),
)
PACKAGES = (
    "lotbench.cli",
    "lotbench.config",
    "lotbench.store",
    "lotbench.statistics",
    "lotbench.report",
)
CODE = f"""
import pkgutil, sys
from importlib import import_module

def check(name):
    module = import_module(name)
    for found in {HEAVY} & sys.modules.keys():
        sys.exit(f"{{name}} imports {{found}}")
    return module

for name in {MODULES}:
    check(name)
for name in {PACKAGES}:
    for part in pkgutil.walk_packages(check(name).__path__, name + "."):
        check(part.name)
"""


@pytest.mark.slow
def test_what_must_start_fast_imports_nothing_heavy() -> None:
    """In a new process, so that indirect imports count, too."""
    done = subprocess.run([sys.executable, "-c", CODE], cwd=ROOT, capture_output=True, text=True)
    assert done.stderr == "" and done.returncode == 0


def test_no_string_names_the_module_of_a_baseline() -> None:
    for path in (ROOT / "lotbench").rglob("*.py"):
        assert not re.search(r"[\"']baselines\.", path.read_text()), path
