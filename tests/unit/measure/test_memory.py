"""Peak memory against hand-computed sizes."""

import torch

from lotbench.measure.memory import highest, peak_bytes

CPU = torch.device("cpu")


def test_the_highest_level():
    assert highest([8, 8, -8, 4, -4, -8]) == 16
    assert highest([]) == 0


def test_temporaries_count_and_earlier_memory_does_not():
    x = torch.ones(1000, 25)  # 100,000 bytes

    def call():
        y = x + 1  # one more
        z = y * y  # two
        del y
        return z.exp_().sum()  # one and a scalar

    assert peak_bytes([call], CPU) == 200_000
    # Each call gives its memory back: the largest of several counts, not their sum.
    assert peak_bytes([call, lambda: torch.ones(70_000), call], CPU) == 280_000


def test_a_model_that_keeps_fewer_tokens_needs_less(make_backbone, make_batch):
    from lotbench.engine.encoder import ReducedEncoder
    from lotbench.reducer import Drop, Params, TokenReducer

    class Half(TokenReducer):
        def before_layer(self, layer, tokens):
            return Drop(tokens.position < 10) if layer == 0 else None

    backbone, batch = make_backbone(), make_batch([20, 20])
    peaks = {}
    for cls in (TokenReducer, Half):
        encoder = ReducedEncoder(backbone, cls(Params(), 3, 32))
        with torch.inference_mode():
            peaks[cls] = peak_bytes([lambda encoder=encoder: encoder(batch)], CPU)
    # 40 tokens of 48 float64s, before and after the activation, are in the feed-forward of dense.
    assert peaks[TokenReducer] >= 40 * 2 * 48 * 8
    assert peaks[Half] < 0.7 * peaks[TokenReducer]
