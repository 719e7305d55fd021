"""What a trial costs: the texts that are timed, and one real timing."""

import numpy as np
import pytest
from splits import split_of

from baselines.length_drop import LengthDrop
from baselines.power_bert import PowerBert
from lotbench.config.sections import TeacherConfig, TrainConfig
from lotbench.data.tokens import Split
from lotbench.engine.encoder import ReducedEncoder
from lotbench.forecast.sample import evenly, sample
from lotbench.lot import LeapOfThought
from lotbench.reducer import Params, TokenReducer


def split(*lengths: int) -> Split:
    """Texts of these lengths whose ids say where they stood."""
    ids = [[place] * length for place, length in enumerate(lengths)]
    return split_of(ids, np.arange(len(ids)) % 2)


def test_texts_of_all_lengths_are_timed():
    batch = evenly(split(9, 2, 25, 6, 3), 3)
    assert batch.lengths.tolist() == [2, 6, 25]
    assert batch.text_seed.tolist() == [1, 3, 2]
    assert evenly(split(3, 1, 2), 8).lengths.tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("method", "params", "stages", "searched"),
    [
        (TokenReducer, {}, 1, 0),
        (LeapOfThought, {}, 1, 0),
        (PowerBert, {"max_length": 20}, 2, 0),
        (LengthDrop, {}, 1, 30),
    ],
)
def test_an_untrained_model_is_timed(make_backbone, method, params, stages, searched):
    backbone = make_backbone().float()
    chosen = getattr(method, "Params", Params)(**params)
    encoder = ReducedEncoder(backbone, method(chosen, len(backbone.layers), backbone.width))
    fit = TeacherConfig() if method is TokenReducer else TrainConfig(steps="final")
    cost = sample(encoder, fit, split(*[12] * 8), split(*[12] * 4))
    assert len(cost.recipe) == stages and cost.searched == searched
    assert cost.step > 0 and cost.text > 0
    assert cost.speedup == 1 if method is TokenReducer else cost.speedup > 0
