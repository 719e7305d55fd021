"""Stored models in every backend that is timed: exported, and scored once in each."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from lotbench import backends, engine, machine
from lotbench.budget import Budget
from lotbench.data.task import Task
from lotbench.data.tokens import Split
from lotbench.deploy.graph import export
from lotbench.deploy.quantise import quantise_file
from lotbench.errors import InputError
from lotbench.measure import protocol
from lotbench.measure.contenders import contender
from lotbench.measure.models import Model, load_model, load_torch
from lotbench.measure.spec import Candidate, Example
from lotbench.metrics import REGRESSION, compute_metrics, predictions
from lotbench.store.predictions import decode
from lotbench.store.records import TimingPass, Trial
from lotbench.store.timing_parts import BackendScore, Unable
from lotbench.study.evaluate import BATCH_SIZE, SPLITS

log = logging.getLogger(__name__)

INT8 = "onnx-int8"

Scores = dict[str, BackendScore]
ScoreKey = tuple[str, str, Budget | None, str]
"""Trial id or dense model, backend, budget, and ``cpu`` or ``cuda``."""


class Answers(NamedTuple):
    """Main metric (None where undefined) and predictions (N,) of a model on a split."""

    score: float | None
    predicted: np.ndarray


@dataclass
class Prepared:
    """Candidates that are ready to be timed, those that a backend cannot run, and faults."""

    candidates: list[Candidate] = field(default_factory=list)
    unable: list[Unable] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)


class Preparer:
    """Exports and scores the models of one task, each once.

    Parameters
    ----------
    task : Task
    trials : iterable of Trial
        Their scores in ``torch-fp32`` are taken from their rows.
    dense : Trial or None
        The trial of the dense model; None if it is the teacher.
    dense_model : str
        Its trial id, or the key of the teacher.
    graphs : Path
        Folder for the exported graphs.
    known : dict
        Scores that need not be computed again.
    plugins : sequence of str
        Files or modules with methods that may be imported.
    """

    def __init__(
        self,
        task: Task,
        trials: Iterable[Trial],
        dense: Trial | None,
        dense_model: str,
        graphs: Path,
        known: Mapping[ScoreKey, Scores],
        plugins: Sequence[str],
    ) -> None:
        self.task, self.metric = task, task.metrics[0]
        self.rows = {trial.trial_id: trial for trial in trials}
        self.dense, self.dense_model = dense, dense_model
        self.graphs, self.plugins = graphs, plugins
        self.known = dict(known)
        self.exported: dict[tuple[object, ...], Path | InputError] = {}
        self.references: dict[tuple[str, Budget | None], dict[str, Answers]] = {}
        self.loaded: tuple[object, Model | None] = (None, None)

    def prepare(self, candidates: Iterable[Candidate], device: str) -> Prepared:
        """The candidates with their graphs and scores.  A model that raises is left out."""
        done = Prepared()
        for each in candidates:
            try:
                done.candidates.append(self._prepared(each, torch.device(device)))
            except Exception as error:  # a model must not end the pass of the others
                why = str(error).splitlines()[0] if str(error) else type(error).__name__
                log.warning("%s: not timed: %s: %s", self.task.name, each.key, why)
                refused = isinstance(error, InputError) and backends.BY_NAME[each.backend].exported
                if refused or isinstance(error, FloatingPointError):  # as it would be next time
                    done.unable.append(_unable(each, why))
                else:
                    why = f"{type(error).__name__}: {why}"
                    done.failed.append(f"{self.task.name}: {each.key}: {why}")
        self.loaded = (None, None)
        return done

    def _prepared(self, candidate: Candidate, device: torch.device) -> Candidate:
        if backends.BY_NAME[candidate.backend].exported:
            candidate = replace(candidate, graph=str(self._graph(candidate)))
        owner = candidate.trial_id or f"{candidate.name} {self.dense_model}"
        key = (owner, candidate.backend, candidate.budget, device.type)
        if key not in self.known:
            self.known[key] = self._scores(candidate, device)
        return replace(candidate, scores=self.known[key])

    def _graph(self, candidate: Candidate) -> Path:
        """The file of a candidate's graph; one for all budgets, if the budget is an input."""
        model = (candidate.folder, "" if candidate.trial_id else candidate.name)
        fixed = (*model, candidate.budget)
        if model not in self.exported and fixed not in self.exported:
            encoder = load_torch(candidate, self.plugins)
            if candidate.budget:
                encoder.reducer.budget = candidate.budget.value
            start = time.perf_counter()
            try:
                found = export(encoder)
            except InputError as error:
                self.exported[model] = error
            else:
                path = self.graphs / f"{len(self.exported)}.onnx"
                path.write_bytes(found.model.SerializeToString())
                self.exported[model if found.fixed is None else fixed] = path
                seconds = time.perf_counter() - start
                log.info("%s: exported in %.1f s", candidate.name, seconds)
        path = self.exported.get(model) or self.exported[fixed]
        if isinstance(path, InputError):
            raise path
        if candidate.backend != INT8:
            return path
        quantised = path.with_suffix(".int8.onnx")
        if not quantised.exists():
            quantise_file(path, quantised)
        return quantised

    def _scores(self, candidate: Candidate, device: torch.device) -> Scores:
        """The scores of both splits, against those in ``torch-fp32``."""
        known = self._reference(candidate, device)
        # The packed path of dense computes the same in torch-fp32, so it is not scored again.
        own = known if candidate.backend == backends.TORCH else self._answers(candidate, device)
        regression = self.metric in REGRESSION
        found = {}
        for split, (score, predicted) in own.items():
            expected, answered = known[split]
            found[split] = BackendScore(
                score=score,
                change=None if score is None or expected is None else score - expected,
                flips=None if regression else int((predicted != answered).sum()),
            )
        return found

    def _reference(self, candidate: Candidate, device: torch.device) -> dict[str, Answers]:
        """What a model answers in ``torch-fp32``: from its row, or computed."""
        key = (candidate.folder, candidate.budget)
        if key not in self.references:
            trial = self.rows.get(candidate.trial_id) if candidate.trial_id else self.dense
            found = {} if trial is None else self._stored(trial, key[1])
            if set(found) != set(SPLITS):
                name = candidate.name if candidate.trial_id else protocol.DENSE
                torch_fp32 = replace(candidate, name=name, backend=backends.TORCH, graph=None)
                found = self._answers(torch_fp32, device)
            self.references[key] = found
        return self.references[key]

    def _stored(self, trial: Trial, budget: Budget | None) -> dict[str, Answers]:
        return {
            own.split: Answers(own.metrics.get(self.metric), decode(own.predictions))
            for own in trial.evaluations
            if own.budget == budget and own.predictions is not None
        }

    def _answers(self, candidate: Candidate, device: torch.device) -> dict[str, Answers]:
        """What a model answers in its backend, in batches of `BATCH_SIZE` from short to long.

        Raises
        ------
        FloatingPointError
            If a logit is not finite.
        """
        if self.loaded[0] != candidate.model:
            threads = machine.usable_cores()
            self.loaded = candidate.model, load_model(candidate, device, threads, self.plugins)
        model, start = self.loaded[1], time.perf_counter()
        assert model is not None, "loaded above"
        found = {}
        for name in SPLITS:
            split: Split = getattr(self.task, name)
            logits = _logits(model, candidate, split)
            broken = int((~np.isfinite(logits)).any(1).sum())
            if broken:
                raise FloatingPointError(f"logits of {broken} of {len(split)} texts not finite")
            predicted = predictions(logits, self.metric in REGRESSION)
            value = compute_metrics([self.metric], predicted, split.labels)[self.metric]
            found[name] = Answers(value if math.isfinite(value) else None, predicted)
        log.info("%s: scored in %.1f s", candidate.key, time.perf_counter() - start)
        return found


def _unable(candidate: Candidate, why: str) -> Unable:
    owner = candidate.trial_id or candidate.name
    return Unable(trial_id=owner, budget=candidate.budget, backend=candidate.backend, why=why)


def _logits(model: Model, candidate: Candidate, split: Split) -> np.ndarray:
    """Logits of a split in its order, shape (N, C), float32, by the calls that are timed."""
    order = np.argsort(split.lengths, kind="stable")
    examples = [
        Example(split.input_ids[i], split.token_type_ids[i], int(split.text_seed[i])) for i in order
    ]
    with torch.inference_mode():
        calls = contender(model, candidate, examples, BATCH_SIZE).calls
        parts = [torch.as_tensor(call()).float().cpu().numpy() for call in calls]
    logits = np.concatenate(parts)
    result = np.empty_like(logits)
    result[order] = logits
    return result


def known_scores(passes: Iterable[TimingPass]) -> dict[ScoreKey, Scores]:
    """The scores in these passes that were computed on this machine, with the same packages."""
    today = _origin(machine.cpu_id(), machine.versions(), engine.VERSION)
    gpus = {torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())}
    found: dict[ScoreKey, Scores] = {}
    for own in passes:
        cpu_id = own.machine and own.machine.cpu_id
        device, name = own.setting.device.split(":")[0], own.setting.device_name
        known = _origin(cpu_id, own.versions or {}, own.engine) == today
        if not known or (device == "cuda" and name not in gpus):
            continue
        for each in own.contenders:
            if each.scores:
                owner = each.trial_id or f"{each.name} {own.dense_model}"
                key = (owner, own.backend(each), each.budget, device)
                found[key] = each.scores
    return found


def _origin(cpu_id: str | None, versions: Mapping[str, str], engine: int) -> tuple[object, ...]:
    packages = ("torch", "transformers"), *(own.packages for own in backends.BY_NAME.values())
    names = sorted({name for some in packages for name in some})
    return cpu_id, engine, *(versions.get(name) for name in names)
