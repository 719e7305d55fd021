"""Faulty methods whose decisions break a rule, as class bodies; see `faults`."""

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


def before(decision: str) -> str:
    """A method that returns this before every layer."""
    return f"def before_layer(self, layer, tokens):\n    return {decision}\n"


def also(signature: str, line: str) -> str:
    """The sound method with one more function of one line."""
    return f"{SOUND}\ndef {signature}:\n    {line}\n"


# Fault -> (body of the class, words of the title of the one rule it breaks, words of the message).
DECISIONS: dict[str, tuple[str, str, list[str]]] = {
    "drops [CLS]": (
        before("Drop(self.half(tokens, -self.score(tokens))) if layer == 1 else None"),
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
    "reads a table that only training fills": (
        """
        def __init__(self, params, n_layers, width):
            super().__init__(params, n_layers, width)
            self.register_buffer("table", torch.zeros(0))

        def before_training(self, batches, words):
            self.table = words[:, 0].clone()

        def before_layer(self, layer, tokens):
            return Drop(self.half(tokens, self.table[tokens.batch.input_ids[tokens.rows]]))
        """,
        "decides in evaluation",
        ["IndexError", "; 'table' is empty: a model that is not trained decides, too"],
    ),
    "random in evaluation": (
        before("Drop(self.half(tokens, self.score(tokens) + 9 * torch.rand(len(tokens.rows))))"),
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
    "tells the texts of a pair by their token types": (
        """
        def before_layer(self, layer, tokens):
            second = tokens.batch.token_type_ids[tokens.rows] > 0
            return Drop(self.half(tokens, second + tokens.layout.is_first.double()))
        """,
        "with and without token types",
        ["before_layer of layer 0, text", "left out with token types", "without; "],
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
        also("training_step(self, encoder, batch, step)", "batch.token_type_ids.fill_(1)"),
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
        before("Drop(self.half(tokens, self.score(tokens))[:-1])"),
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
        before("self.half(tokens, self.score(tokens))"),
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
    "merges across texts": (
        before("Merge(tokens.layout.rows // 2 * 2) if layer == 1 else None"),
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
        before("Merge(tokens.rows) if layer else Drop(self.half(tokens, self.score(tokens)))"),
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
}
