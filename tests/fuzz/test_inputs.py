"""Damaged sweep files and data folders: refused with a message that names the file, or read.

Seeded, in one process, without training.
"""

import re
from pathlib import Path
from typing import Any

import pytest
from folders import damaged
from mutants import mutants

from lotbench import registry
from lotbench.config.load import load_sweep, load_trial
from lotbench.config.sections import TaskConfig
from lotbench.data.sources import read_source
from lotbench.engine.config_of_backbone import locate
from lotbench.plan.plan import plan
from lotbench.plan.resolve import resolve

pytestmark = pytest.mark.slow

SWEEPS, FOLDERS = 300, 60
KINDS: tuple[dict[str, Any], ...] = (
    *({"regression": regression} for regression in (False, True)),
    {"evidence": "why"},
    {"kind": "embedding", "query": "ask"},
    {"kind": "embedding", "text": ["ask", "text"]},
    {"kind": "ranking", "text": ["ask", "text"], "group": "group"},
)
"""What the same folder can be read as."""


class _Backbone:
    num_hidden_layers, hidden_size = 6, 384


def _read_config(name: str) -> type[_Backbone]:
    """No look-up on the hub."""
    locate(name)
    return _Backbone


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(registry, "_plugins", {})
    monkeypatch.setattr("lotbench.plan.checks.read_config", _read_config)
    monkeypatch.chdir(tmp_path)


def test_damaged_sweep_files(tmp_path, verdicts, times):
    path = tmp_path / "sweep.yaml"

    def says_where(line: str) -> bool:
        return line.startswith((f"{path}:", "--set"))

    for number, mutant in enumerate(mutants(SWEEPS * times, seed=1)):
        path.write_text(mutant.text, encoding="utf-8", errors="surrogatepass", newline="")

        def work(mutant: Any = mutant) -> None:
            if re.search(r"^method:", mutant.text, re.MULTILINE):
                resolve(*load_trial(path, mutant.overrides))
            else:
                plan(*load_sweep(path, mutant.overrides), tmp_path / "results")

        verdicts.judge(f"mutant {number}", work, says_where)


@pytest.mark.filterwarnings("default")
def test_damaged_data_folders(tmp_path, verdicts, times):
    folder = tmp_path / "data"
    for number in range(FOLDERS * times):
        damaged(folder, number, seed=1)
        for keys in KINDS:
            data = TaskConfig(source=str(folder), **keys)
            verdicts.judge(
                f"folder {number}, {keys}",
                lambda data=data: read_source("mine", data, None),
                lambda line: line.startswith(str(folder)),
            )
