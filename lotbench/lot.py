"""Leap-of-Thought: a router before each layer decides which tokens the layer computes.

Source: Kim, Kim, Park, Lee and Lee, "Leap-of-Thought: Accelerating Transformers via Dynamic Token
Routing", EMNLP 2023; sections 3.2 (router), 3.3 (straight-through training) and 3.4
(gradient-guided training).

Implemented: routers on every layer, straight-through Gumbel-softmax training, identity leap,
context token, gradient guidance from the fine-tuned dense teacher, and the ablations of each.
There is one stage, so all of a trial's steps train the final model.

Deviations from the paper
- ``preset: recommended`` (the default) stops the task gradient before the routers
  (``straight_through: false``), uses narrow routers with a smaller initial bias and their own
  learning rate.  Its guidance divides saliency by the sum, not by a softmax, with a larger
  ``top_p`` and loss weight.
- ``preset: paper`` restores the published routers, their straight-through training, ``top_p``,
  loss weight and single learning rate, and the released code's softmax over texts padded to 128
  tokens, the length of GLUE (a sweep sets ``saliency_length`` to its ``max_length``).  It does not
  restore the rest of the training: the published models start from pretrained weights (here from
  the fine-tuned teacher) and train for 5 epochs at a rate of 2e-5 without weight decay and with
  dropout of attention probabilities.
- No gradient passes through the mean that the router adds to a token.
- ``threshold`` can change after training (the post-hoc budget): a token is processed if
  P(process) exceeds it.  The paper takes the larger class, which is threshold 0.5.
- Guidance labels ignore the saliency of [CLS], since the router does not decide on it.
- Guidance is a mean over the tokens that the batch's routers see.  There it is a mean over each
  text first.
- ``decision_every``, ``guidance: attention | counted | random | none``, ``routing: drop``,
  ``leaping_keys: all``, ``detach_router``, ``router: table``, ``after`` and ``reads: match`` are
  ours.

Notes on the ablations
- ``routing: drop`` has the same routers, guidance and objective, but a token that is not chosen
  never returns.  Labels come from the saliency of the whole text.  With ``straight_through`` the
  task gradient reaches a router through the states of the tokens that stay, since nothing is left
  of the others.
- ``router: table`` decides once, before the embedding.  The one router reads the word's embedding,
  before place and normalisation, and a learned bias for the place is added.  After training that
  is a table with one number for each word and one for each place, so a call looks up and compares.
  A leaping token that nothing reads is never embedded.  Words that training has not seen have the
  score of their embedding.
- ``guidance: counted`` writes that table before training: the logarithm of a word's mean saliency
  over that of its text, as in `baselines.static`.  No router learns, and places count nothing.
- ``after: k`` has no router in the first k layers, which compute every token.  The speed-up of L
  layers in FLOPs is below L / k.
- ``reads: match`` adds to a router's logit a linear map, zero at first, of a row of seven numbers:
  how a token of a second text matches the first (see `lotbench.matching`).  The ``idf`` in it is
  counted in the training texts.  Cosines are of the states that the router reads, between all
  tokens of a text, ``2 n^2 D`` FLOPs each time; the map takes 2 a number and token.  No gradient
  passes through the row.  With ``router: table`` it is the five numbers that words alone tell.
- ``balance: chosen`` (`FixedBudget`) has no such map, since labels of saliency need not say what a
  match is worth.  A task is read either by the router's score alone, or mostly by how the words
  around a token match the first text, of which every token then comes first.  Each batch of the
  first steps is also run under both `BALANCES`, without gradient.  That of the lower distillation
  loss stays: dense is nearly untrained then, so it tells what its own answers need.  Later losses
  tell less, since all answers have moved, and labels of relevance are too noisy.
- The guidance loss also trains the backbone, unless ``detach_router`` is set.  It is about ten
  times the task loss at the start of the recommended preset.

Deviations from the released code, which differs from the paper
- A layer does not compute skipped tokens.  There it computes them, their computed state enters
  the next layer, and only the final output is blended.
- Evaluation is deterministic.  There it has Gumbel noise.
- The router's mean is over real tokens.  There it includes padding.
- The context token is the mean of the leaping tokens without [CLS].  It is only a key and value,
  and is absent if no token leaps.  There it includes [CLS] and passes through the layer.
- Speed-up is measured in FLOPs and seconds.  There it is the mean share of kept tokens.
- The best checkpoint is not chosen on the split that is reported.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lotbench.batch import Batch
from lotbench.errors import InputError
from lotbench.lot_params import FixedBudgetParams, Params
from lotbench.matching import (
    BALANCES,
    Idf,
    Shares,
    Sides,
    balanced,
    state_rows,
    topk_of_sides,
    word_rows,
)
from lotbench.ragged import Ragged, seeded_uniform, segment_topk, select
from lotbench.reducer import (
    Decision,
    Drop,
    Encoder,
    Leap,
    Look,
    Outputs,
    Stage,
    Step,
    TokenReducer,
    Tokens,
    Trace,
)
from lotbench.routers import Router, WordRouter, guidance_labels, margins, mean_leaping

TRIED_UNTIL, TRIED_RATIOS = 0.06, (1 / 3, 1 / 6)
"""Progress until which balances are tried, as far as the rate warms up, and their keep ratios."""
# A marker for each variant, and a shade of red for each variant of both recipes.
MARKERS = {
    **{"": "o", ", one decision": "p", ", drop": "v", ", one decision, drop": "<"},
    **{", table": "D", ", table, drop": ">"},
}
SHADES = {
    "ours": ("#D55E00", "#6B1D00", "#FFA983", "#A87A68", "#FF3B1F", "#AD4C3C"),
    "paper": ("#A61C3C", "#4A0A1C", "#F5A3B5", "#94666E", "#E03A78", "#7D2E55"),
}


class LeapOfThought(TokenReducer):
    """Leap-of-Thought; see the docstring of this module."""

    params: Params
    name = "lot"
    version = 3
    source = "Kim et al., EMNLP 2023"
    budget_name = "threshold"
    budget_range = (0, 1)

    def __init__(self, params: Params, n_layers: int, width: int) -> None:
        super().__init__(params, n_layers, width)
        self.threshold = params.threshold
        sizes = width, params.router_width, params.router_bias
        table, every, after = params.router == "table", params.decision_every, params.after
        self.features = params.match_features
        if params.reads == "match":
            self.register_buffer("idf", torch.zeros(0))
        self.word_router = WordRouter(*sizes, self.features) if table else None
        wrong = f"after: {after} leaves no layer to decide on; give at most {n_layers - 1}"
        if table:
            wrong = f"router: table decides once, but decision_every: {every} decides again"
            wrong += "; remove decision_every"
        if (table and every < n_layers) or 0 < n_layers <= after:
            raise InputError(f"{self.name}: in a backbone of {n_layers} layers {wrong}")
        self.routers = nn.ModuleList(
            Router(*sizes, params.router_context, self.features)
            for _ in range(after, 0 if table else n_layers, every)
        )
        self.counted = params.guidance == "counted"
        needed = {"gradient": "saliency", "counted": "saliency", "attention": "attention_saliency"}
        self.needs = frozenset(needed[key] for key in {params.guidance} & needed.keys())

    @classmethod
    def look_with(cls, params: Params, n_layers: int) -> Look:
        recipe = "paper" if params.preset == "paper" else "ours"
        once = ", one decision" * (n_layers - params.after <= params.decision_every)
        variant = ", table" if params.router == "table" else once  # a table always decides once
        variant += ", drop" * (params.routing == "drop")
        place = list(MARKERS).index(variant)
        shape: Any = {"colour": SHADES[recipe][place], "marker": MARKERS[variant], "role": "main"}
        if recipe == "paper":
            shape["published"] = True
        order = place + len(MARKERS) * (recipe == "paper")
        more = further(params)
        if more:  # in a colour that no other method of a figure has
            shape = {"role": "main"}
        return Look(label=f"LoT ({recipe}{variant}{more})", order=order, **shape)

    def stages(self) -> list[Stage]:
        rate = self.params.router_learning_rate
        owner = "word_router" if self.word_router else "routers"
        rates = {} if rate is None else {owner: rate}
        return [Stage("route", soft=self.params.straight_through, learning_rates=rates)]

    def before_training(self, batches: Iterable[Batch], words: Tensor) -> None:
        idf, shares = Idf(words), Shares(words)
        matches = self.params.reads == "match"
        for batch in batches if matches or self.counted else ():
            idf.count(batch)
            if self.counted:
                shares.count(batch)
        if matches:
            self.idf = idf.table()
        if self.counted and self.word_router:
            self.word_router.table = shares.table().log()

    def after_training(self, words: Tensor) -> None:
        if self.word_router and not self.counted:
            self.word_router.write_table(words)

    def before_embedding(self, batch: Batch, words: Tensor) -> Decision | None:
        if not self.word_router:
            return None
        if len(self.word_router.table) and (self.counted or not self.training):
            logits = self.word_router.looked_up(batch).float()
        else:
            words = words.detach() if self.params.detach_router else words
            logits = self.word_router.computed(batch, words).float()
        if self.features:
            row = word_rows(batch, Sides.of(batch), self.idf)
            logits = self.word_router.with_match(logits, row)
        decision = self._decided(logits, batch.layout, batch)
        decision.aux["logits"] = logits
        if self.params.routing == "drop":
            return Drop(decision.keep, decision.weight, aux=decision.aux)
        return decision

    def _decided(self, logits: Tensor, layout: Ragged, batch: Batch) -> Leap:
        """The decision from a router's logits, shape (T, 2)."""
        if self.training and self.params.straight_through:
            return self._sample(logits, layout)
        return self.choose(logits[:, 1] - logits[:, 0], layout, batch)

    def before_layer(self, layer: int, tokens: Tokens) -> Decision | None:
        drops, since = self.params.routing == "drop", layer - self.params.after
        number, reused = divmod(since, self.params.decision_every)
        if self.word_router or since < 0 or (reused and drops):
            return None
        if reused and isinstance(tokens.previous, Leap):
            decision = replace(tokens.previous, aux={})
            if decision.weight is None:  # the same tokens leap, and their mean is unchanged
                return decision
        elif tokens.layout.known_sizes is None and self._reads_once:
            margin = self._margins(number, tokens)
            decision = self.choose(margin[:, 0], tokens.layout, tokens.batch)
            decision.aux["later"] = margin[:, 1:]
        else:
            hidden = tokens.hidden.detach() if self.params.detach_router else tokens.hidden
            router: Any = self.routers[number]
            logits = router(hidden, tokens.layout).float()
            if self.features:
                logits = router.with_match(logits, self._rows(tokens))
            decision = self._decided(logits, tokens.layout, tokens.batch)
            decision.aux["logits"] = logits
        if drops:
            return Drop(decision.keep, decision.weight, aux=decision.aux)
        if self.params.leaping_keys == "context":
            keep = decision.keep
            if tokens.protected is not None:
                keep = keep | tokens.protected
            context = mean_leaping(tokens.hidden, keep, tokens.layout)
            return replace(decision, context=context)
        if self.params.leaping_keys == "all":
            keys = torch.ones_like(decision.keep)
            return replace(decision, keys=keys, key_sizes=tokens.layout.known_sizes)
        return decision

    @property
    def _reads_once(self) -> bool:
        """True if in a graph all routers read a state when it is new, and not again.

        Since some then read what a later layer replaces, they have to be narrow: these products
        are at most 1/24 of those of the layers.
        """
        params = self.params
        alone = all(type(router) is Router and not router.context for router in self.routers)
        narrow = (self.n_layers - 1) * params.router_width <= self.width
        leaps = params.routing == "leap" and params.reads == "self"
        return alone and narrow and leaps and params.decision_every == 1

    def _rows(self, tokens: Tokens) -> Tensor:
        """What the routers read of how each token matches, shape (T, F)."""
        batch, at, sides = tokens.batch, tokens.rows, Sides.of(tokens.batch)
        states = state_rows(tokens.hidden, tokens.layout, sides.at(at))
        return torch.cat([word_rows(batch, sides, self.idf)[at], states], 1)

    def _margins(self, number: int, tokens: Tokens) -> Tensor:
        """The logit of ``P(process)`` by a router and by each later one, shape (T, R).

        A token that leapt over the layer before has the logits that it had there.
        """
        last = tokens.previous
        routers: Any = self.routers[number:]
        if not isinstance(last, Leap):
            return margins(routers, tokens.hidden)
        at, _ = select(last.keep, tokens.layout, last.sizes)
        new = tokens.hidden.index_select(0, at)
        return last.aux["later"].index_copy(0, at, margins(routers, new))

    def choose(self, margin: Tensor, layout: Ragged, batch: Batch) -> Leap:
        """The hard decision from the logit of ``P(process)``, shape (T,)."""
        return Leap((margin.sigmoid() > self.threshold) | layout.is_first)

    def _sample(self, logits: Tensor, layout: Ragged) -> Leap:
        """Straight-through Gumbel-softmax: hard value, soft gradient (section 3.3)."""
        soft = F.gumbel_softmax(logits, tau=self.params.temperature)[:, 1]
        keep = (soft > 0.5) | layout.is_first
        hard = keep.to(soft.dtype)
        straight = torch.where(layout.is_first, hard, hard + (soft - soft.detach()))
        return Leap(keep, straight)

    def loss(self, outputs: Outputs, batch: Batch, trace: Trace) -> dict[str, Tensor]:
        params = self.params
        if params.guidance in ("counted", "none") or not params.loss_weight:
            return {}
        saliency = batch.saliency
        if params.guidance == "random":
            saliency = seeded_uniform(batch.text_seed, batch.layout).float()
        assert saliency is not None, "in needs"
        labels = guidance_labels(
            saliency, batch.layout, params.top_p, params.share_normalisation, params.saliency_length
        ).long()
        losses = []  # cross-entropy of the routers against the saliency labels (section 3.4)
        for event in trace.events:
            if "logits" in event.decision.aux:
                rest, wanted = ~event.layout.is_first, labels[event.rows]
                logits = event.decision.aux["logits"]
                loss = F.cross_entropy(logits[rest], wanted[rest], reduction="sum")
                # At least 1, since [CLS] may be all that is left of every text.
                losses.append(loss / max(1, event.layout.total - event.layout.batch_size))
        return {"guidance": params.loss_weight * torch.stack(losses).mean()}

    def overhead_flops(self, layer: int, n_tokens: Tensor) -> Tensor | float:
        inner, since = self.params.router_width, layer - self.params.after
        router = 2 * self.width * inner + 2 * inner * 2
        if self.word_router and layer < 0:
            return n_tokens * (router * (not len(self.word_router.table)) + 2 * self.features)
        if self.word_router or layer < 0 or since < 0 or since % self.params.decision_every:
            return 0.0
        cosines = n_tokens * n_tokens * 2 * self.width if self.features else 0.0
        return n_tokens * (router + 2 * self.features) + cosines


class FixedBudget(LeapOfThought):
    """Leap-of-Thought with a fixed keep ratio; not in the paper.

    In a text of n tokens, every layer processes [CLS] and the tokens of highest ``P(process)``,
    ``ceil(keep_ratio * n)`` in total.  Shapes depend on the lengths alone, so nothing waits for
    the device, and the packed path compiles (``torch.compile(..., fullgraph=True)``).  ``balance``
    (2,) is there only with ``balance: chosen``.
    """

    params: FixedBudgetParams
    balance: Tensor
    name = "lot-fixed"
    version = 2
    source = "Kim et al., EMNLP 2023, with a fixed budget"
    budget_name = "keep_ratio"

    def __init__(self, params: FixedBudgetParams, n_layers: int, width: int) -> None:
        super().__init__(params, n_layers, width)
        self.keep_ratio = params.keep_ratio
        if params.balance == "chosen":
            self.register_buffer("balance", torch.tensor(BALANCES[0]))
            self.losses = torch.zeros(len(BALANCES), dtype=torch.float64)

    @classmethod
    def look_with(cls, params: Params, n_layers: int) -> Look:
        table = params.router == "table"
        label, more = f"LoT (fixed budget{', table' * table}", further(params)
        more += ", balanced" * (params.reads == "match" and not params.match_features)
        shape: Any = {} if more else {"colour": "#C98B6B", "marker": "H" if table else "d"}
        return Look(label=f"{label}{more})", role="main", order=12, **shape)

    def training_step(self, encoder: Encoder, batch: Batch, step: Step) -> None:
        """Tries both balances while the rate warms up, and trains with the better one so far."""
        if self.params.balance == "chosen" and step.progress < TRIED_UNTIL:
            self._try_balances(encoder, batch, step)
            self.balance.copy_(torch.tensor(BALANCES[int(self.losses.argmin())]))

    @torch.no_grad()
    def _try_balances(self, encoder: Encoder, batch: Batch, step: Step) -> None:
        """Adds to ``losses`` how far a batch's answers are from dense's under each balance."""
        encoder.train(False)
        for ratio in TRIED_RATIOS:
            with self.at_budget(ratio):
                for number, balance in enumerate(BALANCES):
                    self.balance.copy_(torch.tensor(balance))
                    outputs = encoder(batch, reducer=self)  # given, so no speed-up is noted
                    terms = step.objective(outputs.logits, batch)
                    self.losses[number] += float(terms.get("distillation", terms["task"]))
        encoder.train(True)

    def choose(self, margin: Tensor, layout: Ragged, batch: Batch) -> Leap:
        if self.params.balance == "chosen":
            margin = balanced(margin, batch, self.idf, self.balance)
        score = margin.masked_fill(layout.is_first, math.inf)
        count, share = layout.share(self.keep_ratio), self.params.first_share
        if share is None:
            keep = segment_topk(score, count, layout)
        else:
            keep = topk_of_sides(score, batch.text_of_token > 0, count, share, layout)
        return Leap(keep, sizes=layout.share_sizes(self.keep_ratio))


def further(params: Params) -> str:
    """What the label of a variant says of ``after``, ``guidance: counted`` and ``reads``."""
    after = f", after {params.after} layers".replace(" 1 layers", " 1 layer") * bool(params.after)
    counted = ", counted" * (params.guidance == "counted")
    return after + counted + ", match" * (params.reads == "match")
