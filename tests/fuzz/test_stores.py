"""Damaged stores: read, with a note that names each file that is left out, or refused.

Seeded, in one process, without training.
"""

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from damage import copied, damage_file, damage_value
from stores import (
    contender,
    fill,
    fill_predicted,
    fill_vectors,
    map_record,
    timing,
    with_call,
    write,
)

from lotbench.audit.store import audit
from lotbench.report import readme
from lotbench.report.figures.draw import draw as draw_figures
from lotbench.report.page import page
from lotbench.report.screen import of_store
from lotbench.statistics.store_view import StoreView
from lotbench.store.store import Store

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.filterwarnings("default")]

STORES = 200
DRAWN = 50
"""One store in so many is drawn, too: its figures take longer than all else."""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A timed store with predictions, vectors and a map."""
    folder = tmp_path_factory.mktemp("store")
    fill_vectors(fill_predicted(fill(folder, (32,))), "vectors")
    cells = {(1, 32): [0.5, 1.2], (1, 64): [0.7, 1.5]}
    rows = [
        with_call(contender("d", 1.0, "d"), 1.0, 0.02),
        with_call(contender("l", 3.0), 2.0, 0.01),
    ]
    calls = {"fastest": {"torch-fp32": "d"}, "best": "torch-fp32", "noise_floor": {"ratio": 0.01}}
    write(folder, timing("c", "2026", rows, batch_size=1) | {"call": calls})
    write(folder, map_record("n", "2025-01", cells))
    return folder


def records(folder: Path) -> int:
    own = Store(folder)
    return len(own.trials()) + len(own.timings()) + len(own.maps())


def test_damaged_stores(store, tmp_path, verdicts, times, caplog):
    folder, whole = tmp_path / "store", records(store)
    names = sorted(path.relative_to(store) for path in store.rglob("*.json"))
    for number in range(STORES * times):
        draw = random.Random(1_000_003 + number)
        path = copied(store, folder) / draw.choice(names)
        damage: Callable = damage_value if draw.random() < 0.8 else damage_file
        what = damage(draw, path)

        def work(path: Path = path, number: int = number) -> None:
            audit(folder)
            study = StoreView(folder)
            of_store(study)
            if number % DRAWN == 0:
                page.write([study], None)
                readme.write(study, draw_figures(study))
            caplog.clear()
            lost = records(folder) < whole
            assert not lost or any(str(path) in note for note in caplog.messages), "silent"

        label = f"store {number}, {path.name}: {what or damage.__name__}"
        verdicts.judge(label, work, lambda line: line.startswith(str(folder)))
