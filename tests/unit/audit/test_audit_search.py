"""`lotbench validate` on searches: areas, and what was chosen and confirmed."""

import json
from pathlib import Path
from typing import Any

import pytest
from simulated import mark

from lotbench.audit.store import audit
from lotbench.config.sections import digest
from lotbench.store.rows import Trial, without_limit
from lotbench.store.store import Store
from lotbench.trial.objective import objective

STORE = Path(__file__).parents[3] / "results" / "reference" / "ablation_lot"
END = 16.0


def under_seed(row: Trial, seed: int) -> Trial:
    """The row as if it were trained with another seed, under its right id."""
    config = {**row.config, "seed": seed}
    hashed = {key: value for key, value in without_limit(config).items() if key != "plugins"}
    name = digest({**hashed, "version": row.version or 1})[:10]
    found = f"{row.task}-{row.method}-s{seed}-{name}"
    return row.model_copy(update={"trial_id": found, "seed": seed, "config": config})


def write(store: Store, row: Trial, **own: Any) -> Trial:
    content = row.content() | {"search": mark(0, end=END) | own}
    record = Trial.model_validate(content)
    store.write(record)
    return record


@pytest.fixture
def rows(tmp_path) -> dict[str, Trial]:
    """A search of four settings, the best first, the best with one seed, the second superseded."""
    trials = [row for row in Store(STORE).trials() if row.task == "bbc_news"][:4]
    area = {row.trial_id: objective(row, END) or 0.0 for row in trials}
    trials.sort(key=lambda row: -area[row.trial_id])
    store = Store(tmp_path)
    for index, row in enumerate(trials):
        write(store, row, index=index, area=area[row.trial_id])
    for seed, part, row in ((1, "confirmation", trials[0]), (2, "superseded", trials[1])):
        write(store, under_seed(row, seed), part=part, chosen=row.trial_id)
    assert audit(tmp_path).faults == []
    found = {row.trial_id: row for row in store.trials()}
    return {
        **{f"tried {place}": found[row.trial_id] for place, row in enumerate(trials)},
        **{row.search.part: row for row in found.values() if row.search and row.search.chosen},
    }


def faults(folder: Path, row: Trial, **own: Any) -> list[str]:
    """The faults of a store after an edit of the mark of a row."""
    path = folder / "trials" / f"{row.trial_id}.json"
    content = json.loads(path.read_text())
    content["search"] |= own
    path.write_text(json.dumps(content))
    return [f"{each.key}: {each.message}" for each in audit(folder).faults]


def test_a_larger_area_is_found(tmp_path, rows):
    found = faults(tmp_path, rows["tried 3"], area=99.0)
    assert any("search.area: 99.0, but the evaluations give 6" in each for each in found)
    # The choice is no longer the best, either.
    assert any("is not among the best 1 trials of the search" in each for each in found)
    assert len(found) == 2


def test_a_missing_area_is_found(tmp_path, rows):
    (found,) = faults(tmp_path, rows["tried 2"], area=None)
    assert found.startswith("search.area: None, but the evaluations give 1")


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        ({"chosen": "none"}, "none is no trial of a search"),
        ({"chosen": None}, "None is no trial of a search"),
        ({"key": "other"}, "is a trial of another search"),
        ({"space": {"k": 3}}, "search.space.k: Input should be a mapping"),
        ({"space": {"k": {"uniform": [2, 1]}}}, "write {uniform: [low, high]}"),
    ],
)
def test_a_wrong_mark_of_a_confirmation_is_found(tmp_path, rows, edit, message):
    found = faults(tmp_path, rows["confirmation"], **edit)
    assert any(message in each for each in found), found


def test_the_choice_is_the_setting_that_was_confirmed(tmp_path, rows):
    name = rows["tried 1"].trial_id
    assert faults(tmp_path, rows["confirmation"], chosen=name) == [
        f"search.chosen: {name} has another configuration"
    ]


def test_a_choice_that_is_not_the_best_is_found(tmp_path, rows):
    assert faults(tmp_path, rows["superseded"], part="confirmation") == []
    (tmp_path / "trials" / f"{rows['confirmation'].trial_id}.json").unlink()
    # Of two that were confirmed the second may be the best but one, of one it may not.
    (found,) = faults(tmp_path, rows["superseded"])
    assert found.endswith("is not among the best 1 trials of the search")


def test_the_seed_of_the_search_confirms_nothing(tmp_path, rows):
    row = rows["tried 0"]
    found = faults(tmp_path, row, part="confirmation", area=None, chosen=rows["tried 1"].trial_id)
    assert f"search.chosen: {rows['tried 1'].trial_id} has the same seed" in found
