"""Faulty methods, as class bodies; each breaks one rule."""

from decision_faults import DECISIONS, SOUND, WEIGHTED, also

HEADER = """
import random, torch, traceback
from torch import nn
from lotbench.ragged import segment_mean, segment_softmax, segment_topk
from lotbench.reducer import Drop, Leap, Merge, Stage, TokenReducer

class Method(TokenReducer):
    name = "faulty"

    def score(self, tokens):
        return tokens.hidden.norm(dim=1).masked_fill(tokens.layout.is_first, 1e9)

    def half(self, tokens, score):
        return segment_topk(score, (tokens.layout.lengths + 1) // 2, tokens.layout)

"""


def loss(line: str) -> str:
    """The sound method with a loss of one line."""
    return also("loss(self, outputs, batch, trace)", line)


# Fault -> (body of the class, words of the title of the one rule it breaks, words of the message).
FAULTS: dict[str, tuple[str, str, list[str]]] = {
    **DECISIONS,
    "a parameter without gradient": (
        WEIGHTED,
        "gets a gradient",
        ["no gradient reaches forgotten.weight, forgotten.bias", "fine-tune", "Stage.frozen"],
    ),
    "a layer's parameter without gradient": (
        WEIGHTED.replace("self.forgotten", "self.shift")
        .replace("nn.Linear(width, 1)\n", "nn.Parameter(torch.zeros(n_layers))\n")
        .replace(".squeeze(1).masked", ".squeeze(1).sub(self.shift[1]).masked"),
        "gets a gradient",
        ["no gradient reaches shift[0], shift[2], shift[3] in any"],
    ),
    "a loss in the place of the task's": (
        loss('return {"task": outputs.logits.square().mean()}'),
        "every stage trains",
        ["loss returns a term 'task', which the trainer adds by itself"],
    ),
    "a loss without return": (
        loss('{"size": outputs.logits.square().mean()}'),
        "every stage trains",
        ["'faulty': loss returns NoneType; a dict of scalar tensors by name"],
    ),
    "a loss that is not finite": (
        loss('return {"ratio": outputs.logits.sum() * float("nan")}'),
        "every stage trains",
        ["NonFiniteLoss: the ratio loss is not finite at step 0 of stage 'fine-tune'"],
    ),
    "a loss that raises": (
        loss('return {"distance": (outputs.logits - batch.teacher_logits).sum()}'),
        "every stage trains",
        ["TypeError", "faulty.py", "in loss", "training in stage"],
    ),
    "a loss that takes labels for classes": (
        SOUND
        + """
def loss(self, outputs, batch, trace):
    right = outputs.logits.gather(1, batch.labels[:, None])
    return {"margin": (1 - right).relu().mean()}
""",
        "sentence vectors: every stage trains",
        ["faulty.py", "in loss", "training in stage"],
    ),
    "a training step that needs a classifier": (
        SOUND
        + """
def training_step(self, encoder, batch, step):
    outputs = encoder(batch)
    early = encoder.backbone.classify(outputs.hidden[outputs.layout.first])
    return step.objective(outputs.logits, batch) | {"early": early.square().mean()}
""",
        "sentence vectors: every stage trains",
        ["AttributeError: 'BertModel'", "in training_step", "training in stage"],
    ),
    "not reproducible": (
        loss('return {"noise": outputs.logits.square().mean() * random.SystemRandom().random()}'),
        "reproducible",
        ["of the first training", "of the second", "training the same model a second time"],
    ),
    "forgets what it learned": (
        """
        shift = 0

        def start_stage(self, stage):
            super().start_stage(stage)
            self.shift = 5

        def before_layer(self, layer, tokens):
            if self.shift and layer == 1:
                return Drop(self.half(tokens, self.score(tokens).detach()))
        """,
        "saved model",
        ["left out before", "after"],
    ),
    "a training step that leaves the budget moved": (
        """
        budget_name = "share"
        share = 0.5

        def before_layer(self, layer, tokens):
            if layer == 1:
                count = (tokens.layout.lengths * self.share).ceil().clamp(min=1)
                return Drop(segment_topk(self.score(tokens), count, tokens.layout))

        def training_step(self, encoder, batch, step):
            self.share = 0.25
        """,
        "saved model",
        ["left out before", "after"],
    ),
    "a search that is forgotten": (
        """
        divisor = 2

        def search(self, score, generator):
            self.divisor = 3

        def before_layer(self, layer, tokens):
            count = (tokens.layout.lengths + 2) // self.divisor
            return Drop(segment_topk(self.score(tokens), count, tokens.layout))
        """,
        "saved model",
        ["left out before", "after"],
    ),
    "a stage that names no parameter": (
        also("stages(self)", 'return [Stage("only", learning_rates={"router": 1e-3})]'),
        "sound",
        ["stage 'only' names 'router', which is not a parameter", "none"],
    ),
    "stages whose shares do not sum to 1": (
        also("stages(self)", 'return [Stage("one", 0.5), Stage("two", 0.4)]'),
        "sound",
        ["the shares of the stages sum to 0.9"],
    ),
    "needs that are a list": (SOUND + "\nneeds = ['saliency']", "sound", ["is a list; a set"]),
    "a parameter without a gradient": (
        SOUND
        + """
def __init__(self, params, n_layers, width):
    super().__init__(params, n_layers, width)
    self.fixed = nn.Parameter(torch.randn(width, width), requires_grad=False)
""",
        "sound",
        ["fixed has requires_grad=False", "stage.frozen", "buffer"],
    ),
    "a budget that breaks outside its range": (
        """
        budget_name = "share"
        share = 0.5

        def before_layer(self, layer, tokens):
            if layer == 1:
                odds = self.share / (1 - self.share)
                return Drop((self.score(tokens) > odds * 3) | tokens.layout.is_first)
        """,
        "decides in evaluation",
        ["ZeroDivisionError", "fresh, share=1 (tried, because no field of Params limits share"],
    ),
    "a leap's weight beyond 1": (
        """
        def stages(self):
            return [Stage("soft", soft=True)]

        def before_layer(self, layer, tokens):
            keep = self.half(tokens, self.score(tokens).detach())
            if self.training and layer == 1:
                return Leap(keep, keep * 100.0 - 50)
            return Leap(keep)
        """,
        "soft stages",
        ["weights from -50 to 50", "between 0 and 1"],
    ),
    "a need that does not exist": (SOUND + "\nneeds = {'attention'}", "sound", ["attention"]),
    "an unknown budget": (SOUND + "\nbudget_name = 'cut'", "sound", ["'cut'", "no such attr"]),
    "never leaves anything out": (
        """
        def before_layer(self, layer, tokens):
            return Drop(torch.ones_like(tokens.layout.is_first))
        """,
        "learns real text",
        ["no budget leaves out 5% of the tokens", "100% of tokens kept", "bbc_news"],
    ),
}
