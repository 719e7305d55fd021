"""Faulty methods, as class bodies; each breaks one rule."""

from __future__ import annotations

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

SOUND = """
def before_layer(self, layer, tokens):
    return Drop(self.half(tokens, self.score(tokens).detach())) if layer == 1 else None
"""

WEIGHTED = """
def __init__(self, params, n_layers, width):
    super().__init__(params, n_layers, width)
    self.used, self.forgotten = nn.Linear(width, 1), nn.Linear(width, 1)

def before_layer(self, layer, tokens):
    if layer != 1:
        return None
    logit = self.used(tokens.hidden).squeeze(1).masked_fill(tokens.layout.is_first, 1e9)
    return Drop(self.half(tokens, logit), aux={"logit": logit})

def overhead_flops(self, layer, n_tokens):
    return n_tokens * 2 * self.width if layer == 1 else 0.0

def loss(self, outputs, batch, trace):
    (event,) = trace.decisions()
    return {"size": event.decision.aux["logit"][~event.layout.is_first].square().mean()}
"""

# Fault -> (body of the class, words of the title of the one rule it breaks, words of the message).
FAULTS: dict[str, tuple[str, str, list[str]]] = {
    "drops [CLS]": (
        """
        def before_layer(self, layer, tokens):
            return Drop(self.half(tokens, -self.score(tokens))) if layer == 1 else None
        """,
        "first token",
        ["before_layer of layer 1 leaves out the first token of 7 of 8 texts", "text 0 (40 tokens"],
    ),
    "drops [CLS] in training only": (
        """
        def before_layer(self, layer, tokens):
            score = self.score(tokens)
            return Drop(self.half(tokens, -score if self.training else score))
        """,
        "first token",
        ["training in stage 'fine-tune'"],
    ),
    "drops [CLS] where it stands alone": (
        """
        def before_layer(self, layer, tokens):
            score = self.score(tokens)
            return Drop(score > score.median()) if layer == 1 else None
        """,
        "first token",
        ["leaves out the first token of 1 of 1 texts", "one token alone"],
    ),
    "random in evaluation": (
        """
        def before_layer(self, layer, tokens):
            return Drop(self.half(tokens, self.score(tokens) + 9 * torch.rand(len(tokens.rows))))
        """,
        "deterministic",
        ["before_layer of layer 0, text 0", "left out at first"],
    ),
    "looks at its neighbours": (
        """
        def before_layer(self, layer, tokens):
            score = self.score(tokens)
            return Drop(score >= score.median())
        """,
        "does not depend on its batch",
        ["text", "left out in a batch of 8", "alone"],
    ),
    "a softmax over the whole batch": (
        """
        def before_layer(self, layer, tokens):
            share = tokens.hidden.norm(dim=1).softmax(0)
            count = tokens.layout.lengths[tokens.layout.sequence]
            return Drop((share * count > 0.2) | tokens.layout.is_first)
        """,
        "does not depend on its batch",
        ["text", "left out in a batch of 8", "alone"],
    ),
    "a threshold of the batch's mean length": (
        """
        def before_layer(self, layer, tokens):
            share = segment_softmax(tokens.hidden.norm(dim=1), tokens.layout)
            mean = tokens.layout.lengths.double().mean()
            return Drop((share > 0.5 / mean) | tokens.layout.is_first)
        """,
        "does not depend on its batch",
        ["text", "left out in a batch of 8", "alone"],
    ),
    "a length that is a share of the longest text's": (
        """
        def after_attention(self, layer, tokens, received):
            longest = tokens.batch.layout.max_length
            count = torch.full_like(tokens.layout.lengths, (longest + 1) // 2)
            return Drop(segment_topk(self.score(tokens), count, tokens.layout))
        """,
        "does not depend on its batch",
        ["after_attention of layer 0, text", "left out in a batch of 8", "alone"],
    ),
    "looks at its row in the split": (
        """
        def before_layer(self, layer, tokens):
            odd = (tokens.batch.index % 2)[tokens.layout.sequence]
            return Drop((odd == tokens.position % 2) | tokens.layout.is_first)
        """,
        "does not depend on its batch",
        ["before_layer of layer 0, text 0", "in one row of its split", "in another"],
    ),
    "looks at the labels": (
        """
        def before_layer(self, layer, tokens):
            wanted = tokens.batch.labels[tokens.layout.sequence] == 1
            return Drop(wanted | tokens.layout.is_first)
        """,
        "ignore the labels",
        ["left out with one label", "with another"],
    ),
    "changes the states": (
        """
        def before_layer(self, layer, tokens):
            tokens.hidden[-1] += 1
        """,
        "its inputs are not changed",
        ["before_layer of layer 0 changes tokens.hidden (32 of", "numbers, by up to 1)"],
    ),
    "changes the batch in its loss": (
        SOUND
        + """
def loss(self, outputs, batch, trace):
    batch.labels += 1
    return {}
""",
        "its inputs are not changed",
        ["loss changes batch.labels (8 of 8 numbers, by up to 1)", "stage 'fine-tune'"],
    ),
    "changes the batch in its training step": (
        SOUND
        + """
def training_step(self, encoder, batch, step):
    batch.token_type_ids.fill_(1)
""",
        "its inputs are not changed",
        ["training_step changes batch.token_type_ids", "stage 'fine-tune'"],
    ),
    "drops [CLS] in its training step": (
        SOUND
        + """
def training_step(self, encoder, batch, step):
    class Explorer(TokenReducer):
        def before_layer(self, layer, tokens):
            return Drop(tokens.position % 2 == 1)

    encoder(batch, reducer=Explorer(self.params, self.n_layers, self.width))
""",
        "first token",
        ["before_layer of layer 0 leaves out the first token of 8 of 8", "(training_step)"],
    ),
    "mask of the wrong shape": (
        """
        def before_layer(self, layer, tokens):
            return Drop(self.half(tokens, self.score(tokens))[:-1])
        """,
        "decides in evaluation",
        ["'faulty': before_layer of layer 0: keep has shape", "(T,)", "and bool are needed"],
    ),
    "mask of the wrong kind": (
        """
        def after_attention(self, layer, tokens, received):
            return Leap(self.half(tokens, self.score(tokens)).float())
        """,
        "decides in evaluation",
        ["after_attention of layer 0: keep has shape", "torch.float32"],
    ),
    "no decision but a mask": (
        """
        def before_layer(self, layer, tokens):
            return self.half(tokens, self.score(tokens))
        """,
        "decides in evaluation",
        ["before_layer of layer 0: returned Tensor; a Leap, a Drop, a Merge or None is needed"],
    ),
    "soft in evaluation": (
        """
        def before_layer(self, layer, tokens):
            weight = None if self.training else self.score(tokens)
            return Drop(torch.ones_like(tokens.layout.is_first), weight=weight)
        """,
        "are hard",
        ["before_layer of layer 0 returns a weight", "fresh, ragged batch, packed"],
    ),
    "soft in a hard stage": (
        """
        def before_layer(self, layer, tokens):
            weight = self.score(tokens) if self.training else None
            return Drop(torch.ones_like(tokens.layout.is_first), weight=weight)
        """,
        "are hard",
        ["before_layer of layer 0 returns a weight", "training in stage 'fine-tune'"],
    ),
    "declares fewer tokens than it keeps": (
        """
        def before_layer(self, layer, tokens):
            sizes = tuple(max(1, size // 2) for size in tokens.layout.sizes)
            return Leap(self.half(tokens, self.score(tokens)), sizes=sizes)
        """,
        "declared sizes",
        ["before_layer of layer 0 declares sizes (20,", "but its mask keeps (20,"],
    ),
    "declares more keys than it sees": (
        """
        def before_layer(self, layer, tokens):
            keep = self.half(tokens, self.score(tokens))
            return Leap(keep, keys=~keep & (tokens.position < 30), key_sizes=tokens.layout.sizes)
        """,
        "declared sizes",
        ["before_layer of layer 0 declares key_sizes (40,", "but its mask sees ("],
    ),
    "raises": (
        """
        def before_layer(self, layer, tokens):
            if layer == 1:
                return {}["no such key"]
        """,
        "decides in evaluation",
        ["KeyError: 'no such key' (faulty.py, line 17, in before_layer)", "fresh, ragged batch"],
    ),
    "wrong FLOPs": (
        WEIGHTED.replace("n_tokens * 2 *", "n_tokens *").replace("self.forgotten", "unused"),
        "FLOPs equal",
        ["overhead_flops, but fvcore counts", "-32.0 a token", "40 tokens"],
    ),
    "FLOPs of the whole batch": (
        WEIGHTED.replace("n_tokens * 2", "n_tokens.sum() * 2").replace("self.forgotten", "unused"),
        "FLOPs equal",
        ["overhead_flops of layer 1 charges text 0 (40 tokens) 7,872", "2,560 alone"],
    ),
    "work that fvcore does not count": (
        """
        def before_layer(self, layer, tokens):
            if layer != 1:
                return None
            ways = torch.eye(self.width, dtype=tokens.hidden.dtype)
            score = torch.cdist(tokens.hidden, ways).amin(1).masked_fill(tokens.layout.is_first, 99)
            return Drop(self.half(tokens, score))
        """,
        "FLOPs equal",
        ["fvcore cannot count aten::cdist; write it as products of matrices", "40 tokens"],
    ),
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
        SOUND
        + """
def loss(self, outputs, batch, trace):
    return {"task": outputs.logits.square().mean()}
""",
        "every stage trains",
        ["loss returns a term 'task', which the trainer adds by itself"],
    ),
    "a loss without return": (
        SOUND
        + """
def loss(self, outputs, batch, trace):
    {"size": outputs.logits.square().mean()}
""",
        "every stage trains",
        ["'faulty': loss returns NoneType; a dict of scalar tensors by name"],
    ),
    "a loss that is not finite": (
        SOUND
        + """
def loss(self, outputs, batch, trace):
    return {"ratio": outputs.logits.sum() * float("nan")}
""",
        "every stage trains",
        ["NonFiniteLoss: the ratio loss is not finite at step 0 of stage 'fine-tune'"],
    ),
    "a loss that raises": (
        SOUND
        + """
def loss(self, outputs, batch, trace):
    return {"distance": (outputs.logits - batch.teacher_logits).sum()}
""",
        "its inputs are not changed",  # the first rule that asks for the loss
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
        ["faulty.py", "in loss", "training a tiny model on random texts"],
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
        ["AttributeError: 'BertModel'", "in training_step", "training a tiny model"],
    ),
    "not reproducible": (
        SOUND
        + """
def loss(self, outputs, batch, trace):
    return {"noise": outputs.logits.square().mean() * random.SystemRandom().random()}
""",
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
        SOUND
        + """
def stages(self):
    return [Stage("only", learning_rates={"router": 1e-3})]
""",
        "sound",
        ["stage 'only' names 'router', which is not a parameter", "none"],
    ),
    "stages whose shares do not sum to 1": (
        SOUND
        + """
def stages(self):
    return [Stage("one", 0.5), Stage("two", 0.4)]
""",
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
    "merges across texts": (
        """
        def before_layer(self, layer, tokens):
            return Merge(tokens.layout.rows // 2 * 2) if layer == 1 else None
        """,
        "what merges is of one text",
        [
            "before_layer of layer 1: groups",
            "row 41 of text 2 merges into row 40, which is of another",
        ],
    ),
    "merges in chains": (
        """
        def after_attention(self, layer, tokens, received):
            return Merge(tokens.layout.rows - (~tokens.layout.is_first).long())
        """,
        "what merges is of one text",
        [
            "after_attention of layer 0: groups",
            "row 2 of text 0 merges into row 1, which itself merges",
        ],
    ),
    "names rows of the whole batch": (
        """
        def before_layer(self, layer, tokens):
            return Merge(tokens.rows) if layer else Drop(self.half(tokens, self.score(tokens)))
        """,
        "what merges is of one text",
        ["before_layer of layer 1: groups has a wrong row for", "but rows end at "],
    ),
    "merges [CLS] into another": (
        """
        def before_layer(self, layer, tokens):
            layout = tokens.layout
            several = (layout.lengths > 1)[layout.sequence]
            return Merge(layout.rows + (layout.is_first & several).long())
        """,
        "first token",
        ["before_layer of layer 0 leaves out the first token of 7 of 8 texts"],
    ),
    "averages by itself, so that no size is known": (
        """
        def before_layer(self, layer, tokens):
            second = (tokens.position % 2 == 0) & ~tokens.layout.is_first
            at = second.nonzero().squeeze(1)
            tokens.hidden[at - 1] = (tokens.hidden[at - 1] + tokens.hidden[at]) / 2
            return Drop(~second)
        """,
        "its inputs are not changed",
        ["before_layer of layer 0 changes tokens.hidden"],
    ),
    "pairs tokens by their row in the batch": (
        """
        def before_layer(self, layer, tokens):
            layout = tokens.layout
            return Merge(layout.rows - (layout.rows % 2 * ~layout.is_first)) if layer == 1 else None
        """,
        "does not depend on its batch",
        [
            "before_layer of layer 1, text 2: 8 tokens left out in a batch of 8, 8 alone",
            "16 decided",
        ],
    ),
    "merges into another token in one mode": (
        """
        def before_layer(self, layer, tokens):
            files = [frame.f_code.co_filename for frame, _ in traceback.walk_stack(None)]
            layout, packed = tokens.layout, any(file.endswith("packed.py") for file in files)
            end = (layout.lengths - 1)[layout.sequence]
            last = (layout.position > 2) & (layout.position == end)
            into = layout.first[layout.sequence] + (1 if packed else 2)
            return Merge(torch.where(last, into, layout.rows)) if layer == 1 else None
        """,
        "the packed path equals the reference",
        ["layer 1, text 0: 1 tokens left out packed, 1 in the reference; 1 decided differently"],
    ),
    "a key's weight beyond 1": (
        """
        def stages(self):
            return [Stage("soft", soft=True)]

        def before_layer(self, layer, tokens):
            keep = self.half(tokens, self.score(tokens).detach())
            if self.training and layer == 1:
                return Drop(torch.ones_like(keep), 2.0 * keep, as_key=True)
            return Drop(keep)
        """,
        "soft stages",
        ["weights from 0 to 2", "and of keys, must be between 0 and 1"],
    ),
    "a need that does not exist": (SOUND + "\nneeds = {'attention'}", "sound", ["attention"]),
    "an unknown budget": (SOUND + "\nbudget_name = 'cut'", "sound", ["'cut'", "no such attr"]),
    "never leaves anything out": (
        """
        def before_layer(self, layer, tokens):
            return Drop(torch.ones_like(tokens.layout.is_first))
        """,
        "learns real text",
        ["no budget leaves out 5% of the tokens", "100% of the tokens kept", "bbc_news"],
    ),
}
