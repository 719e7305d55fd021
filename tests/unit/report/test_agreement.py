"""The rank correlation of two stores' methods, worked by hand."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from lotbench.cli.output import agreed
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
    (found,) = agreement(own, other)
    assert found.sentence.startswith("toy: the order of 3 methods by area agrees with that in the")
    assert "a rank correlation of 0.5 (-1.0 to -1.0)" in found.sentence
    assert found.line == "toy: rank correlation of 3 methods with theirs: 0.5 (-1.0 to -1.0)"


def test_a_task_of_another_name_is_compared_by_its_source():
    curves = {"a": [1, 1], "b": [2, 2], "c": [3, 3]}
    ours, theirs = study(**curves), study(**curves)
    theirs.evidence = {"toy_256": theirs.evidence["toy"]}
    theirs.trials = [SimpleNamespace(task="toy_256", config={"data": {"source": "toy"}})]
    (found,) = agreement(ours, theirs)
    assert (found.task, found.where) == ("toy", "theirs (toy_256)")
    theirs.trials[0].config["data"]["source"] = "else"
    assert agreement(ours, theirs) == []


def test_two_methods_are_too_few_and_methods_that_all_tie_have_no_order():
    assert agreement(study(a=[1, 1], b=[2, 2]), study(a=[1, 1], b=[2, 2])) == []
    level = study(a=[1, 1], b=[1, 1], c=[1, 1])
    (found,) = agreement(level, study(a=[1, 1], b=[2, 2], c=[3, 3]))
    assert found.correlation == (0, 0, 0)


def test_a_store_that_is_not_here_is_named():
    assert "no store gone here" in agreed(study(), Path("gone"))[0]
