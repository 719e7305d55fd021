"""Queries of an embedding that the reduced model encodes, too: learned from and counted."""

import numpy as np
import pytest
import torch
from splits import split_of

from baselines.first_k import FirstK
from lotbench.conformance.tiny import WIDTH, pooled_backbone
from lotbench.data.task import Task
from lotbench.data.tokens import Split
from lotbench.engine.encoder import ReducedEncoder
from lotbench.kinds.embedding import EMBEDDING
from lotbench.measure.flops import dense_flops
from lotbench.trial.evaluate import evaluate, score


def first_k(k: int) -> ReducedEncoder:
    return ReducedEncoder(pooled_backbone(2), FirstK(FirstK.Params(k=k), 2, WIDTH)).eval()


def split(lengths: list[int]) -> Split:
    """Texts of these lengths, with random vectors of dense."""
    draw = np.random.default_rng(sum(lengths))
    ids = [draw.integers(1, 50, length).tolist() for length in lengths]
    dense = draw.normal(size=(len(ids), WIDTH)).astype(np.float32)
    return split_of(ids, texts=[(str(row),) for row in ids], dense=dense)


def task(documents: list[int], queries: list[int], both: bool) -> Task:
    own = split(documents)
    own.queries = split(queries)
    metrics = ("mrr", "overlap", "cosine")
    return Task("t", 0, EMBEDDING, metrics, own, own, own, "f", reduces_queries=both)


def dense(encoder: ReducedEncoder, lengths: list[int]) -> float:
    return float(dense_flops(torch.tensor(lengths), encoder.backbone).sum())


@pytest.mark.parametrize(
    ("both", "lengths", "kept"),
    # Of documents of 8 and 6 tokens the first 3 stay, and of queries of 4 and 2 tokens 3 and 2.
    [(False, [8, 6], [3, 3]), (True, [8, 6, 4, 2], [3, 3, 3, 2])],
)
def test_flops_and_ratios_are_of_what_the_reduced_model_reads(both, lengths, kept):
    encoder = first_k(3)
    found = evaluate(encoder, task([8, 6], [4, 2], both), "validation")
    # What is dropped before the first layer costs nothing, not even the map.
    assert found.dense_flops == pytest.approx(dense(encoder, lengths) / len(lengths))
    assert found.flops == pytest.approx(dense(encoder, kept) / len(lengths))
    assert found.keep_ratio == pytest.approx([sum(kept) / sum(lengths)] * 2)
    assert found.examples == 2 and len(found.predictions) == 2


def test_only_with_both_do_scores_depend_on_the_model_of_the_queries():
    encoder, lengths = first_k(1), [12] * 30
    # [CLS] alone: with both, the vectors of dense queries are not read.
    apart, both = (task(lengths, lengths, own) for own in (False, True))
    other = task(lengths, lengths, True)
    assert other.validation.queries is not None
    other.validation.queries.dense = None
    found = [evaluate(encoder, own, "validation") for own in (apart, both, other)]
    assert found[0].metrics["mrr"] != found[1].metrics["mrr"]
    assert found[1].predictions == found[2].predictions
    assert found[0].metrics["cosine"] == found[1].metrics["cosine"]


def test_a_target_is_of_documents_and_queries_together():
    # Every method leaves queries of 5 tokens whole, so documents have to lose more.
    for both, speed in ((False, 2.0), (True, 2.0)):
        own = task([50] * 4, [5] * 4, both)
        evaluations, _ = score(first_k(20), own, (), [speed])
        (found,) = (each for each in evaluations if each.target and each.split == "selection")
        assert found.flops_speedup == pytest.approx(speed, rel=0.03)
