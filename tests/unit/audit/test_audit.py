"""`lotbench validate`: real stores pass, and every kind of tampering is found and named."""

import json
import shutil
from collections.abc import Callable
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

import pytest
from stores import evaluation, fill_vectors, trial, write

from lotbench.audit.store import audit
from lotbench.errors import InputError

REFERENCE = Path(__file__).parents[3] / "results" / "reference"
STORES = sorted(path.parent for path in REFERENCE.glob("*/trials"))
TIMED = Path(__file__).parents[2] / "golden" / "protocol_2"
WITH_PREDICTIONS = REFERENCE / "rotten_tomatoes_all"

Json = dict[str, Any]


@pytest.mark.slow
@pytest.mark.parametrize("store", [*STORES, TIMED], ids=lambda path: path.name)
def test_the_reference_stores_add_up(store):
    found = audit(store)
    assert found.faults == []
    assert found.counts["trials"] == len(list((store / "trials").iterdir()))


def first(store: Path, pattern: str) -> Path:
    return sorted(store.glob(pattern))[0]


@pytest.fixture
def row(tmp_path) -> Path:
    """A store of two real trials with one seed; the path of LTP's row."""
    (tmp_path / "trials").mkdir()
    for method in ("first-k", "ltp"):
        path = first(WITH_PREDICTIONS, f"trials/*-{method}-s0-*.json")
        shutil.copy(path, tmp_path / "trials")
    assert audit(tmp_path).faults == []
    return first(tmp_path, "trials/*-ltp-*.json")


@pytest.fixture
def timed(tmp_path) -> Path:
    """A copy of a timed store."""
    for folder in ("trials", "timings"):
        shutil.copytree(TIMED / folder, tmp_path / folder)
    return tmp_path


def change(path: Path, changes: dict[str, Any]) -> list[str]:
    """The faults of the store after a change of one file: by key path, values or functions."""
    content = json.loads(path.read_text())
    for keys, new in changes.items():
        *parents, last = (int(key) if key.isdigit() else key for key in keys.split("."))
        place = reduce(getitem, parents, content)
        place[last] = new(place[last]) if callable(new) else new
    path.write_text(json.dumps(content))
    return list(map(str, audit(path.parents[1]).faults))


def flipped(classes: str) -> str:
    return "10"[int(classes[0])] + classes[1:]


def times(factor: float) -> Callable[[float], float]:
    return lambda value: factor * value


def one_split(models: list[Json]) -> list[Json]:
    return [model for model in models if model["split"] == "validation"] + models[1:2]


FIRST = "evaluations.0"
RATIOS = [f"{FIRST}.{name}_ratio" for name in ("keep", "key", "ffn")]
NO_MACHINE = {"machine.cpu": None}


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        (
            {f"{FIRST}.metrics.accuracy": lambda score: score + 0.01},
            f"{FIRST}.metrics.accuracy: 0.8",
        ),
        ({f"{FIRST}.predictions": flipped}, f"{FIRST}.metrics.accuracy"),
        ({"data.labels.validation": flipped}, "data.labels.validation: differs"),
        (
            {f"{FIRST}.predictions": lambda classes: classes[:-1]},
            f"not a record: {FIRST}.predictions has 1065 values, not 1066",
        ),
        ({f"{FIRST}.flops_speedup": times(1.1)}, f"{FIRST}.flops_speedup"),
        (
            {f"{FIRST}.flops": times(1 / 4), f"{FIRST}.flops_speedup": times(4)},
            f"{FIRST}.flops_speedup: 5.964, but the keep ratios allow between",
        ),
        (
            {f"{FIRST}.dense_flops": times(1.05), f"{FIRST}.flops_speedup": times(1.05)},
            f"{FIRST}.dense_flops",
        ),
        (dict.fromkeys(RATIOS, [0.01] * 6), f"{FIRST}.flops_speedup"),
        ({"params.lambda": 0.5}, "params.lambda: 0.5, but the configuration has 0.1"),
        (
            {"params.lambda": 0.5, "config.params.lambda": 0.5},
            "trial_id: is not the id of its configuration",
        ),
        ({"config.train.epochs": 20}, "trial_id"),
        ({"seed": 1, "config.seed": 1}, "trial_id"),
        ({"method": "lot"}, "method: 'lot', but the configuration has 'ltp'"),
        (
            {"teacher.metrics.selection.accuracy": 0.7},
            "teacher.metrics: differs from that of trials/rotten_tomatoes-first-k",
        ),
        ({"data.fingerprint": "0" * 32}, "data.fingerprint: differs"),
        (
            {"evaluations": lambda models: [*models, models[0]]},
            "evaluations: 2 evaluations of validation",
        ),
        ({"evaluations": one_split}, "evaluations: not the same budgets on each split"),
        (
            {"evaluations": lambda models: [model | {"target": 16.0} for model in models]},
            "evaluations.1.target: 16, but its FLOPs speed-up is",
        ),
        (NO_MACHINE, "machine.cpu: missing"),
        (
            {"created": "2999-01-01T00:00:00+00:00"},
            "created: 2999-01-01T00:00:00+00:00 is in the future",
        ),
        (
            {f"{FIRST}.keep_ratio.0": 1.2},
            f"not a record: {FIRST}.keep_ratio.0: 1.2 is not within 0 and 1",
        ),
        ({f"{FIRST}.flops": "few"}, f"not a record: {FIRST}.flops"),
    ],
)
def test_tampering_with_a_row_is_found(row, changes, place):
    found = change(row, changes)
    assert any(f"{row.name}: {place}" in fault for fault in found), found


@pytest.mark.parametrize(("evaluate", "faults"), [(None, 1), ({"max_length": 512}, 0)])
def test_longer_texts_may_save_more_than_their_tokens(tmp_path, evaluate, faults):
    # Half of the FLOPs with three quarters of the tokens.
    config = {"data": {"max_length": 16}, "evaluate": evaluate}
    write(tmp_path, trial("a", "lot", [evaluation(0.9, 2.0)], config=config))
    found = [own for own in map(str, audit(tmp_path).faults) if "keep ratios allow" in own]
    assert len(found) == faults


@pytest.mark.parametrize(("version", "faults"), [(2, 0), (1, 1)])
def test_the_id_is_of_the_version_in_the_row(row, version, faults):
    found = change(row, {"version": version})
    assert len(found) == faults and all("trial_id: is not the id" in own for own in found)


def test_a_row_under_another_name_is_found(row):
    row.rename(row.with_name("rotten_tomatoes-ltp-s0-0000000000.json"))
    (found,) = audit(row.parents[1]).faults
    assert "which is not its file name" in str(found)


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"contenders.20.samples": lambda own: [value / 2 for value in own]}, "speedup.median"),
        (
            {f"contenders.20.speedup.{end}": times(2) for end in ("median", "low", "high")},
            "speedup.median",
        ),
        ({"contenders.20.seconds_per_example": times(1 / 2)}, "seconds_per_example"),
        ({"contenders.20.budget": {"k": 3}}, "budget"),
        ({"contenders.20.samples": lambda own: own[:-1]}, "samples"),
        (
            {"contenders.20.speedup_padded.high": 0.01},
            "speedup_padded: the median 6.28504 is outside the interval",
        ),
        (
            {"contenders.0.time_shares.rest": lambda share: share + 0.2},
            "time_shares: they sum to 1.2, not 1",
        ),
        (NO_MACHINE, "machine.cpu: missing"),
    ],
)
def test_tampering_with_a_timing_pass_is_found(timed, changes, place):
    path = first(timed, "timings/*.json")
    found = change(path, changes)
    assert any(path.name in fault and place in fault for fault in found), found


def test_a_missing_row_of_a_timed_model_is_said(timed):
    own = json.loads(first(timed, "timings/*.json").read_text())["contenders"][-1]
    (timed / "trials" / f"{own['trial_id']}.json").unlink()
    found = audit(timed)
    assert found.faults == []
    assert found.rowless >= 1


def test_rows_of_another_version_of_the_suite_are_found(row):
    other = first(row.parent, "*-first-k-*.json")
    message = f"suite: 1, but {other.stem} has None"
    assert change(row, {"suite": 1}) == [f"trials/{row.name}: {message}"]
    assert change(other, {"suite": 1}) == []


def test_a_folder_without_trials_is_refused(tmp_path):
    with pytest.raises(InputError, match="no store"):
        audit(tmp_path)


def test_a_mean_is_that_of_its_values(tmp_path):
    fill_vectors(tmp_path)

    def unfit() -> list[str]:
        return [str(own) for own in audit(tmp_path).faults if "metrics" in own.key]

    assert unfit() == []
    path = tmp_path / "trials" / "leap.json"
    change(path, {f"{FIRST}.answers.cosine.0": lambda cosine: cosine - 0.2})
    where = "trials/leap.json: evaluations.0.metrics.cosine"
    assert unfit() == [f"{where}: 0.8, but the predictions give 0.799"]
