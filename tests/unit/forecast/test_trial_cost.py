"""What a trial costs: the arithmetic by hand, the texts that are timed, and one real timing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lotbench.config.sections import FitConfig, TeacherConfig, TrainConfig, TrialConfig
from lotbench.data.tokens import Split
from lotbench.forecast.trial_cost import Cost, Sample, timed, window
from lotbench.reducer import Stage

TWO_STAGES = [Stage("search", 0.25), Stage("retrain", 0.75)]


def split(*lengths: int) -> Split:
    """Texts of these lengths whose ids say where they stood."""
    ids = [[place] * length for place, length in enumerate(lengths)]
    numbers = np.arange(len(lengths))
    types = [[0] * length for length in lengths]
    return Split(ids, types, numbers % 2, numbers, [("a text",)] * len(lengths))


def test_each_stage_costs_its_steps() -> None:
    cost = Cost(9.0, TWO_STAGES, [2.0, 1.0], [(1.0, 0.1)])
    # 65 texts in batches of 8 are 9 steps; two epochs are 18, of which a quarter is 4 (rounded).
    fit = TrainConfig(epochs=2, batch_size=8)
    assert cost.training(65, fit) == 4 * 2.0 + 14 * 1.0
    # With `final` the last stage gets all 18, and the first a third of them.
    assert cost.training(65, fit.model_copy(update={"steps": "final"})) == 6 * 2.0 + 18 * 1.0
    assert Cost(9.0, [Stage("all")], [2.0], []).training(65, FitConfig(epochs=1)) == 3 * 2.0


@pytest.mark.parametrize(
    ("speedup", "seconds"),
    [
        (1, 0.5),  # every token
        (2, 0.3),  # 0.1 at any speed-up, and half of the 0.4 that depend on FLOPs
        (4, 0.2),
        (100, 0.104),
        (1000, 0.104),  # beyond the end of the range
        (None, 0.104),  # the first that was timed
    ],
)
def test_scoring_goes_with_the_share_of_flops(speedup: float | None, seconds: float) -> None:
    cost = Cost(0.0, [], [], [(100.0, 0.104), (1.0, 0.5)])
    assert cost.scoring(speedup) == pytest.approx(seconds)


def test_texts_of_about_the_mean_length_are_timed() -> None:
    # The mean is 8, between the 6 and the 9.
    found = window(split(9, 2, 25, 6, 3, 3), 2)
    assert found.lengths.tolist() == [6, 9]
    assert [row[0] for row in found.input_ids] == found.text_seed.tolist() == [3, 0]
    assert window(split(1, 2, 3), 8).lengths.tolist() == [1, 2, 3]
    # Where the mean is near an end, there are still so many.
    assert window(split(1, 1, 1, 30), 3).lengths.tolist() == [1, 1, 30]


@pytest.mark.slow
def test_every_stage_of_an_untrained_model_is_timed(tmp_path) -> None:
    """Without any weights: the folder has a configuration alone."""
    from lotbench.conformance.tiny import tiny_backbone

    tiny_backbone(2).model.config.save_pretrained(tmp_path)
    texts = split(*[12] * 8)

    def sample(method: str, teacher: bool = False, vectors: bool = False, **params: float):
        config = TrialConfig(
            backbone=str(tmp_path),
            task="toy",
            method=method,
            params=params,
            teacher=TeacherConfig(r_drop=1.0),
            targets=[2, 4],
            plugins=[],
        )
        own = replace(texts, labels=None) if vectors else texts
        return Sample(config, teacher, 0 if vectors else 2, window(own, 8), own)

    refused = sample("lot", top_p=7)
    names = ("power-bert", "dense", "length-drop")
    samples = {name: sample(name) for name in names} | {"refused": refused}
    samples["vectors"] = sample("lot", vectors=True)
    found = timed(samples | {"teacher": sample("lot", teacher=True)})
    cost = found["power-bert"]
    assert isinstance(cost, Cost)
    assert [stage.name for stage in cost.recipe] == ["configuration search", "retrain"]
    assert len(cost.steps) == 2 and min(cost.steps) > 0 and cost.start > 0
    # Both ends of its range: every token, and [CLS] alone.
    assert sorted(round(speedup) for speedup, _ in cost.scores)[0] == 1
    assert len(cost.scores) == 2 and cost.searched == 0
    own = found["length-drop"]
    assert isinstance(own, Cost) and own.searched == 30
    for name in ("dense", "teacher"):
        own = found[name]
        assert isinstance(own, Cost) and [round(speedup, 6) for speedup, _ in own.scores] == [1]
    cost = found["vectors"]
    assert isinstance(cost, Cost) and len(cost.steps) == 1 and len(cost.scores) == 2
    assert str(found["refused"]).startswith("InputError: methods.lot.top_p: ")
