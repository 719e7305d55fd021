"""Planned trials: every fault has file, line and key path, before any work starts."""

from collections.abc import Callable
from itertools import chain
from pathlib import Path

import pytest
import torch

from lotbench import registry
from lotbench.config.load import load_sweep, load_trial
from lotbench.config.sections import TrialConfig
from lotbench.errors import InputError
from lotbench.lot import LeapOfThought
from lotbench.plan.plan import plan
from lotbench.plan.resolve import resolve

SWEEP = """\
name: small
backbone: some/encoder
tasks:
  sst2:
methods:
  dense:
  lot:
    top_p: 0.3
    thresholds: [0.3, 0.5]
    loss_weight:
      grid: [1.0, 0.1]
  power-bert:
    - {unit: share}
    - retention:
        grid:
          - [2, 1]
          - [1, 1]
"""

TRIAL = """\
backbone: some/encoder
task: {name: sst2}
method:
  name: lot
  top_p: 0.3
  thresholds: [0.3, 0.5]
  loss_weight: 0.1
seed: 1
"""


class _Backbone:
    """Replaces a backbone that would be downloaded."""

    num_hidden_layers, hidden_size = 2, 8


@pytest.fixture(autouse=True)
def _small_backbone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_plugins", {})
    monkeypatch.setattr("lotbench.plan.checks.read_config", lambda name: _Backbone)


@pytest.fixture
def refusal(tmp_path: Path) -> Callable[..., str]:
    """A function that plans a changed sweep and returns the message without the file's name."""

    def refuse(old: str, new: str, *overrides: str) -> str:
        assert old in SWEEP
        path = tmp_path / "sweep.yaml"
        path.write_text(SWEEP.replace(old, new))
        with pytest.raises(InputError) as caught:
            plan(*load_sweep(path, overrides), tmp_path)
        return str(caught.value).replace(f"{path}:", "line ")

    return refuse


FAULTS = [
    # Names and values of parameters.
    ("top_p", "topp", 8, "lot.topp: unknown key; did you mean 'top_p'?"),
    ("top_p: 0.3", "topp: {grid: [0.1, 0.3]}", 8, "lot.topp: unknown key; did you mean 'top_p'?"),
    ("unit: share", "units: 1", 13, "power-bert.0.units: unknown key; did you mean"),
    ("  dense:", "  dense: {grid: [{}, {width: 3}]}", 6, "dense.grid.1.width: unknown key"),
    ("top_p: 0.3", "top_p: ~", 8, "lot.top_p: "),
    ("top_p: 0.3", "top_p: 3", 8, "lot.top_p: "),
    ("[1.0, 0.1]", "[1.0, -1]", 10, "lot.loss_weight: "),
    ("[1, 1]", "[1, x]", 17, "power-bert.1.retention.grid.1.1: "),
    ("  lot:", "  lott:", 7, "lott: unknown method 'lott'; did you mean 'lot'"),
    # Budgets.
    ("[0.3, 0.5]", "0.3", 9, "lot.thresholds: a list of different numbers is needed"),
    ("[0.3, 0.5]", "[0.5, 0.5]", 9, "lot.thresholds: a list of different numbers is needed"),
    ("[0.3, 0.5]", "[0.3, 1.5]", 9, "lot.thresholds.1: "),
    (
        "{unit: share}",
        "{retention_scales: [1, -0.5]}",
        13,
        "power-bert.0.retention_scales.1: 0 or more is needed; its range is ",
    ),
    ("  dense:", "  ltp: {threshold_scales: [-1]}", 6, "ltp.threshold_scales.0: 0 or more is"),
    ("  dense:", "  random-drop: {keep_ratio: 0}", 6, "random-drop.keep_ratio: a share must be"),
    (
        "  dense:",
        "  truncated: {layers: 9}",
        6,
        "truncated: layers: 9, but the backbone has only 2",
    ),
    # Targets.
    (
        "thresholds: [0.3, 0.5]",
        "thresholds: [0.3, 0.5]\n    targets: [2]",
        10,
        "lot.targets: give targets or thresholds, not both",
    ),
    ("  dense:", "  dense: {targets: [2]}", 6, "dense.targets: dense has no budget after training"),
    ("unit: share", "targets: [2, 0.5]", 13, "power-bert.0.targets.1: "),
    ("unit: share", "targets: [2, 2]", 13, "power-bert.0.targets: "),
]
FAULTS_OF_SECTIONS = [
    ("layers: 3", 2, "layers: 3, but the backbone has only 2"),
    ("plugins: [nowhere.py]", 2, "plugin"),
    ("measure: {devices: [cuda:77]}", 2, "measure.devices: no cuda:77 on this machine"),
    (
        "targets: [2, 4]\nmeasure: {targets: [4, 5]}",
        3,
        "measure.targets.1: 5 is not a target of any method (known: 2, 4)",
    ),
]


@pytest.mark.parametrize(
    ("old", "new", "line", "fault"),
    [
        *[(old, new, line, f"methods.{fault}") for old, new, line, fault in FAULTS],
        *[("name: small", f"name: small\n{new}", *rest) for new, *rest in FAULTS_OF_SECTIONS],
    ],
)
def test_a_fault_has_file_line_and_key_path(refusal, old, new, line, fault):
    found = refusal(old, new)
    assert found.startswith(f"line {line}: {fault}")
    assert "\n" not in found


def test_a_value_from_the_command_line_is_named_so(refusal):
    found = refusal("dense:", "dense:", "methods.lot.topp=1", "methods.power-bert.1.retention=x")
    first, second = found.splitlines()
    assert first.startswith("--set: methods.lot.topp: unknown key")
    assert second.startswith("--set: methods.power-bert.1.retention: ")


def test_one_wrong_plugin_hides_no_other(refusal):
    found = refusal("name: small", "name: small\nplugins:\n  - nowhere.py\n  - no_such_module")
    first, second = found.splitlines()
    assert first == "line 3: plugin nowhere.py: no such file"
    assert second.startswith("line 4: plugin no_such_module: ModuleNotFoundError")


SETTER = """\
import torch

from lotbench.reducer import TokenReducer

torch.set_num_threads(torch.get_num_threads() + 1)
torch.set_default_dtype(torch.float64)

class Setter(TokenReducer):
    name = "setter"
"""


def test_the_import_of_a_plugin_changes_nothing_for_other_trials(tmp_path):
    (tmp_path / "setter.py").write_text(SETTER)
    path = tmp_path / "trial.yaml"
    head = "backbone: some/encoder\ntask: {name: sst2}\nmethod: {name: setter}\n"
    path.write_text(f"{head}plugins: [{tmp_path}/setter.py]\n")
    before = torch.get_num_threads(), torch.get_default_dtype()
    assert resolve(*load_trial(path)).method.name == "setter"
    assert (torch.get_num_threads(), torch.get_default_dtype()) == before


def test_the_faults_of_all_trials_are_in_one_message(refusal):
    text = SWEEP.replace("top_p", "topp").replace("unit:", "units:")
    assert len(refusal(SWEEP, text).splitlines()) == 2


def test_a_backbone_that_cannot_be_read_has_a_line(refusal, monkeypatch):
    from lotbench.engine.config_of_backbone import read_config

    monkeypatch.setattr("lotbench.plan.checks.read_config", read_config)
    found = refusal("some/encoder", "./nowhere")
    assert found == "line 2: backbone: no such folder: ./nowhere"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("top_p", "topp", "line 5: method.topp: unknown key; did you mean 'top_p'?"),
        ("top_p: 0.3", "top_p: {grid: [0.3]}", "line 5: method.top_p: a grid is allowed only am"),
        ("name: lot", "name: lott", "line 4: method.name: unknown method 'lott'; did you mean"),
        ("[0.3, 0.5]", "[0.3, 7]", "line 6: method.thresholds.1: Input should be less than or"),
        ("seed: 1", "plugins:\n  - nowhere.py", "line 9: plugin nowhere.py: no such file"),
    ],
)
def test_a_fault_of_a_trial_file_has_its_place(tmp_path, old, new, message):
    path = tmp_path / "trial.yaml"
    path.write_text(TRIAL.replace(old, new))
    with pytest.raises(InputError) as caught:
        resolve(*load_trial(path))
    assert str(caught.value).replace(f"{path}:", "line ").startswith(message)


def test_a_trial_is_resolved_with_class_parameters_budgets_and_id(tmp_path):
    trial = planned(tmp_path / "sweep.yaml", SWEEP)["lot"][1]
    assert trial.method is LeapOfThought
    assert (trial.params.top_p, trial.params.loss_weight) == (0.3, 0.1)
    assert trial.budgets == (0.3, 0.5)
    assert trial.label == "sst2 lot top_p=0.3 thresholds=[0.3, 0.5] loss_weight=0.1 seed=0"


def test_a_list_of_whole_budgets_stays_whole(tmp_path):
    text = SWEEP.replace("  dense:\n", "  first-k: {ks: [8, 16]}\n")
    (trial,) = planned(tmp_path / "sweep.yaml", text)["first-k"]
    reducer = trial.method(trial.params, 2, 8)
    for budget in trial.budgets:  # a float would be refused
        with reducer.at_budget(budget):
            assert reducer.budget == budget
    assert trial.budgets == (8, 16)


def test_a_worker_rebuilds_the_same_trial(tmp_path):
    trials = planned(tmp_path / "sweep.yaml", SWEEP)
    for trial in chain(*trials.values()):
        again = resolve(TrialConfig(**trial.config.model_dump(mode="json")))
        assert (again.id, again.config, again.params) == (trial.id, trial.config, trial.params)
        assert again.budgets == trial.budgets


def test_without_a_file_the_key_path_is_named(tmp_path):
    path = tmp_path / "trial.yaml"
    path.write_text(TRIAL)
    config, _ = load_trial(path, ["method.top_p=7"])
    with pytest.raises(InputError, match=r"^methods\.lot\.top_p: Input should be less"):
        resolve(config)


TARGETS = SWEEP + "targets: [2, 4.0]\n"

SCALED = """\
from pydantic import Field
from lotbench import reducer

class Params(reducer.Params):
    k: int = Field(8, le=64)

class Scaled(reducer.TokenReducer):
    Params = Params
    name, budget_name, k, budget_range = "scaled", "k", 8, {ends}
"""


def planned(path: Path, text: str) -> dict[str, list]:
    """The planned trials of a sweep by method, in the order of the file."""
    path.write_text(text)
    trials: dict[str, list] = {}
    for name, trial in plan(*load_sweep(path), path.parent).trials.items():
        assert name == trial.id
        trials.setdefault(trial.config.method, []).append(trial)
    return trials


def test_the_targets_of_a_sweep_are_for_methods_with_a_budget_and_no_list(tmp_path):
    trials = planned(tmp_path / "sweep.yaml", TARGETS)
    assert {trial.targets for trial in trials["power-bert"]} == {(2.0, 4.0)}
    assert [trial.config.targets for trial in trials["power-bert"]] == [[2.0, 4.0]] * 3
    assert {(trial.targets, trial.budgets) for trial in trials["lot"]} == {((), (0.3, 0.5))}
    assert [(trial.targets, trial.config.targets) for trial in trials["dense"]] == [((), None)]


def test_targets_change_the_ids_of_the_trials_that_use_them_alone(tmp_path):
    without = planned(tmp_path / "without.yaml", SWEEP)
    trials = planned(tmp_path / "sweep.yaml", TARGETS)
    ids = {name: [trial.id for trial in group] for name, group in trials.items()}
    before = {name: [trial.id for trial in group] for name, group in without.items()}
    assert (ids["dense"], ids["lot"]) == (before["dense"], before["lot"])
    assert not {*ids["power-bert"]} & {*before["power-bert"]}


def test_the_targets_of_a_method_go_before_those_of_the_sweep(tmp_path):
    text = TARGETS.replace("- {unit: share}", "- {unit: share, targets: [3]}")
    first, second, _ = planned(tmp_path / "sweep.yaml", text)["power-bert"]
    assert (first.targets, second.targets) == ((3.0,), (2.0, 4.0))
    again = resolve(TrialConfig(**first.config.model_dump(mode="json")))
    assert (again.id, again.targets) == (first.id, first.targets)


NO_RANGE = "scaled does not say its budget_range, so list ks instead of targets"
DRAWN = "train: {budgets: sampled}"
NOT_IN_ORDER = "Scaled.budget_range: (0, 1), or two positive ends in order (given: "


@pytest.mark.parametrize(
    ("ends", "new", "place", "message"),
    [
        (None, "  scaled: {targets: [2]}", "7: methods.scaled.targets", NO_RANGE),
        (None, "  scaled: {}\ntargets: [2]", "7: methods.scaled", NO_RANGE),
        ((0, 10), "  scaled: {targets: [2]}", "7: methods.scaled", NOT_IN_ORDER + "0, 10)"),
        ((8, 4), "  scaled: {targets: [2]}", "7: methods.scaled", NOT_IN_ORDER + "8, 4)"),
        ((8, 4), f"  scaled: {{}}\n{DRAWN}", "7: methods.scaled", NOT_IN_ORDER + "8, 4)"),
        (
            (1, 512),
            "  scaled: {targets: [2]}",
            "7: methods.scaled",
            "Scaled.budget_range: 512: Input should be less than or equal to 64 (given: 512)",
        ),
    ],
)
def test_a_range_without_targets_in_it_is_refused_before_training(
    tmp_path, ends, new, place, message
):
    plugin = tmp_path / "scaled.py"
    plugin.write_text(SCALED.format(ends=ends))
    path = tmp_path / "sweep.yaml"
    text = SWEEP.split("  lot:")[0].replace("  dense:", new)
    path.write_text(text.replace("name: small", f"name: small\nplugins: [{plugin}]"))
    with pytest.raises(InputError) as caught:
        plan(*load_sweep(path), tmp_path)
    assert str(caught.value) == f"{path}:{place}: {message}"
