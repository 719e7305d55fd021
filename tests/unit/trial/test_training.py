"""The training loop on a tiny backbone: steps, stages, decay, determinism and failures."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from splits import split_of

from baselines.power_bert import PowerBert
from baselines.random_drop import RandomDrop
from baselines.static import Static
from baselines.truncated import Truncated
from lotbench.config.sections import TrainConfig
from lotbench.data.task import Task
from lotbench.data.tokens import Split
from lotbench.engine.encoder import ReducedEncoder
from lotbench.errors import InputError
from lotbench.kinds.classification import CLASSIFICATION
from lotbench.lot import LeapOfThought
from lotbench.reducer import Params, Stage, Step, TokenReducer
from lotbench.trial.evaluate import evaluate, score
from lotbench.trial.training import NonFiniteLoss, stage_steps, total_steps, train


@pytest.fixture
def split():
    rng = np.random.default_rng(0)
    ids = [[2, *rng.integers(4, 60, size).tolist()] for size in rng.integers(1, 9, 24)]
    return split_of(ids, np.array([int(row[-1] > 30) for row in ids]))


@pytest.fixture
def fresh(make_backbone):
    """A function that makes a new float32 encoder with a method."""

    def make(cls=TokenReducer, **params) -> ReducedEncoder:
        backbone = make_backbone().float()
        # Of TokenReducer itself the parameters are the base class's.
        chosen = getattr(cls, "Params", Params)(**params)
        return ReducedEncoder(backbone, cls(chosen, len(backbone.layers), backbone.width))

    return make


def config(**changes) -> TrainConfig:
    return TrainConfig(
        **{"epochs": 3, "distillation": 0.0, "batch_size": 8, "learning_rate": 1e-3, **changes}
    )


def step_of(distillation: float) -> Step:
    return Step(Stage("fine-tune"), 0.0, torch.Generator(), distillation)


def task_of(split: Split) -> Task:
    return Task("t", 2, CLASSIFICATION, ("accuracy",), split, split, split, "")


def accuracy(encoder: ReducedEncoder, split: Split) -> float:
    return evaluate(encoder, task_of(split), "validation").metrics["accuracy"]


def test_steps_are_whole_and_sum_to_the_total():
    # 3 epochs of ceil(25 / 8) = 4 steps; shares of 0.3 and 0.7 end at round(3.6) = 4 and 12.
    assert total_steps(25, config(), [Stage("all")]) == 12
    steps = [n for _, n in stage_steps([Stage("a", 0.3), Stage("b", 0.7)], 12)]
    assert steps == [4, 8]


def test_steps_final_gives_the_last_stage_the_steps_of_the_epochs():
    # 12 steps of the epochs; 12 / 0.75 = 16 in all, of which 4 come on top.
    stages = [Stage("search", 0.25), Stage("retrain", 0.75)]
    total = total_steps(25, config(steps="final"), stages)
    assert [n for _, n in stage_steps(stages, total)] == [4, 12]
    assert total_steps(25, config(steps="final"), [Stage("all")]) == 12
    # A stage without a share does not train.
    assert total_steps(25, config(steps="final"), [*stages, Stage("left out", 0.0)]) == 16
    assert total_steps(25, config(steps="total"), stages) == 12


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.7, 0.95])
def test_steps_final_is_exact_for_every_share(share):
    stages = [Stage("first", 1 - share), Stage("last", share)]
    for examples in range(80, 500, 7):
        total = total_steps(examples, config(steps="final"), stages)
        wanted = total_steps(examples, config(), stages)
        assert stage_steps(stages, total)[-1] == (stages[-1], wanted)


def test_without_epochs_nothing_is_trained(fresh, split):
    """The stages begin and end, so methods have what they count or write without a gradient."""
    encoder = fresh(LeapOfThought, router="table")
    before = {name: value.clone() for name, value in encoder.named_parameters()}
    found = train(encoder, split, config(epochs=0, steps="final"), seed=0)
    assert (found.steps, found.examples) == (0, 0)
    assert [(stage.steps, stage.losses) for stage in found.stages] == [(0, {})]
    assert all(value.equal(before[name]) for name, value in encoder.named_parameters())
    assert not encoder.training and len(encoder.reducer.word_router.table) == 200


def test_a_stage_before_the_last_trains_on_top(fresh, split):
    # 24 texts in batches of 8 for one epoch: 3 steps, which are half of all.
    record = train(fresh(PowerBert, max_length=40), split, config(epochs=1, steps="final"), seed=0)
    assert [stage.steps for stage in record.stages] == [3, 3]


def test_the_objective_of_a_classification(make_batch):
    batch = replace(make_batch([4]), labels=torch.tensor([0]))
    batch.teacher_logits = torch.tensor([[0.0, 0.0]])
    logits = torch.tensor([[0.0, math.log(3)]])
    terms = step_of(distillation=0.5).objective(logits, batch)
    # Teacher (1/2, 1/2), student (1/4, 3/4): 0.5 ln 2 + 0.5 ln(2/3) = 0.1438410, times 0.5.
    assert float(terms["distillation"]) == pytest.approx(0.5 * 0.1438410, abs=1e-6)
    assert float(terms["task"]) == pytest.approx(math.log(4))
    assert set(step_of(distillation=0.0).objective(logits, batch)) == {"task"}


def test_the_objective_of_a_regression_is_the_squared_distance(make_batch):
    batch = replace(make_batch([4, 5]), labels=torch.tensor([2.5, 0.0]))
    batch.teacher_logits = torch.tensor([[1.0], [3.0]])
    terms = step_of(distillation=1.0).objective(torch.tensor([[2.0], [0.0]]), batch)
    # (1 + 9) / 2 from the teacher; (0.25 + 0) / 2 from the labels.
    assert (float(terms["distillation"]), float(terms["task"])) == (5.0, 0.125)


def test_shares_that_do_not_sum_to_one_are_refused():
    with pytest.raises(ValueError, match=r"sum to 0\.8"):
        stage_steps([Stage("a", 0.3), Stage("b", 0.5)], 12)


def test_a_stage_that_would_be_skipped_is_refused():
    stages = [Stage("search", 0.02), Stage("retrain", 0.98)]
    with pytest.raises(InputError, match="'search' gets none of 12 steps, since its share"):
        stage_steps(stages, 12)
    assert stage_steps([Stage("left out", 0.0), Stage("all", 1.0)], 12)[0][1] == 0


@pytest.mark.slow
def test_training_learns_and_repeats_to_the_last_bit(fresh, split):
    before = accuracy(fresh(), split)
    weights = []
    for _ in range(2):
        encoder = fresh()
        record = train(encoder, split, config(epochs=20), seed=3)
        weights.append(encoder.backbone.model.state_dict())
    after = accuracy(encoder, split)
    assert after > before
    assert (record.steps, record.examples) == (60, 480)
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_after_step_is_called_after_every_step(fresh, split):
    class Clamped(TokenReducer):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            self.weights = torch.nn.Parameter(torch.ones(3))

        def loss(self, outputs, batch, trace):
            assert self.weights.max() <= 1
            return {"far": -self.weights.sum()}

        def after_step(self):
            self.weights.clamp_(max=1)

    encoder = fresh(Clamped)
    train(encoder, split, config(epochs=1), seed=0)
    assert encoder.reducer.weights.tolist() == [1, 1, 1]


def test_tables_are_made_before_and_after_training(fresh, split):
    calls = []

    class Counting(TokenReducer):
        def before_training(self, batches, words):
            assert not torch.is_grad_enabled() and self.stage is None
            rows = [row for batch in batches for row in batch.index.tolist()]
            calls.append((sorted(rows), words.detach().clone()))

        def after_training(self, words):
            assert not torch.is_grad_enabled() and not self.training
            calls.append(words)

    encoder = fresh(Counting)
    train(encoder, split, config(epochs=1), seed=0)
    (rows, before), after = calls
    assert rows == list(range(24)) and after is encoder.backbone.words
    assert not before.equal(after)


def test_trained_models_have_their_tables(fresh, split):
    split = replace(split, saliency=[np.ones(size, np.float32) for size in split.lengths])
    for cls, values in ((Static, {}), (LeapOfThought, {"router": "table"})):
        encoder = fresh(cls, **values)
        train(encoder, split, config(epochs=1), seed=0)
        (table,) = encoder.reducer.buffers()
        assert table.shape == (200,) and table.any()


def test_a_head_without_layers_below_it_learns_at_a_rate_of_its_own(fresh, split):
    encoder = fresh(Truncated, layers=0)
    before = {k: v.clone() for k, v in encoder.backbone.model.state_dict().items()}
    train(encoder, split, config(epochs=1, batch_size=24, learning_rate=1e-4), seed=0)
    after = encoder.backbone.model.state_dict()
    for name, rate in (("classifier.bias", 2e-3), ("bert.embeddings.LayerNorm.bias", 1e-4)):
        moved = float((after[name] - before[name]).abs().max())
        assert moved == pytest.approx(rate, rel=1e-2)


def test_weight_decay_skips_parameters_of_a_method_outside_linear_layers(fresh, split):
    encoder = fresh(PowerBert, **{"lambda": 0.0, "max_length": 40})
    train(encoder, split, config(weight_decay=0.5), seed=0)
    # No text reaches these ranks, so that nothing but decay could move them from 1.
    assert torch.equal(encoder.reducer.weights[:, 10:], torch.ones(3, 29))


def test_decay_shrinks_weight_matrices_and_no_bias(fresh, split):
    encoder = fresh()
    padding = encoder.backbone.model.bert.embeddings.word_embeddings.weight
    start = padding[1].clone()  # of a token that no text has, without a gradient
    # Linear from 0.1 to 0 in 9 steps (1 of warm-up): the factors are 1, 8/8, 7/8, ... 1/8.
    train(encoder, split, config(learning_rate=0.1, weight_decay=0.5), seed=0)
    factors = [1.0, *(k / 8 for k in range(8, 0, -1))]
    wanted = start * np.prod([1 - 0.1 * 0.5 * factor for factor in factors])
    torch.testing.assert_close(padding[1], wanted, rtol=1e-4, atol=1e-7)


def test_a_budget_for_each_layer_is_scored_beside_targets(fresh, split):
    encoder = fresh(RandomDrop, keep_ratio=[1.0, 0.5, 0.5])
    found, _ = score(encoder, task_of(split), (), (1.5,))
    assert [own.budget and own.budget.name for own in found] == ["keep_ratio"] * 2 + [None] * 2


def test_a_loss_term_has_a_text_as_its_name(fresh, split):
    class Numbered(TokenReducer):
        name = "numbered"

        def loss(self, outputs, batch, trace):
            return {0: outputs.logits.sum()}

    with pytest.raises(ValueError, match="loss returns something else as 0; a dict of scalar"):
        train(fresh(Numbered), split, config(), seed=0)


def test_a_loss_that_is_not_finite_ends_the_training(fresh, split):
    with pytest.raises(NonFiniteLoss, match="the task loss is not finite at step"):
        # More than a file may ask for.
        huge = config(epochs=20).model_copy(update={"learning_rate": 1e30})
        train(fresh(), split, huge, seed=0)


def test_a_model_that_is_not_finite_has_no_scores(fresh, split):
    encoder = fresh()
    with torch.no_grad():
        encoder.backbone.model.classifier.bias.fill_(torch.nan)
    with pytest.raises(FloatingPointError, match="24 of 24 texts"):
        evaluate(encoder, task_of(split), "validation")
