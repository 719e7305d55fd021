"""The kinds of task by name."""

from __future__ import annotations

from lotbench.kinds.classification import CLASSIFICATION
from lotbench.kinds.embedding import EMBEDDING
from lotbench.kinds.kind import Kind
from lotbench.kinds.ranking import RANKING
from lotbench.kinds.regression import REGRESSION
from lotbench.kinds.span import SPAN

KINDS: dict[str, Kind] = {
    kind.name: kind for kind in (CLASSIFICATION, REGRESSION, EMBEDDING, RANKING, SPAN)
}
"""The words of `TaskConfig.kind` are those that are ``named``; labels tell the others."""
