"""Scores of answers as SQuAD counts them, the best span, and the saliency of spans, by hand."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from splits import split_of
from torch import nn

from lotbench.batch import Batch
from lotbench.reducer import Outputs, Trace
from lotbench.scoring.spans import LONGEST, best_spans, exact_match, token_f1
from lotbench.trial.saliency import gradient_saliency

INF = np.inf


@pytest.mark.parametrize(
    ("answer", "gold", "f1", "exact"),
    [
        ("The  Plum-Tree!", "plumtree", 1, 1),
        ("a red tree", "the red house", 1 / 2, 0),  # red tree, red house
        ("red red red", "red tree", 2 / 5, 0),  # one in common of three and of two
        ("tree by the lake", "tree", 2 / 4, 0),  # tree by lake
        ("lake", "tree", 0, 0),
        ("", "tree", 0, 0),
        ("the", "a", 1, 1),  # neither has a word
    ],
)
def test_scores_of_an_answer(answer, gold, f1, exact):
    assert token_f1(answer, gold) == pytest.approx(f1)
    assert exact_match(answer, gold) == exact


def test_the_best_span_does_not_end_before_it_starts():
    """Start 3 and end 1 are the best alone; of 1-1 (2 + 5), 3-3 (4 + 1) and 1-3 the first."""
    logits = np.array([[[0, 2, 0, 4], [9, 5, 0, 1.0]]])
    inside = np.array([[False, True, True, True]])
    assert best_spans(logits, inside).tolist() == [[1, 1]]
    logits[0, :, 1] = -INF  # it was dropped: 2-3 has 1, 3-3 has 5
    assert best_spans(logits, inside).tolist() == [[3, 3]]
    assert best_spans(np.full((1, 2, 4), -INF), inside).tolist() == [[-1, -1]]


def test_the_best_span_is_not_too_long():
    logits = np.zeros((1, 2, LONGEST + 1))
    logits[0, 0, 0], logits[0, 1, [LONGEST - 1, LONGEST]] = 9, [1, 2]
    assert best_spans(logits, np.ones((1, LONGEST + 1), bool)).tolist() == [[0, LONGEST - 1]]


class Lookup(nn.Module):
    """A teacher without layers: the logits of word i are i for a start and -i for an end."""

    def __init__(self) -> None:
        super().__init__()
        words = torch.arange(7.0)
        self.words = nn.Embedding.from_pretrained(torch.stack([words, -words], 1), freeze=False)
        self.backbone = SimpleNamespace(pooling=None, spans=True)

    def forward(self, batch: Batch, inputs: bool) -> Outputs:
        states, layout = self.words(batch.input_ids), batch.layout
        logits = states.view(layout.batch_size, -1, 2).transpose(1, 2)
        return Outputs(logits, states, layout, layout.rows, Trace(), None, (states,))


def test_the_saliency_of_a_span_is_of_its_likeliest_start_and_end():
    """Words 1, 2 and 3: starts have shares e : e^2 : e^3, ends 1/e : 1/e^2 : 1/e^3.

    The best are the start 3 and the end 1.  The gradient of their log-probabilities is 1 - p there,
    and -p elsewhere; times the state it is (i, -i), whose norm is i times that of both.
    """
    teacher: Any = Lookup()
    shares = np.exp([1, 2, 3]) / np.exp([1, 2, 3]).sum()
    starts, ends = np.array([0, 0, 1]) - shares, np.array([1, 0, 0]) - shares[::-1]
    wanted = np.array([1, 2, 3]) * np.hypot(starts, ends)
    found = gradient_saliency(teacher, split_of([[1, 2, 3]]))
    assert found.tolist() == pytest.approx(wanted.tolist(), rel=1e-2)
