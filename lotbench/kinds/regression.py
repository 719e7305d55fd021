"""Regression: a number for each text or pair, learned by the squared distance."""

from __future__ import annotations

from lotbench.kinds.kind import Kind
from lotbench.scoring.metrics import REGRESSION as METRICS


class Regression(Kind):
    name, article = "regression", "a regression"
    keys, metrics = ("protect", "evidence", "regression"), METRICS


REGRESSION = Regression()
