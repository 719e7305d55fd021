"""`lotbench validate`: real stores pass, and every kind of tampering is found and named."""

import copy
import json
import shutil
from collections.abc import Callable
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


def change(path: Path, edit: Callable[[Json], Any]) -> list[str]:
    """The faults of the store after an edit of one file."""
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))
    return list(map(str, audit(path.parents[1]).faults))


def better(content: Json) -> None:
    content["evaluations"][0]["metrics"]["accuracy"] += 0.01


def other_answer(content: Json) -> None:
    own = content["evaluations"][0]
    own["predictions"] = "10"[int(own["predictions"][0])] + own["predictions"][1:]


def other_label(content: Json) -> None:
    labels = content["data"]["labels"]
    labels["validation"] = "10"[int(labels["validation"][0])] + labels["validation"][1:]


def fewer_answers(content: Json) -> None:
    own = content["evaluations"][0]
    own["predictions"] = own["predictions"][:-1]


def faster(content: Json) -> None:
    content["evaluations"][0]["flops_speedup"] *= 1.1


def cheaper(content: Json) -> None:
    own = content["evaluations"][0]
    own["flops"] /= 4
    own["flops_speedup"] *= 4


def larger_dense(content: Json) -> None:
    own = content["evaluations"][0]
    own["dense_flops"] *= 1.05
    own["flops_speedup"] *= 1.05


def fewer_tokens(content: Json) -> None:
    for name in ("keep_ratio", "key_ratio", "ffn_ratio"):
        content["evaluations"][0][name] = [0.01] * 6


def other_parameter(content: Json) -> None:
    content["params"]["lambda"] = 0.5


def other_parameter_everywhere(content: Json) -> None:
    content["params"]["lambda"] = content["config"]["params"]["lambda"] = 0.5


def more_epochs(content: Json) -> None:
    content["config"]["train"]["epochs"] = 20


def other_seed(content: Json) -> None:
    content["seed"] = content["config"]["seed"] = 1


def other_method(content: Json) -> None:
    content["method"] = "lot"


def better_teacher(content: Json) -> None:
    content["teacher"]["metrics"]["selection"]["accuracy"] = 0.7


def other_data(content: Json) -> None:
    content["data"]["fingerprint"] = "0" * 32


def repeated(content: Json) -> None:
    content["evaluations"].append(copy.deepcopy(content["evaluations"][0]))


def one_split(content: Json) -> None:
    own = content["evaluations"]
    content["evaluations"] = [each for each in own if each["split"] == "validation"] + own[1:2]


def other_target(content: Json) -> None:
    for own in content["evaluations"]:
        own["target"] = 16.0


def no_machine(content: Json) -> None:
    content["machine"]["cpu"] = None


def tomorrow(content: Json) -> None:
    content["created"] = "2999-01-01T00:00:00+00:00"


def impossible(content: Json) -> None:
    content["evaluations"][0]["keep_ratio"][0] = 1.2


def wrong_type(content: Json) -> None:
    content["evaluations"][0]["flops"] = "few"


@pytest.mark.parametrize(
    ("edit", "place"),
    [
        (better, "evaluations.0.metrics.accuracy: 0.8"),
        (other_answer, "evaluations.0.metrics.accuracy"),
        (other_label, "data.labels.validation: differs"),
        (fewer_answers, "not a record: evaluations.0.predictions has 1065 values, not 1066"),
        (faster, "evaluations.0.flops_speedup"),
        (cheaper, "evaluations.0.flops_speedup: 5.964, but the keep ratios allow between"),
        (larger_dense, "evaluations.0.dense_flops"),
        (fewer_tokens, "evaluations.0.flops_speedup"),
        (other_parameter, "params.lambda: 0.5, but the configuration has 0.1"),
        (other_parameter_everywhere, "trial_id: is not the id of its configuration"),
        (more_epochs, "trial_id"),
        (other_seed, "trial_id"),
        (other_method, "method: 'lot', but the configuration has 'ltp'"),
        (better_teacher, "teacher.metrics: differs from that of trials/rotten_tomatoes-first-k"),
        (other_data, "data.fingerprint: differs"),
        (repeated, "evaluations: 2 evaluations of validation"),
        (one_split, "evaluations: not the same budgets on each split"),
        (other_target, "evaluations.1.target: 16, but its FLOPs speed-up is"),
        (no_machine, "machine.cpu: missing"),
        (tomorrow, "created: 2999-01-01T00:00:00+00:00 is in the future"),
        (impossible, "not a record: evaluations.0.keep_ratio.0: 1.2 is not within 0 and 1"),
        (wrong_type, "not a record: evaluations.0.flops"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_tampering_with_a_row_is_found(row, edit, place):
    found = change(row, edit)
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
    found = change(row, lambda content: content.update(version=version))
    assert len(found) == faults and all("trial_id: is not the id" in own for own in found)


def test_a_row_under_another_name_is_found(row):
    row.rename(row.with_name("rotten_tomatoes-ltp-s0-0000000000.json"))
    (found,) = audit(row.parents[1]).faults
    assert "which is not its file name" in str(found)


def quicker(content: Json) -> None:
    own = content["contenders"][-1]
    own["samples"] = [value / 2 for value in own["samples"]]


def larger_speedup(content: Json) -> None:
    for key, value in content["contenders"][-1]["speedup"].items():
        content["contenders"][-1]["speedup"][key] = 2 * value


def other_median(content: Json) -> None:
    content["contenders"][-1]["seconds_per_example"] /= 2


def not_scored(content: Json) -> None:
    content["contenders"][-1]["budget"] = {"k": 3}


def fewer_rounds(content: Json) -> None:
    del content["contenders"][-1]["samples"][-1]


def outside(content: Json) -> None:
    content["contenders"][-1]["speedup_padded"]["high"] = 0.01


def shares(content: Json) -> None:
    row = next(own for own in content["contenders"] if own["backend"].startswith("torch-"))
    row["time_shares"]["rest"] += 0.2


@pytest.mark.parametrize(
    ("edit", "place"),
    [
        (quicker, "speedup.median"),
        (larger_speedup, "speedup.median"),
        (other_median, "seconds_per_example"),
        (not_scored, "budget"),
        (fewer_rounds, "samples"),
        (outside, "speedup_padded: the median 6.28504 is outside the interval"),
        (shares, "time_shares: they sum to 1.2, not 1"),
        (no_machine, "machine.cpu: missing"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_tampering_with_a_timing_pass_is_found(tmp_path, edit, place):
    for folder in ("trials", "timings"):
        shutil.copytree(TIMED / folder, tmp_path / folder)
    path = first(tmp_path, "timings/*.json")
    found = change(path, edit)
    assert any(path.name in fault and place in fault for fault in found), found


def test_a_missing_row_of_a_timed_model_is_said(tmp_path):
    for folder in ("trials", "timings"):
        shutil.copytree(TIMED / folder, tmp_path / folder)
    timed = json.loads(first(tmp_path, "timings/*.json").read_text())["contenders"][-1]
    (tmp_path / "trials" / f"{timed['trial_id']}.json").unlink()
    found = audit(tmp_path)
    assert found.faults == []
    assert found.rowless >= 1


def test_a_folder_without_trials_is_refused(tmp_path):
    with pytest.raises(InputError, match="no store"):
        audit(tmp_path)


def test_a_mean_is_that_of_its_values(tmp_path):
    fill_vectors(tmp_path)

    def unfit() -> list[str]:
        return [str(own) for own in audit(tmp_path).faults if "metrics" in own.key]

    assert unfit() == []
    path = tmp_path / "trials" / "leap.json"
    content = json.loads(path.read_text())
    content["evaluations"][0]["answers"]["cosine"][0] -= 0.2
    path.write_text(json.dumps(content))
    where = "trials/leap.json: evaluations.0.metrics.cosine"
    assert unfit() == [f"{where}: 0.8, but the predictions give 0.799"]
