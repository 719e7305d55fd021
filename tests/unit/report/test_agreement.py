"""The rank correlation of two stores' methods, worked by hand."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from lotbench.cli.output import show_agreement
from lotbench.report.tables.two_stores import agreement


def study(**areas: list[float]) -> Any:
    """A study of one task; of each method the area and that of two draws."""
    draws = {method: np.array(own) for method, own in areas.items()}
    evidence = {"toy": SimpleNamespace(area_draws=lambda: draws)}
    trials = [SimpleNamespace(task="toy", config=None)]
    return SimpleNamespace(trials=trials, evidence=evidence, folder=Path("theirs"))


def test_the_correlation_is_that_of_the_ranks():
    """Ranks 1 2 3 against 1 3 2: 1 - 6 (0 + 1 + 1) / (3 * 8) = 0.5; in both draws against 3 2 1."""
    own = study(a=[1, 1, 1], b=[20, 20, 20], c=[21, 21, 21], mine=[9, 9, 9])
    other = study(a=[5, 9, 9], b=[8, 8, 8], c=[7, 7, 7], theirs=[0, 0, 0])
    (sentence,) = agreement(own, other)
    assert sentence.startswith("toy: the order of 3 methods by area agrees with that in theirs")
    assert "a rank correlation of 0.5 (-1.0 to -1.0)" in sentence


def test_a_task_of_another_name_is_compared_by_its_source():
    curves = {"a": [1, 1], "b": [2, 2], "c": [3, 3]}
    ours, theirs = study(**curves), study(**curves)
    theirs.evidence = {"toy_256": theirs.evidence["toy"]}
    theirs.trials = [SimpleNamespace(task="toy_256", config={"data": {"source": "toy"}})]
    (sentence,) = agreement(ours, theirs)
    assert sentence.startswith("toy: ") and "theirs (toy_256) by a rank correlation" in sentence
    theirs.trials[0].config["data"]["source"] = "else"
    assert agreement(ours, theirs) == []


def test_two_methods_are_too_few_and_methods_that_all_tie_have_no_order():
    assert agreement(study(a=[1, 1], b=[2, 2]), study(a=[1, 1], b=[2, 2])) == []
    level = study(a=[1, 1], b=[1, 1], c=[1, 1])
    assert "of 0.0 (0.0 to 0.0)" in agreement(level, study(a=[1, 1], b=[2, 2], c=[3, 3]))[0]


def test_a_store_that_is_not_here_is_named(tmp_path, capsys):
    show_agreement(tmp_path, tmp_path / "gone")
    assert f"no store {tmp_path / 'gone'} here" in capsys.readouterr().out
