"""Trained models with their rows: routes of texts, at the budget of a target."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from lotbench.batch import Batch
from lotbench.data.places import check_has_places, places
from lotbench.data.tokens import Split, text_seed, tokenise
from lotbench.engine import checkpoint
from lotbench.engine.encoder import ReducedEncoder
from lotbench.engine.loading import load_tokenizer
from lotbench.errors import InputError
from lotbench.inspection import trace
from lotbench.inspection.route import Route
from lotbench.scoring.values import cosines
from lotbench.store import bucket
from lotbench.store.rows import Trial
from lotbench.store.store import Store
from lotbench.trial.cache import cache_folder
from lotbench.trial.checks import check_data, stored_config
from lotbench.trial.saliency import gradient_saliency
from lotbench.trial.tasks import task_of
from lotbench.trial.teacher import teacher_outputs

TOGETHER = 32
"""Texts of one forward pass."""


class Inspected:
    """A trained model, and its row if its folder is in a store."""

    def __init__(self, folder: Path, target: float | None = None) -> None:
        """``target`` is the FLOPs speed-up whose budget is used; None is that of training."""
        self.folder, self.target = folder.resolve(), target
        self.encoder = checkpoint.load(self.folder)
        self.tokenizer = load_tokenizer(str(self.folder))
        self.max_length = checkpoint.read_card(self.folder).max_length
        if target is not None:
            self.encoder.reducer.budget = self._budget(target)

    def _budget(self, target: float) -> float:
        """The budget that the row has for a target."""
        evaluations = self.row.evaluations if self.row else []
        for evaluation in evaluations:
            if evaluation.budget and evaluation.target == target:
                return evaluation.budget.value
        known = {x.target for x in evaluations if x.target is not None}
        listed = ", ".join(f"{speed:g}" for speed in sorted(known)) or "none"
        raise InputError(
            f"--target {target:g}: the row of {self.folder.name} has no budget for it "
            f"(targets there: {listed})"
        )

    @cached_property
    def row(self) -> Trial | None:
        """The trial of the model: a store has its models in ``models/<trial id>``."""
        return Store(self.folder.parent.parent).trial(self.folder.name)

    @property
    def name(self) -> str:
        """The method as tables write it, and the target or budget."""
        reducer = self.encoder.reducer
        method = reducer.look_with(reducer.params, len(self.encoder.backbone.layers)).label
        if self.target is not None:
            return f"{method} at {self.target:g}x FLOPs"
        if reducer.budget_name is None:
            return method
        return f"{method} {reducer.budget_name}={reducer.budget}"

    @cached_property
    def teacher(self) -> ReducedEncoder | None:
        """The dense teacher of the trial; None if it is not in the cache."""
        key = self.row and self.row.teacher and self.row.teacher.key
        folder = cache_folder() / "teachers" / str(key) / "model"
        bucket.pull(folder)
        return checkpoint.load(folder) if key and folder.is_dir() else None

    def route(self, fields: tuple[str, ...]) -> Route:
        """The route of a text or text pair; a sentence vector is compared with the teacher's."""
        route = next(self.routes([fields]))
        if self.encoder.backbone.pooling is None or self.teacher is None:
            return route
        split = self._split(fields)
        vectors = (teacher_outputs(model, split) for model in (self.encoder, self.teacher))
        return replace(route, answer=f"cosine {cosines(*vectors)[0]:.3f} to dense")

    def routes(
        self, texts: Sequence[tuple[str, ...]], evidence: Sequence[np.ndarray] | None = None
    ) -> Iterator[Route]:
        """The route of each text or text pair, in order.

        ``evidence`` (n,) bool are true for the evidence tokens of a text.
        """
        marks = iter(evidence or ())
        layers = len(self.encoder.backbone.layers)
        for start in range(0, len(texts), TOGETHER):
            some = texts[start : start + TOGETHER]
            ids, types = tokenise(some, self.tokenizer, self.max_length)
            batch = Batch.from_ids(ids, types, text_seed=[text_seed(fields) for fields in some])
            with torch.inference_mode():
                outputs = self.encoder(batch)
            fates = trace.fates(outputs.trace, batch.layout.total, layers)
            sure = trace.confidence(outputs.trace, batch.layout.total, layers)
            end = 0
            for row, logits in zip(ids, outputs.logits, strict=True):
                part, end = slice(end, end + len(row)), end + len(row)
                tokens = [str(self.tokenizer.convert_ids_to_tokens(token)) for token in row]
                own = self.name, self._answer(logits), tokens, fates[:, part], sure[:, part]
                yield Route(*own, evidence=next(marks, None))

    def covered(self, fields: tuple[str, ...], passages: Sequence[str]) -> np.ndarray:
        """The tokens of a text or pair that stand in passages of its last field, (n,), bool."""
        check_has_places(self.tokenizer, "--evidence")
        starts = [fields[-1].index(passage) for passage in passages]
        spans = [(at, at + len(own)) for at, own in zip(starts, passages, strict=True)]
        (found,) = places([fields], self.tokenizer, self.max_length)
        return found.covered(spans, len(fields) - 1)

    def split(self, name: str) -> Split:
        """The ``validation`` or ``selection`` split of the model's trial."""
        if self.row is None or self.row.config is None:
            raise InputError(f"{self.folder}: not in a store, so its data is not known; use --text")
        config = stored_config(self.row)
        task = task_of(config, self.tokenizer)
        check_data(self.folder.parent.parent, task, [self.row])
        return getattr(task, name)

    def saliency(self, fields: tuple[str, ...]) -> np.ndarray | None:
        """The teacher's saliency as a share of the largest, (n,); None without a cached teacher.

        That of the class which the teacher predicts; see `lotbench.trial.teacher`.
        """
        if self.teacher is None:
            return None
        split = self._split(fields)
        answers = teacher_outputs(self.teacher, split)
        if self.teacher.backbone.pooling is None:
            split.labels = answers.argmax(axis=1)
        else:
            split.dense = answers
        values = gradient_saliency(self.teacher, split)
        return values / max(float(values.max()), 1e-30)

    def _split(self, fields: tuple[str, ...]) -> Split:
        ids, types = tokenise([fields], self.tokenizer, self.max_length)
        return Split(ids, types, None, np.array([text_seed(fields)]), [fields])

    def _answer(self, logits: torch.Tensor) -> str:
        if self.encoder.backbone.pooling is not None:
            return ""
        if len(logits) == 1:
            return f"{float(logits[0]):.2f}"
        share = torch.softmax(logits.float(), dim=0)
        place = int(share.argmax())
        classes = (self.row and self.row.data and self.row.data.classes) or []
        name = classes[place] if place < len(classes) else f"class {place}"
        return f"{name} ({float(share[place]):.2f})"
