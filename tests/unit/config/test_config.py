"""Sweep and trial files: valid files, faults, and their messages."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from pydantic import ValidationError

from lotbench.config import load
from lotbench.config.expand import expand
from lotbench.config.sections import SweepConfig, TeacherConfig, TrainConfig, TrialConfig
from lotbench.errors import InputError

SWEEP = """\
name: small
backbone: some/encoder
tasks:
  sst2: {max_length: 64, limit: {train: 100}}
  rte:
seeds: [0, 1]
train: {epochs: 2, learning_rate: 5e-5}
methods:
  dense:
  lot: {top_p: {grid: [0.1, 0.3]}, router: {width: {grid: [32, 256]}}, thresholds: [0.3, 0.5]}
measure: {threads: [1, all]}
"""

TRIAL = """\
backbone: some/encoder
task: {name: sst2, max_length: 64, limit: {train: 100}}
seed: 1
train: {epochs: 2, learning_rate: 5e-5}
method: {name: lot, top_p: 0.3, router: {width: 32}, thresholds: [0.3, 0.5]}
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "file.yaml"
    path.write_text(text)
    return path


def load_sweep(path: Path, overrides: Sequence[str] = ()) -> SweepConfig:
    return load.load_sweep(path, overrides)[0]


def load_trial(path: Path, overrides: Sequence[str] = ()) -> TrialConfig:
    return load.load_trial(path, overrides)[0]


def trials_of(path: Path, overrides: Sequence[str] = ()) -> list[TrialConfig]:
    return [block.config for block in expand(*load.load_sweep(path, overrides))]


GRIDS = ", ".join(f"p{i}: {{grid: {[*range(10)]}}}" for i in range(30))
"""Grids that multiply to 1e30 trials."""


def refusal(path: Path, *overrides: str) -> str:
    with pytest.raises(InputError) as caught:
        trials_of(path, list(overrides))
    return str(caught.value)


def test_sweep_is_read_with_defaults(tmp_path):
    sweep = load_sweep(write(tmp_path, SWEEP))
    assert sweep.train == TrainConfig(epochs=2.0, learning_rate=5e-5)
    assert sweep.tasks["rte"].max_length == 128
    assert sweep.tasks["sst2"].limit.train == 100
    assert sweep.tasks["sst2"].limit.validation is None
    assert sweep.methods["dense"] == {}
    assert sweep.measure is not None and sweep.measure.threads == [1, "all"]
    with pytest.raises(ValidationError):
        sweep.train.epochs = 9.0  # type: ignore[misc]
    text = SWEEP.replace("small", "2024-01-31")
    assert load_sweep(write(tmp_path, text)).name == "2024-01-31", "a date is a text"


def test_expand_follows_the_file_and_varies_the_last_grid_fastest(tmp_path):
    trials = trials_of(write(tmp_path, SWEEP))
    # 2 tasks x 2 seeds x (1 dense + 2 x 2 lot) = 20
    assert len(trials) == 20
    assert {t.task for t in trials[:10]} == {"sst2"}
    assert [(t.seed, t.method) for t in trials[:7]] == [
        *[(0, "dense"), *[(0, "lot")] * 4, (1, "dense"), (1, "lot")]
    ]
    assert [(t.params["top_p"], t.params["router"]["width"]) for t in trials[1:5]] == [
        *[(0.1, 32), (0.1, 256), (0.3, 32), (0.3, 256)]
    ]
    assert all(t.params["thresholds"] == [0.3, 0.5] for t in trials[1:5])
    assert len({t.trial_id(1) for t in trials}) == 20


def test_list_of_blocks_is_several_grids_without_repeated_trials(tmp_path):
    block = "  lot: [{a: {grid: [1, 2]}, b: 1}, {a: {grid: [2, 3]}, b: {grid: [1, 1.0]}}]\n"
    text = SWEEP.partition("  dense:\n")[0].replace("[0, 1]", "[0]") + block
    trials = [t for t in trials_of(write(tmp_path, text)) if t.task == "rte"]
    # a=2, b=1 stands in both blocks, and 1.0 is 1.
    assert [(t.params["a"], t.params["b"]) for t in trials] == [(1, 1), (2, 1), (3, 1)]


def test_trial_file_is_the_same_trial_as_in_the_sweep(tmp_path):
    trials = trials_of(write(tmp_path, SWEEP))
    alone = load_trial(write(tmp_path, TRIAL))
    assert alone in trials
    again = TrialConfig.model_validate(json.loads(alone.model_dump_json()))
    assert again == alone and again.trial_id(3) == alone.trial_id(3)
    # A change of these two orphans every stored result and teacher: it must be meant.
    assert alone.trial_id(1) == "sst2-lot-s1-b8b5411f86"
    assert alone.teacher_key() == "54ce6ba7ab0c6e83"


@pytest.mark.parametrize(
    ("override", "same_trial", "same_teacher"),
    [
        ("plugins=[mine.py]", True, True),
        ("train.epochs=2.0", True, True),
        ("method.top_p=0.31", False, True),
        ("train.max_minutes=5", True, True),
        ("train.epochs=3", False, False),
        ("teacher.epochs=2.5", False, False),
        ("task.limit.validation=5", False, False),
        ("task.reduce=documents", True, True),
        ("task.pooling=null", True, True),
        ("task.kind=embedding", False, False),
        ("evaluate={max_length: 256}", False, True),
        ("layers=2", False, False),
        ("seed=2", False, False),
    ],
)
def test_ids_change_if_results_change(tmp_path, override, same_trial, same_teacher):
    path = write(tmp_path, TRIAL)
    before, after = load_trial(path), load_trial(path, [override])
    assert (before.trial_id(1) == after.trial_id(1)) is same_trial
    assert (before.teacher_key() == after.teacher_key()) is same_teacher
    assert before.trial_id(1) != before.trial_id(2)


def test_overrides_parse_yaml_and_create_known_keys(tmp_path):
    sweep = load_sweep(
        write(tmp_path, SWEEP),
        [
            *["train.epochs=0.5", "train.learning_rate=1e-3", "teacher.epochs=4", "seeds=[3]"],
            *["tasks.rte.limit.train=7", "methods.lot.top_p={grid: [0.9]}"],
            "methods.lot.loss_weight=0.1",
        ],
    )
    assert (sweep.train.epochs, sweep.train.learning_rate) == (0.5, 1e-3)
    assert sweep.teacher is not None and sweep.teacher.epochs == 4
    assert sweep.tasks["rte"].limit.train == 7
    assert sweep.seeds == [3]
    assert sweep.methods["lot"]["loss_weight"] == 0.1
    assert sweep.methods["lot"]["top_p"] == {"grid": [0.9]}


def test_teacher_settings_default_to_the_training_settings(tmp_path):
    train = ["train.learning_rate=1e-3", "train.batch_size=8"]
    trial = load_trial(write(tmp_path, TRIAL), [*train, "teacher.epochs=4"])
    assert trial.teacher == TeacherConfig(epochs=4, learning_rate=1e-3, batch_size=8)
    (swept, *_) = trials_of(write(tmp_path, SWEEP), [*train, "teacher.epochs=4"])
    assert swept.teacher == trial.teacher


def test_override_of_an_alias_changes_one_place(tmp_path):
    text = SWEEP.replace("train: {", "train: &t {").replace("methods:", "teacher: *t\nmethods:")
    sweep = load_sweep(write(tmp_path, text), ["train.epochs=9"])
    assert (sweep.train.epochs, sweep.teacher.epochs) == (9, 2)
    # A merge key is no duplicate.
    text = text.replace("teacher: *t", "teacher: {<<: *t, epochs: 3}")
    sweep = load_sweep(write(tmp_path, text))
    assert sweep.teacher == TeacherConfig(epochs=3.0, learning_rate=5e-5)


YAML = "not valid YAML: "
FAULTS = [
    # What YAML itself refuses.
    ("seeds: [0, 1]", "seeds: [0]\nseeds: [1]", 7, YAML + "duplicate key 'seeds' (fi"),
    ("{epochs: 2,", "{epochs: 2, epochs: 3,", 7, YAML + "duplicate key 'epochs'"),
    ("  dense:", "  1: {}", 9, YAML + "key '1' is not text; put it in quotes"),
    ("  dense:", "  ? [a]\n  : {}", 9, YAML + "key "),
    ("seeds: [0, 1]", "seeds: [0, 1", 7, YAML),
    ("seeds: [0, 1]", "seeds: [\a]", 6, YAML),
    ("epochs: 2", "epochs: !!int ''", 7, YAML),
    ("epochs: 2", "epochs: !!timestamp x", 7, YAML),
    ("epochs: 2", "epochs: " + 5000 * "9", 7, YAML),
    ("epochs: 2", "epochs: .nan", 7, YAML),
    ("[0.3, 0.5]", "[.inf]", 10, YAML),
    ("name: small", "plugins: &p [*p]", 1, YAML),
    ("name: small", "plugins: " + 2000 * "[", 1, YAML),
    ("name: small", "#" + "x" * 10**6, None, "cannot be read as a configuration: larger than"),
    # Keys that are missing or unknown.
    ("name: small\n", "", None, "name: required, but missing"),
    ("seeds:", "seed:", 6, "seed: unknown key; did you mean 'seeds'"),
    ("epochs: 2", "epoch: 2", 7, "train.epoch: unknown key; did you mean 'epochs'"),
    ("{train: 100}", "{trian: 1}", 4, "tasks.sst2.limit.trian: unknown key; did you mean"),
    # Values of another kind, or out of range.
    ("name: small", f"name: {'n' * 101}", 1, "name: "),
    ("some/encoder", '"\\ud800"', 2, "backbone: "),
    ("{train: 100}", "3", 4, "tasks.sst2.limit: Input should be a mapping of keys to values (g"),
    ("epochs: 2", "epochs: '2'", 7, "train.epochs: "),
    ("epochs: 2", "epochs: true", 7, "train.epochs: "),
    ("epochs: 2", "epochs: 2024-13-45", 7, "train.epochs: "),
    ("epochs: 2", "epochs: -1", 7, "train.epochs: "),
    ("epochs: 2", "epochs: 1.0e-5", 7, "train: epochs must be 0, or at least 0.001"),
    ("epochs: 2", "clip: 0.5", 7, "train.clip: unknown key; "),
    ("seeds:", "teacher: {epochs: 0}\nseeds:", 6, "teacher.epochs: "),
    ("epochs: 2", "epochs: 1e308", 7, "train.epochs: "),
    ("max_length: 64", "max_length: 6.5", 4, "tasks.sst2.max_length: "),
    ("max_length: 64", "text: 3", 4, "tasks.sst2.text: "),
    ("max_length: 64", "text: []", 4, "tasks.sst2.text: "),
    ("[0, 1]", "[]", 6, "seeds: "),
    ("[1, all]", "[1, al]", 11, "measure.threads.1: Input should be a valid integer or 'all'"),
    ("[1, all]", "[0]", 11, "measure.threads.0: "),
    ("threads: [1, all]", "backends: onnx", 11, "measure.backends: "),
    (
        "seeds:",
        "evaluate: {max_length: 7}\nseeds:",
        6,
        "evaluate.max_length: Input should be great",
    ),
    ("seeds:", "evaluate: {}\nseeds:", 6, "evaluate.max_length: required, but missing"),
    ("seeds:", "evaluate: {max_length: 9, x: 1}\nseeds:", 6, "evaluate.x: unknown key; known: max"),
    # What the values mean.
    ("max_length: 64", "text: [a, a]", 4, "tasks.sst2.text: names a value twice: ['a', 'a']"),
    ("max_length: 64", "label: a, text: a", 4, "tasks.sst2: text: column 'a' is the label"),
    ("max_length: 64", "metrics: [acc]", 4, "tasks.sst2.metrics.0: no metric 'acc'; did you m"),
    ("  rte:", "  mine: {source: csv}", 5, "tasks.mine.source: 'csv' is neither a bui"),
    ("  rte:", "  imdb: {text: review}", 5, "tasks.imdb.text: the columns of imdb are fixed; re"),
    ("  rte:", "  imdb: {subset: x}", 5, "tasks.imdb.subset: "),
    ("  rte:", "  sts2:", 5, "tasks.sts2: no built-in task 'sts2'; did you mean 's"),
    ("  rte:", "  r.te:", 5, "tasks.r.te: a name has only letters, digits, - and _"),
    ("[0, 1]", "[1, 1]", 6, "seeds: names a value twice: [1, 1]"),
    ("threads: [1, all]", "batch_sizes: [4, 4]", 11, "measure.batch_sizes: names a value twice"),
    ("threads: [1, all]", "devices: [gpu]", 11, "measure.devices.0: a device is cpu, cuda,"),
    # Grids.
    ("epochs: 2", "epochs: {grid: [1]}", 7, "train.epochs: a grid is allowed only among"),
    ("[0.1, 0.3]", "0.1", 10, "methods.lot.top_p: a grid is written {grid: [first, second"),
    ("[32, 256]", "[]", 10, "methods.lot.router.width: a grid is written {grid: [first"),
    ("[32, 256]", "[{grid: 3}]", 10, "methods.lot.router.width: a grid is written"),
    ("  dense:", "  dense: {grid: [1, 2]}", 9, "methods.dense: a method has a mapping of"),
    ("  dense:", "  dense: 3", 9, "methods.dense: Input should be a mapping of keys to values o"),
    ("  dense:", "  dense: [{}, 3]", 9, "methods.dense.1: Input should be a mapping of keys"),
    ("  dense:", "  dense: []", 9, "methods.dense: "),
    ("[0.1, 0.3]", f"{[*range(999)]}", 8, "methods: more than 2,000 trials (tasks x seeds x "),
    ("  dense:", f"  dense: {{{GRIDS}}}", 8, "methods: more than 2,000 trials (tasks x seeds x "),
]


@pytest.mark.parametrize(("old", "new", "line", "fault"), FAULTS)
def test_a_fault_names_file_line_and_key_path(tmp_path, old, new, line, fault):
    assert old in SWEEP
    path = write(tmp_path, SWEEP.replace(old, new))
    message = refusal(path)
    assert message.startswith(f"{path}:{line}: {fault}" if line else f"{path}: {fault}")
    assert "\n" not in message


def test_all_faults_are_reported_at_once(tmp_path):
    message = refusal(write(tmp_path, SWEEP.replace("epochs: 2", "epochs: x, steps: y")))
    assert [line.split(": ")[1] for line in message.split("\n")] == ["train.epochs", "train.steps"]


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("train.epochs", "--set 'train.epochs': expected key.path=value"),
        ("a\nb", "--set 'a\\nb': expected key.path=value"),
        ("train.epoch=3", "--set: train.epoch: unknown key; did you mean 'epochs'"),
        ("train.epochs=three", "--set: train.epochs: Input should be a valid number"),
        ("methods.lto.top_p=3", " has no methods.lto; did you mean 'lot'"),
        ("tasks.sst.max_length=9", " has no tasks.sst; did you mean 'sst2'"),
        ("name.first=a", " has no name.first; known: none"),
        ("seeds.5=1", " has no seeds.5; known: 0, 1"),
        ("seeds.\N{SUPERSCRIPT TWO}=1", " has no seeds.\N{SUPERSCRIPT TWO}; known: 0, 1"),
        ("seeds=!!int ''", "--set seeds:1: not valid YAML: '' is not a valid int"),
        ("seeds=[1, 2", "--set seeds:1: not valid YAML"),
    ],
)
def test_bad_override(tmp_path, override, expected):
    message = refusal(write(tmp_path, SWEEP), override)
    assert expected in message and "--set" in message


def test_missing_and_empty_files(tmp_path):
    missing = tmp_path / "no.yaml"
    assert refusal(missing).startswith(f"{missing}: cannot be read as a configuration: No such fi")
    assert "a configuration is a mapping" in refusal(write(tmp_path, ""))


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("name: lot, ", "", ":5: method.name: required, but missing"),
        ("seed: 1", "seeds: [1]", ":3: seeds: unknown key; did you mean 'seed'"),
        ("name: sst2", "name: sst3", ":2: task: no built-in task 'sst3'"),
    ],
)
def test_trial_file_faults(tmp_path, old, new, expected):
    path = write(tmp_path, TRIAL.replace(old, new))
    with pytest.raises(InputError) as caught:
        load_trial(path)
    assert f"{path}{expected}" in str(caught.value)


def test_one_text_column_may_be_given_without_a_list(tmp_path):
    source = SWEEP.replace("  rte:", "  mine: {source: ./folder, text: body}")
    one, listed = (
        trials_of(write(tmp_path, text)) for text in (source, source.replace("body", "[body]"))
    )
    assert one == listed and one[-1].task == "mine" and one[-1].data.source == "./folder"
    assert [t.trial_id(1) for t in one] == [t.trial_id(1) for t in listed]


def test_a_whole_block_may_be_a_grid_of_blocks(tmp_path):
    text = SWEEP.replace("  dense:", "  dense: {grid: [{}, {a: {grid: [1, 2]}}]}")
    trials = [t.params for t in trials_of(write(tmp_path, text)) if t.method == "dense"]
    assert trials[:3] == [{}, {"a": 1}, {"a": 2}]


def test_import_is_light():
    code = (
        "import sys, lotbench.config.load as c; "
        "heavy = ('torch', 'pandas', 'transformers', 'ray', 'numpy'); "
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("text", ["[1]", "{", '{"a": ' * 100_000, '{"name": "small"}', None])
def test_a_stored_sweep_is_read_as_data(tmp_path, text):
    (tmp_path / "sweep.json").write_text(text) if text else os.mkfifo(tmp_path / "sweep.json")
    with pytest.raises(InputError) as caught:
        load.stored_sweep(tmp_path, ["rounds=3"])
    assert f"{tmp_path / 'sweep.json'}" in str(caught.value)
    assert text or re.search("json: cannot be read as .*: no such file", str(caught.value))


def test_a_file_of_the_other_kind_names_its_command(tmp_path):
    with pytest.raises(InputError, match="this is a sweep file; use `lotbench sweep`"):
        load_trial(write(tmp_path, SWEEP))
    with pytest.raises(InputError, match="this is a trial file; use `lotbench run`"):
        load_sweep(write(tmp_path, TRIAL))
