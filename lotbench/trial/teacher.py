"""The artefacts that trials share: a dense teacher, its answers and saliency, computed once.

The teacher of sentence vectors is the backbone as it is; that of other tasks is fine-tuned.

Each is in the cache under a hash of its data, settings and weights; see `lotbench.trial.cache`.
With ``precision: auto``, machines that share a cache take what the first of them computed.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lotbench.config.sections import TrialConfig
from lotbench.data.batches import collate
from lotbench.data.task import Task
from lotbench.data.tokens import Split
from lotbench.engine import checkpoint
from lotbench.engine.config_of_backbone import fingerprint, pooling_of, read_config
from lotbench.engine.encoder import ReducedEncoder
from lotbench.errors import InputError
from lotbench.kinds.kind import SplitScores
from lotbench.reducer import Params, TokenReducer
from lotbench.scoring.metrics import classes_of
from lotbench.scoring.predictions import encode
from lotbench.store import bucket
from lotbench.store.files import read_json
from lotbench.store.rows import Teacher, Training
from lotbench.trial.cache import cache_folder, hashed, once, stored_array
from lotbench.trial.evaluate import BATCH_SIZE, SPLITS, check_finite, shape_of
from lotbench.trial.saliency import SALIENCY, in_batches, kind_in
from lotbench.trial.training import device, train

TRAINING = "training.json"
MAP_TEXTS, RIDGE = 256, 1e-3
"""Texts of the first map of a pooling, and its ridge as a share of the mean square."""
VERSION = 1
"""Raised with every change of teachers, their logits or saliency, so that old ones are not used."""


Compute = Callable[[ReducedEncoder, Split], np.ndarray]
"""What a teacher computes of a split."""


@dataclass
class Artefacts:
    """The shared artefacts of a trial, each computed on first use."""

    config: TrialConfig
    """Any trial of the (backbone, task, seed, teacher settings) they belong to."""
    task: Task
    tokenizer: Any
    """Saved with the teacher."""

    @cached_property
    def key(self) -> str:
        """Hash of the teacher's configuration, its data, the backbone's weights and `VERSION`."""
        backbone = self.config.backbone
        parts = [self.config.teacher_key(), self.task.fingerprint, fingerprint(backbone), VERSION]
        if self.task.kind.vectors:
            parts += pooling_of(backbone, self.config.data.pooling)
        return hashed(" ".join(map(str, parts)))

    @property
    def folder(self) -> Path:
        return cache_folder() / "teachers" / self.key

    @cached_property
    def teacher(self) -> Path:
        """Folder of the dense teacher (see `checkpoint.load`), checked once."""
        folder = self.folder / "model"
        once(folder, self._train_teacher, self._check_teacher)
        return folder

    def _check_teacher(self, folder: Path) -> None:
        card = checkpoint.verified_card(folder)
        if (card.method, card.n_labels) != (_Dense.name, self.task.n_labels):
            raise InputError(f"{folder}: {card.method} with {card.n_labels} labels, no teacher")
        self._read(folder)

    def _read(self, folder: Path) -> Teacher:
        return Teacher.model_validate({"key": self.key, **read_json(folder / TRAINING)})

    def record(self) -> Teacher:
        """The teacher as a row stores it, with its metrics on validation and selection."""
        return self._read(self.teacher)

    def answer(self) -> None:
        """Gives the splits what the teacher answers, which embedding and ranking are scored by."""
        width = self.task.n_labels or read_config(self.config.backbone).hidden_size
        for name, split in _answered(self.task).items():
            if split.dense is None:
                shape = (len(split), width)
                split.dense = self._array(f"dense-{name}", split, teacher_outputs, shape)
            self._take_answers(split)

    def start_pooling(self, encoder: ReducedEncoder) -> None:
        """Gives a pooling the map that it starts training with; see `embeddings_to_states`."""
        pooling = encoder.backbone.pooling
        if pooling is not None and pooling.map is not None:
            weight = pooling.map.weight
            found = self._array("map", self.task.train, embeddings_to_states, tuple(weight.shape))
            with torch.no_grad():
                weight.copy_(torch.from_numpy(found))

    def trained(self, needs: frozenset[str]) -> Split:
        """The train split, with the teacher's logits and the saliency that a method ``needs``."""
        split, kind = self.task.train, kind_in(needs)
        if "teacher_logits" in needs and split.dense is None:
            spans = self.task.kind.spans
            shape = shape_of(split, 2 if spans else self.task.n_labels, spans)
            split = replace(split, dense=self._array("logits", split, teacher_outputs, shape))
        if kind is None:
            return split
        ends = np.cumsum(split.lengths)
        saliency = self._array(kind, split, SALIENCY[kind], (int(ends[-1]),))
        return replace(split, saliency=np.split(saliency, ends[:-1]))

    def _array(self, name: str, split: Split, compute: Compute, shape: tuple) -> np.ndarray:
        path = self.teacher.parent / f"{name}.npy"  # first, since a new teacher removes old arrays
        load = partial(checkpoint.load, self.teacher)
        return stored_array(path, shape, lambda: compute(load().to(device()), split))

    def _train_teacher(self, place: Path) -> None:
        answered = _answered(self.task)
        for name in ("logits", "map", *SALIENCY, *(f"dense-{split}" for split in answered)):
            bucket.remove(self.folder / f"{name}.npy")  # of a teacher that was damaged
        config, vectors = self.config, self.task.kind.vectors
        encoder = checkpoint.build(
            config.backbone,
            self.task.n_labels,
            _Dense,
            Params(),
            config.layers,
            config.seed,
            config.data.pooling,
            whole=config.teacher.model is not None and not vectors,
        ).to(device())
        training = Training(steps=0)
        if not vectors and config.teacher.model is None:
            training = train(encoder, self.task.train.labelled, config.teacher, config.seed)
        found = {name: self._judged(encoder, getattr(self.task, name)) for name in SPLITS}
        metric = self.task.metrics[0]
        main = classes_of(metric, self.task.n_labels)
        content = {
            "training": training.content(),
            "metrics": {name: own.metrics for name, own in found.items()},
            "predictions": {name: encode(own.values[metric], main) for name, own in found.items()},
        }
        place.mkdir()
        # Before the model, whose card has the checksum of each file.
        (place / TRAINING).write_text(json.dumps(content))
        checkpoint.save(place, encoder, self.tokenizer, [], config.scored_length)

    def _take_answers(self, split: Split) -> None:
        """Puts what dense answers in the place of labels that are missing."""
        if split.unlabelled is not None:
            assert split.dense is not None, "dense has answered"
            answers = self.task.kind.labels_of(split.dense)
            if split.labels is not None:
                answers = np.where(split.unlabelled, answers, split.labels)
            split.labels = answers

    def _judged(self, encoder: ReducedEncoder, split: Split) -> SplitScores:
        """The scores of the teacher on a split, which has its answers from then on."""
        split.dense = teacher_outputs(encoder, split)
        self._take_answers(split)
        if split.queries is not None:
            split.queries.dense = teacher_outputs(encoder, split.queries)
        return self.task.kind.score(self.task.metrics, split, split.dense)


def _answered(task: Task) -> dict[str, Split]:
    """The splits of which the teacher's answers are used, by name; queries are splits, too.

    Rankings are scored by them; vectors are also trained by them, and so are rows without labels.
    """
    splits: dict[str, Split] = {name: getattr(task, name) for name in (*SPLITS, "train")}
    used = {
        name: split
        for name, split in splits.items()
        if split.unlabelled is not None
        or (task.kind.vectors if name == "train" else task.kind.by_dense)
    }
    if not task.reduces_queries:
        queries = {f"{name}-queries": splits[name].queries for name in SPLITS}
        used |= {name: split for name, split in queries.items() if split is not None}
    return used


class _Dense(TokenReducer):
    """The dense teacher; saved under the name of the dense method, which loads it."""

    name = "dense"


def teacher_outputs(teacher: ReducedEncoder, split: Split) -> np.ndarray:
    """Outputs of every row, float32; see `shape_of`."""
    shape = shape_of(split, teacher.backbone.outputs, teacher.backbone.spans)
    out, device = np.full(shape, -np.inf, np.float32), next(teacher.parameters()).device
    with torch.inference_mode():
        for rows in in_batches("teacher answers", split):
            logits = teacher.eval()(collate(split, rows).to(device)).logits.cpu().numpy()
            out[rows, ..., : logits.shape[-1]] = logits
    check_finite(out, "the teacher's")
    return out


def embeddings_to_states(teacher: ReducedEncoder, split: Split) -> np.ndarray:
    """The linear map from the input of the first layer to the teacher's last states, (D, D).

    Least squares over the tokens of some texts, with a small ridge.
    """
    width, device = teacher.backbone.width, next(teacher.parameters()).device
    squares = torch.zeros(width, width, dtype=torch.float64)
    products = torch.zeros_like(squares)
    with torch.inference_mode():
        for rows in np.array_split(np.arange(min(MAP_TEXTS, len(split))), MAP_TEXTS // BATCH_SIZE):
            if len(rows):
                outputs = teacher.eval()(collate(split, rows).to(device), inputs=True)
                # What leaps over all layers passes the last norm as well.
                x = teacher.backbone.last_norm(outputs.inputs[0]).double().cpu()
                y = outputs.hidden.double().cpu()
                squares += x.T @ x
                products += x.T @ y
    ridge = RIDGE * squares.diagonal().mean() * torch.eye(width, dtype=torch.float64)
    return torch.linalg.solve(squares + ridge, products).T.float().numpy()
