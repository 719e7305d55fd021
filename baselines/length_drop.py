"""Length-Adaptive Transformer: train with random lengths per layer, then search good ones.

Source: Kim and Cho, "Length-Adaptive Transformer: Train Once with Length Drop, Use Anytime with
Search", ACL 2021; code: clovaai/length-adaptive-transformer.

Implemented
- A schedule has a share of the text for each layer, which never rises.  After the attention of
  layer l, the ``ceil(share_l * n)`` tokens of a text of n that receive the most attention stay,
  [CLS] among them; the others are dropped before the feed-forward.
- LengthDrop: each step runs four passes.  The full one has the objective of all methods.  The
  smallest schedule, where every layer drops ``drop_ratio`` of its tokens, and two random ones,
  where every layer drops a random part of that, learn the full pass's answers (the sandwich rule
  with in-place distillation).  All four weigh the same.
- Evolutionary search after training, by score and FLOPs on the selection split.  It starts with
  schedules of one ratio.  New ones are a mutation (each layer, with probability 0.5, gets a share
  between those of its neighbours) or the mean of two, of schedules on the Pareto front.
- The fine-tuning before is the shared teacher.  All steps train the final model.

The budget
- ``length_ratio`` is the mean share over the layers.  A table has schedules from the smallest to
  the full one: the front of the search, or schedules of one ratio without a search.  Between two
  of them the shares are interpolated.  Nothing is below the smallest, which was trained: with the
  published ``drop_ratio`` of 0.2, six layers end at 1.9 times fewer FLOPs, twelve at 3.  Where no
  schedule scores more than the smallest, the table is that one and the full one.

Deviations from the paper and the released code
- Lengths are shares of each text.  There they are numbers of tokens, of padded texts.
- LayerDrop (there each pass skips each layer with probability 0.2 in training) is left out: it is
  another method, which no other method here has, and no decision can skip a layer for [CLS].
- Drop-and-Restore is left out.  There dropped tokens return after the last layer, for tasks that
  read tokens.
- The search scores 30 schedules (``search_evaluations``), on a quarter as many texts of the
  selection split as the training saw, each epoch counted (on the whole split without training).
  There it scores 1,800 (30 rounds of 30 mutations and 30 crossovers) on the split that is
  reported, and parents are renewed once a round.
- No layer of a new schedule has a smaller share than in the smallest schedule.  There the FLOPs
  are not below those of the smallest.
- The front also rises in the mean share, so that each ``length_ratio`` has one schedule.
- The loss of a schedule is KL(full || schedule), as of all teachers here, of sentence vectors 1
  minus the cosine.  There it is KL(schedule || full).
- The four losses are added.  There their mean is taken, which for Adam is the same, but for the
  clipping of gradients.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from pydantic import Field
from torch import Tensor

from lotbench import reducer
from lotbench.batch import Batch
from lotbench.losses import distillation_loss, task_loss
from lotbench.ragged import segment_topk
from lotbench.reducer import Drop, Encoder, Look, Received, Step, TokenReducer, Tokens

RANDOM = 2
"""Random schedules in each step."""
TRIES = 10
"""Most rounds of new schedules, for each that is scored."""
MUTATION = 0.5
"""Probability that a mutation changes a layer."""
WHOLE = 10**6
"""Shares are counted in millionths, so that casting the model does not change them."""
UNIFORM = 10
"""Schedules of one ratio in the table before a search, the smallest and the full one included."""

Schedule = tuple[int, ...]
"""Share of the text after each layer, in millionths."""


class Params(reducer.Params):
    """Hyper-parameters (published: ratio 0.2, 1,800 evaluations)."""

    drop_ratio: float = Field(
        0.2, ge=0.01, lt=1, description="most that a layer drops of its tokens"
    )
    search_evaluations: int = Field(
        30, ge=0, le=100_000, description="schedules that the search scores; 0: no search"
    )
    length_ratio: float = Field(0.5, ge=0, le=1, description="mean share of a text over the layers")


class LengthDrop(TokenReducer):
    """The Length-Adaptive Transformer; see the docstring of this module."""

    params: Params
    table: Tensor
    """Schedules that the search found, (K, L), from small to full; empty without a search."""
    uniform: Tensor
    name = "length-drop"
    source = "Kim and Cho, ACL 2021"
    look = Look(label="LengthDrop", colour="#4B6A9B", marker="H", order=5)
    needs = frozenset({"received_attention"})
    budget_name = "length_ratio"
    budget_range = (0, 1)

    def __init__(self, params: Params, n_layers: int, width: int) -> None:
        super().__init__(params, n_layers, width)
        self.length_ratio = params.length_ratio
        rows = torch.tensor(uniform_schedules(params.drop_ratio, n_layers, UNIFORM))
        self.register_buffer("uniform", rows, persistent=False)
        self.register_buffer("table", torch.zeros(0, dtype=torch.int64))

    def after_attention(self, layer: int, tokens: Tokens, received: Received) -> Drop:
        table = self.table if len(self.table) else self.uniform
        return most_attended(tokens, received, share_at(table, layer, self.length_ratio))

    def training_step(self, encoder: Encoder, batch: Batch, step: Step) -> dict[str, Tensor]:
        keep_all = TokenReducer(self.params, self.n_layers, self.width)
        full = encoder(batch, reducer=keep_all).logits
        shape, device = (RANDOM, self.n_layers), step.generator.device
        drawn = torch.rand(shape, generator=step.generator, device=device)
        drops = self.params.drop_ratio * torch.cat([torch.ones_like(drawn[:1]), drawn])
        divergences = []
        for shares in (1 - drops).cumprod(1).tolist():
            answers = encoder(batch, reducer=_Scheduled(self, shares)).logits
            divergences.append(divergence(answers, full.detach(), batch))
        return step.objective(full, batch) | {"sandwich": torch.stack(divergences).sum()}

    def search(self, score: Callable[[], tuple[float, float]], generator: torch.Generator) -> None:
        count = self.params.search_evaluations
        if not count:
            return
        tried: dict[Schedule, tuple[float, float]] = {}
        full = (WHOLE,) * self.n_layers

        def measure(schedule: Schedule) -> None:
            if schedule not in tried:
                self.table = self.uniform.new_tensor([schedule, full])
                value, flops = score()
                tried[schedule] = flops, value

        with self.at_budget(0.0):  # the first row of the table
            starts = uniform_schedules(self.params.drop_ratio, self.n_layers, max(2, count // 3))
            for schedule in starts:
                measure(schedule)
            for _ in range(TRIES * count):  # few layers have few schedules
                if len(tried) >= count:
                    break
                parents = front(tried)
                measure(mutated(one_of(parents, generator), starts[0], generator))
                if len(tried) < count:
                    one, other = one_of(parents, generator), one_of(parents, generator)
                    measure(tuple((a + b + 1) // 2 for a, b in zip(one, other, strict=True)))
        self.table = self.uniform.new_tensor(front(tried))


class _Scheduled(TokenReducer):
    """Keeps the tokens of one schedule."""

    needs = LengthDrop.needs

    def __init__(self, method: LengthDrop, shares: list[float]) -> None:
        super().__init__(method.params, method.n_layers, method.width)
        self.shares = shares

    def after_attention(self, layer: int, tokens: Tokens, received: Received) -> Drop:
        return most_attended(tokens, received, self.shares[layer])


def most_attended(tokens: Tokens, received: Received, share: float | Tensor) -> Drop:
    """Keeps [CLS] and the tokens that receive the most attention, ``ceil(share * n)`` in all.

    n is the length of the whole text.
    """
    score = received.mean.detach().masked_fill(tokens.layout.is_first, math.inf)
    return Drop(segment_topk(score, tokens.batch.layout.share(share), tokens.layout))


def share_at(table: Tensor, layer: int, ratio: float | Tensor) -> Tensor:
    """The share of a layer, shape (), in the schedule with this mean share, or the nearest to it.

    ``table`` (K, L) has schedules in millionths, whose means rise.
    """
    rows = table.double() / WHOLE
    mean, share = rows.mean(1), rows[:, layer]
    # How far the ratio is on its way from each schedule to the next; two may be equal.
    passed = ((ratio - mean[:-1]) / mean.diff().clamp(min=1e-9)).clamp(0, 1)
    return share[0] + (passed * share.diff()).sum()


def uniform_schedules(drop_ratio: float, n_layers: int, count: int) -> list[Schedule]:
    """So many schedules in which every layer drops the same, from ``drop_ratio`` to nothing."""
    drops = [drop_ratio * (1 - i / (count - 1)) for i in range(count)]
    layers = range(1, n_layers + 1)
    return [tuple(round(WHOLE * (1 - drop) ** layer) for layer in layers) for drop in drops]


def front(tried: dict[Schedule, tuple[float, float]]) -> list[Schedule]:
    """The schedules that score more than all with fewer FLOPs, from small to full.

    The mean share rises, too.  The full schedule is always the last.  ``tried`` has the FLOPs and
    the score of each schedule.
    """
    *others, full = sorted(tried, key=lambda x: (min(x) == WHOLE, tried[x][0], -tried[x][1]))
    kept = others[:1]
    for schedule in others[1:]:
        if tried[schedule][1] > tried[kept[-1]][1] and sum(schedule) > sum(kept[-1]):
            kept.append(schedule)
    return [*kept, full]


def mutated(schedule: Schedule, smallest: Schedule, generator: torch.Generator) -> Schedule:
    """Some layers get a random share between the one before and the one after."""
    made: list[int] = []
    for layer, share in enumerate(schedule):
        if float(torch.rand((), generator=generator)) < MUTATION:
            least = max(smallest[layer : layer + 1] + schedule[layer + 1 : layer + 2])
            most = made[-1] if made else WHOLE
            share = int(torch.randint(least, most + 1, (), generator=generator))
        made.append(share)
    return tuple(made)


def one_of(schedules: list[Schedule], generator: torch.Generator) -> Schedule:
    """One of them at random."""
    return schedules[int(torch.randint(len(schedules), (), generator=generator))]


def divergence(answers: Tensor, full: Tensor, batch: Batch) -> Tensor:
    """Distance of the answers, or sentence vectors (B, D), from those of the full pass."""
    vectors = batch.labels.dim() == 2 and batch.labels.is_floating_point()
    return task_loss(answers, full) if vectors else distillation_loss(answers, full)
