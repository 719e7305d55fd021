"""The artefacts that trials share: a dense teacher, its answers and saliency, computed once.

The teacher of sentence vectors is the backbone as it is; that of other tasks is fine-tuned.

Each is in the cache under a hash of its data, settings and weights; see `lotbench.trial.cache`.
With ``precision: auto``, machines that share a cache take what the first of them computed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain
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
from lotbench.reducer import Params, TokenReducer
from lotbench.scoring.metrics import classes_of
from lotbench.scoring.predictions import encode
from lotbench.scoring.score_outputs import SplitScores, score_outputs
from lotbench.store import bucket
from lotbench.store.files import read_json
from lotbench.store.rows import Teacher, Training
from lotbench.trial.cache import cache_folder, hashed, once, stored_array
from lotbench.trial.evaluate import BATCH_SIZE, SPLITS, check_finite
from lotbench.trial.saliency import SALIENCIES, SALIENCY, in_batches, kind_in, mean_saliency
from lotbench.trial.tasks import task_of
from lotbench.trial.training import device, train

TRAINING = "training.json"
MAP_TEXTS, RIDGE = 256, 1e-3
"""Texts of the first map of a pooling, and its ridge as a share of the mean square."""
MEAN_OF = 3
"""Teachers of a mean saliency: that of the trial's seed, and those of the next seeds."""
VERSION = 1
"""Raised with every change of teachers, their logits or saliency, so that old ones are not used."""


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
        if self.task.kind == "embedding":
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
            known, shape = split.dense, (len(split), width)
            if known is None:
                split.dense = self._array(f"dense-{name}", split, teacher_outputs, shape)
            _take_answers(split, self.task.kind)

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
            shape = (len(split), self.task.n_labels)
            split = replace(split, dense=self._array("logits", split, teacher_outputs, shape))
        return self._with_saliency("", split, kind) if kind else split

    def scored(self, reducer: TokenReducer) -> Task:
        """The task that a method is scored on; an oracle reads the saliency of its texts."""
        kind = kind_in(reducer.needs) if reducer.is_oracle else None
        if kind is None:
            return self.task
        own = {name: self._with_saliency(name, getattr(self.task, name), kind) for name in SPLITS}
        return replace(self.task, **own)

    def _with_saliency(self, name: str, split: Split, kind: str) -> Split:
        """A split with its saliency; a scored one has a name, and saliency of the teacher's class.

        Who scores a text does not know its label.
        """
        guessed = name and self.task.kind == "classification"

        def compute(teacher: ReducedEncoder, split: Split) -> np.ndarray:
            if guessed:
                split = replace(split, labels=teacher_outputs(teacher, split).argmax(axis=1))
            if kind == "mean":
                return mean_saliency(chain([teacher], self._other_teachers()), split)
            return SALIENCY[kind](teacher, split)

        ends = np.cumsum(split.lengths)
        found = self._array(f"{kind}-{name}" if name else kind, split, compute, (int(ends[-1]),))
        return replace(split, saliency=np.split(found, ends[:-1]))

    def _other_teachers(self) -> Iterator[ReducedEncoder]:
        """The teachers of the next seeds, each on the training texts that its seed draws."""
        for seed in range(self.config.seed + 1, self.config.seed + MEAN_OF):
            config = self.config.model_copy(update={"seed": seed})
            other = Artefacts(config, task_of(config, self.tokenizer), self.tokenizer)
            yield checkpoint.load(other.teacher).to(device())

    def _array(
        self,
        name: str,
        split: Split,
        compute: Callable[[ReducedEncoder, Split], np.ndarray],
        shape: tuple,
    ) -> np.ndarray:
        folder = self.teacher.parent  # first, since a new teacher removes old arrays
        return stored_array(
            folder / f"{name}.npy",
            shape,
            lambda: compute(checkpoint.load(self.teacher).to(device()), split),
        )

    def _train_teacher(self, place: Path) -> None:
        answered = _answered(self.task)
        kinds = SALIENCIES.values()
        scored = [f"{kind}-{name}" for kind in kinds for name in SPLITS]
        for name in ("logits", "map", *kinds, *scored, *(f"dense-{own}" for own in answered)):
            bucket.remove(self.folder / f"{name}.npy")  # of a teacher that was damaged
        config, kind = self.config, self.task.kind
        encoder = checkpoint.build(
            config.backbone,
            self.task.n_labels,
            _Dense,
            Params(),
            config.layers,
            config.seed,
            config.data.pooling,
            whole=config.teacher.model is not None and kind != "embedding",
        ).to(device())
        training = Training(steps=0)
        if kind != "embedding" and config.teacher.model is None:
            split, settings = self.task.train.labelled, config.teacher
            training = train(encoder, split, settings, config.seed)
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

    def _judged(self, encoder: ReducedEncoder, split: Split) -> SplitScores:
        """The scores of the teacher on a split, which has its answers from then on."""
        split.dense = teacher_outputs(encoder, split)
        _take_answers(split, self.task.kind)
        if split.queries is not None:
            split.queries.dense = teacher_outputs(encoder, split.queries)
        return score_outputs(self.task.kind, self.task.metrics, split, split.dense)


def _answered(task: Task) -> dict[str, Split]:
    """The splits of which the teacher's answers are used, by name; queries are splits, too.

    Rankings are scored by them; vectors are also trained by them, and so are rows without labels.
    """
    splits: dict[str, Split] = {name: getattr(task, name) for name in SPLITS}
    if task.kind == "ranking":
        return splits
    if task.kind != "embedding":
        splits |= {"train": task.train}
        return {name: own for name, own in splits.items() if own.unlabelled is not None}
    if not task.reduces_queries:
        queries = {f"{name}-queries": own.queries for name, own in splits.items()}
        splits |= {name: own for name, own in queries.items() if own is not None}
    return splits | {"train": task.train}


def _take_answers(split: Split, kind: str) -> None:
    """Puts what dense answers in the place of labels that are missing."""
    if split.unlabelled is None or kind not in ("classification", "regression"):
        return
    assert split.dense is not None, "dense has answered"
    classes = kind == "classification"
    answered = split.dense.argmax(axis=1) if classes else split.dense[:, 0]
    if split.labels is not None:
        answered = np.where(split.unlabelled, answered, split.labels)
    split.labels = answered


class _Dense(TokenReducer):
    """The dense teacher; saved under the name of the dense method, which loads it."""

    name = "dense"


def teacher_outputs(teacher: ReducedEncoder, split: Split) -> np.ndarray:
    """Logits (N, C) or vectors (N, D) of every row, float32."""
    out = np.zeros((len(split), teacher.backbone.outputs), dtype=np.float32)
    device = next(teacher.parameters()).device
    with torch.inference_mode():
        for rows in in_batches("teacher answers", split):
            out[rows] = teacher.eval()(collate(split, rows).to(device)).logits.cpu().numpy()
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
