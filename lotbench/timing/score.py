"""The score of a model in its backend, beside which its time stands; computed once."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from pydantic import TypeAdapter, ValidationError

from lotbench import backends, engine, machine
from lotbench.budget import Budget
from lotbench.data.batches import batches
from lotbench.data.task import Task
from lotbench.data.tokens import Split
from lotbench.engine.checksums import checksums
from lotbench.measure import protocol
from lotbench.measure.calls import Loaded, Model, load_entry
from lotbench.measure.devices import device_name
from lotbench.measure.spec import Entry, Example
from lotbench.scoring.predictions import decode
from lotbench.store.files import write_json
from lotbench.store.passes import BackendScore, Scores
from lotbench.store.rows import Trial
from lotbench.trial.cache import cache_folder
from lotbench.trial.evaluate import BATCH_SIZE, SPLITS, check_finite

log = logging.getLogger(__name__)

SCORES = TypeAdapter(Scores)
Predicted = tuple[float | None, np.ndarray]
"""Main metric (None where undefined) and predictions (N,) of a model on a split."""


class Scorer:
    """Scores the models of one task on a device.

    A task of an embedding or a ranking must come with what dense answers.  ``rows`` are by folder
    of the model, whose predictions in ``torch-fp32`` are taken from its row.  ``plugins`` are files
    or modules with methods that may be imported.
    """

    def __init__(
        self, task: Task, rows: Mapping[str, Trial], device: str, plugins: Sequence[str]
    ) -> None:
        self.task, self.metric = task, task.metrics[0]
        self.rows, self.device, self.plugins = rows, device, plugins
        self.classifies = task.kind.classes
        self.references: dict[tuple[str, Budget | None], dict[str, Predicted]] = {}
        self.checksums = cache(checksums)
        self.loaded: dict[tuple[str, ...], Loaded] = {}
        """The backends of the model that was scored last."""

    def scores(self, entry: Entry) -> Scores:
        """The scores of both splits, against those in ``torch-fp32``; from the cache if there."""
        path = self._cached(entry)
        try:
            return SCORES.validate_json(path.read_bytes())
        except (OSError, ValidationError):  # not there, or damaged
            pass
        known = self._reference(entry)
        # The packed path of dense computes the same in torch-fp32, so it is not scored again.
        own = known if entry.backend == backends.TORCH else self._predicted(entry)
        found = {}
        for split, (score, values) in own.items():
            expected, answered = known[split]
            found[split] = BackendScore(
                score=score,
                change=None if score is None or expected is None else score - expected,
                flips=int((values != answered).sum()) if self.classifies else None,
            )
        write_json(path, SCORES.dump_python(found))
        return found

    def _cached(self, entry: Entry) -> Path:
        """The file of an entry's scores, named by all that they depend on."""
        versions = machine.versions()  # of these few, so that another Ray changes no name
        libraries = versions.get("torch"), versions.get("transformers")
        parts = [
            *(self.checksums(Path(entry.folder)), self.task.fingerprint, self.metric),
            *(entry.name, entry.budget, entry.backend, device_name(self.device)),
            *(machine.cpu_id(), libraries, backends.runtimes([entry.backend], versions)),
            engine.VERSION,
        ]
        digest = sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
        return cache_folder() / "scores" / f"{digest[:32]}.json"

    def _reference(self, entry: Entry) -> dict[str, Predicted]:
        """What a model predicts in ``torch-fp32``: from its row, or computed."""
        key = (entry.folder, entry.budget)
        if key not in self.references:
            trial = self.rows.get(entry.folder)
            found = {
                own.split: (own.metrics.get(self.metric), decode(own.predictions))
                for own in (trial.evaluations if trial else ())
                if own.budget == entry.budget
            }
            if set(found) != set(SPLITS):
                name = entry.name if entry.trial_id else protocol.DENSE_NAME
                in_torch = replace(entry, name=name, backend=backends.TORCH, graph=None)
                found = self._predicted(in_torch)
            self.references[key] = found
        return self.references[key]

    def _predicted(self, entry: Entry) -> dict[str, Predicted]:
        """What a model predicts in its backend."""
        if entry.model not in self.loaded:
            device, threads = torch.device(self.device), machine.usable_cores()
            same = {own: each for own, each in self.loaded.items() if entry.folder in own}
            self.loaded = same | {entry.model: load_entry(entry, device, threads, self.plugins)}
        model, start = self.loaded[entry.model](entry.budget), time.perf_counter()
        found = {}
        for name in SPLITS:
            split: Split = getattr(self.task, name)
            queries = split.queries if self.task.reduces_queries else None
            answers = self.task.kind.score(
                [self.metric],
                split,
                _outputs(model, split),
                None if queries is None else _outputs(model, queries),
            )
            value = answers.metrics[self.metric]
            found[name] = (value if math.isfinite(value) else None), answers.values[self.metric]
        log.info("%s: scored in %.1f s", entry.key, time.perf_counter() - start)
        return found


def _outputs(model: Model, split: Split) -> np.ndarray:
    """Outputs of every row, in batches of `BATCH_SIZE` from short to long; see `shape_of`."""
    rows = batches(split, BATCH_SIZE, seed=None)
    with torch.inference_mode():
        calls = model.calls([[example_of(split, row) for row in batch] for batch in rows])
        parts = [torch.as_tensor(call()).float().cpu().numpy() for call in calls]
    # Of spans, texts that are shorter than the longest are padded.
    missing = [max(part.shape[-1] for part in parts) - part.shape[-1] for part in parts]
    sides = [[(0, 0)] * (part.ndim - 1) + [(0, n)] for part, n in zip(parts, missing, strict=True)]
    parts = [np.pad(*own, constant_values=-np.inf) for own in zip(parts, sides, strict=True)]
    outputs = np.concatenate(parts)[np.argsort(np.concatenate(rows))]
    check_finite(outputs, "its")
    return outputs


def example_of(split: Split, row: int) -> Example:
    """A text of a split, and its tokens."""
    seed = int(split.text_seed[row])
    return Example(split.input_ids[row], split.token_type_ids[row], seed, split.texts[row])
