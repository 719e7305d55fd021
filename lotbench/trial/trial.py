"""One trial: a method on a task with a seed, from plan to result row, without Ray."""

from __future__ import annotations

import logging
import shutil
import time
import traceback
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import torch
from pydantic import ValidationError
from safetensors import SafetensorError

from lotbench import machine, registry
from lotbench.config.sections import TrialConfig
from lotbench.config.tasks import kind_of
from lotbench.data.task import Task
from lotbench.engine import checkpoint
from lotbench.engine.loading import load_tokenizer
from lotbench.errors import InputError
from lotbench.reducer import TokenReducer
from lotbench.scoring.metrics import UNLABELLED
from lotbench.scoring.predictions import encode
from lotbench.store.files import as_json
from lotbench.store.record import Machine
from lotbench.store.rows import (
    Data,
    Evaluation,
    Failure,
    Look,
    Searched,
    Teacher,
    Training,
    Trial,
    Unreached,
)
from lotbench.store.store import Store
from lotbench.trial.budgets import LARGEST
from lotbench.trial.checks import check_data, check_teacher, stored_config
from lotbench.trial.evaluate import SPLITS, score, scorer
from lotbench.trial.objective import objective
from lotbench.trial.planned import PlannedTrial
from lotbench.trial.progress import TimeUp, limited
from lotbench.trial.tasks import task_of
from lotbench.trial.teacher import Artefacts
from lotbench.trial.training import NonFiniteLoss, device, train
from lotbench.validation import first_fault

log = logging.getLogger(__name__)

TIME_LIMIT = "time limit"
SEARCHED = 4
"""A method's search has one text of selection for so many examples that were trained on, so that
some thirty scores take less time than the training."""
RECORDS = ("Trial", "Data", "Evaluation", "Training")
"""The records that a trial fills."""


@dataclass(frozen=True)
class Result:
    """What a trial finds out: these fields of its row."""

    look: Look
    metric: str
    teacher: Teacher
    data: Data
    training: Training
    evaluations: list[Evaluation]
    unreached: list[Unreached] | None
    model: str | None
    seconds: float


def run_trial(trial: PlannedTrial, store: Store, catch_input_errors: bool = False) -> Trial:
    """The result of one trial, trained, evaluated and stored.

    A loss that is not finite, an exception or exit inside a method, or the time limit ends the
    trial as ``failed``; its ``error`` says why.  With ``catch_input_errors`` so does bad input, so
    that a sweep's other trials go on.
    """
    started = _now()
    torch.manual_seed(trial.config.seed)  # whatever ran in this process before
    try:
        with limited(trial.config.train.max_minutes * 60):
            row = _row(trial, started, _train_and_score(trial, store))
        as_json(row.content())  # what JSON does not allow is a fault of the method
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a method may call sys.exit, and that has a row, too
        if isinstance(error, InputError) and not catch_input_errors:
            raise
        row = _row(trial, started, _failure(error, trial))
    return _keep(store, row)


def run_in_sweep(trial: PlannedTrial, store: Store) -> Trial:
    """The row of a trial of a sweep, which does not run again if it is done, here or elsewhere."""
    store.pull(Trial.FOLDER)
    return store.done().get(trial.id) or run_trial(trial, store, catch_input_errors=True)


def run_alone(trial: PlannedTrial, store: Store) -> Trial:
    """The result of `run_trial` while no other process writes to the store."""
    with store.lock():
        return run_trial(trial, store)


def store_lost(trial: PlannedTrial, store: Store, kind: str, why: str) -> Trial:
    """The failed row of a trial whose worker ended before it could store one."""
    return _keep(store, _row(trial, _now(), Failure(kind=kind, message=why)))


def _row(trial: PlannedTrial, started: str, result: Result | Failure) -> Trial:
    """The row of a trial that has ended."""
    row = partial(
        Trial,
        trial_id=trial.id,
        task=trial.config.task,
        method=trial.config.method,
        version=trial.method.version,
        seed=trial.config.seed,
        backbone=trial.config.backbone,
        params=trial.params.model_dump(mode="json", by_alias=True),
        config=trial.config.model_dump(mode="json"),
        created=started,
        machine=Machine.model_validate(machine.record()),
        versions=machine.versions(),
        git_commit=machine.git_commit(),
    )
    if trial.config.suite is not None:
        row = partial(row, suite=trial.config.suite)
    if isinstance(result, Failure):
        ended = row(status="failed", error=result)
    else:
        fields = vars(result).copy()
        if result.unreached is None:  # a field that is given is stored, as null, too
            del fields["unreached"]
        ended = row(status="done", error=None, **fields)
    return ended if trial.mark is None else marked(ended, trial.mark)


def marked(row: Trial, mark: Searched | None) -> Trial:
    """The row with its place in a search; a trial of the search itself has its area there."""
    if mark is not None and mark.part == "search" and row.status == "done":
        mark = mark.model_copy(update={"area": objective(row, mark.end)})
    return row.model_copy(update={"search": mark})


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _failure(error: BaseException, trial: PlannedTrial) -> Failure:
    """The record of what ended a trial."""
    match error:
        case TimeUp():
            return Failure(kind=TIME_LIMIT, message=str(error))
        case InputError():
            return Failure(kind="bad input", message=str(error))
        case NonFiniteLoss():
            kind, message = "non-finite loss", str(error)
            return Failure(kind=kind, message=message, step=error.step, term=error.term)
    message = registry.located(error, trial.method)
    if isinstance(error, ValidationError) and error.title in RECORDS:
        message = first_fault(error)  # a value that the row does not allow
    return Failure(
        kind=type(error).__name__,
        message=message,
        traceback="".join(traceback.format_exception(error)),
    )


def _keep(store: Store, result: Trial) -> Trial:
    """Stores a row, which is returned; a failure does not replace an earlier success.

    On a disk without room for it, the trial's model makes room: scores are worth more.
    """
    if result.status != "done" and result.trial_id in store.done():
        return result
    try:
        store.write(result)
    except OSError as error:
        if result.model is None:
            raise
        _remove_model(store.folder, result.trial_id, error)
        result = result.model_copy(update={"model": None})
        store.write(result)
    return result


def _remove_model(folder: Path, trial_id: str, error: Exception) -> None:
    model = folder / "models" / trial_id
    shutil.rmtree(model, ignore_errors=True)
    log.warning("%s: the model was not kept, the scores are (%s)", model, error)


def prepare(trial: PlannedTrial, store: Store) -> Artefacts:
    """The task and the shared artefacts of a trial, the teacher trained if it is missing."""
    config = trial.config
    tokenizer = load_tokenizer(config.backbone)
    task = task_of(config, tokenizer)
    if task.train.unlabelled is not None and not config.train.distillation:
        raise InputError(
            "train.distillation: 0, but rows without labels have nothing else to learn from; set a "
            "weight above 0, or label the rows"
        )
    artefacts = Artefacts(config, task, tokenizer)
    key = config.teacher_key()
    others = [
        other
        for name, other in store.done().items()
        if name != trial.id and other.config and stored_config(other).teacher_key() == key
    ]
    check_data(store.folder, task, others)
    check_teacher(store.folder, config.backbone, artefacts.key, others)
    _ = artefacts.teacher
    artefacts.answer()
    return artefacts


def needed(config: TrialConfig, reducer: TokenReducer) -> frozenset[str]:
    """The artefacts that a trial trains on: those of its method, and those of distillation."""
    distilled = config.train.distillation and not kind_of(config.task, config.data).vectors
    return reducer.needs | ({"teacher_logits"} if distilled else set())


def _train_and_score(trial: PlannedTrial, store: Store) -> Result:
    """What a trial finds out; its model is saved."""
    config = trial.config
    artefacts = prepare(trial, store)
    task = artefacts.task
    model: str | None = f"models/{trial.id}"
    encoder = checkpoint.build(
        str(artefacts.teacher),
        task.n_labels,
        trial.method,
        trial.params,
        None,
        config.seed,
        config.data.pooling,
        artefacts.tokenizer.sep_token_id if config.data.protect else None,
    ).to(device())
    artefacts.start_pooling(encoder)
    texts = artefacts.trained(needed(config, encoder.reducer))
    started = time.perf_counter()
    largest = max(trial.targets, default=LARGEST)
    training = train(encoder, texts, config.train, config.seed, largest=largest)
    searched = (training.examples or 0) // SEARCHED or len(task.selection)
    generator = torch.Generator().manual_seed(config.seed)
    encoder.reducer.search(scorer(encoder, task, searched), generator)
    evaluations, unreached = score(encoder, task, trial.budgets, trial.targets)
    if trial.mark is not None and trial.mark.part == "search":
        model = None  # only what is confirmed is timed, and a search has many models
    else:
        try:
            tokenizer, length = artefacts.tokenizer, config.scored_length
            checkpoint.save(store.folder / model, encoder, tokenizer, config.plugins, length)
        except (OSError, SafetensorError) as error:  # a full disk, most of the time
            _remove_model(store.folder, trial.id, error)
            model = None
    data = {"fingerprint": task.fingerprint, "train": len(task.train), "labels": _labels(task)}
    return Result(
        trial.method.look_with(trial.params, encoder.reducer.n_layers),
        task.metrics[0],
        artefacts.record(),
        Data.model_validate(data | task.notes),
        training,
        evaluations,
        unreached,
        model,
        time.perf_counter() - started,
    )


def _labels(task: Task) -> dict[str, str | list[float]] | None:
    """What the scores of a row need beside its predictions: labels, or the scores of pairs."""
    if task.metrics[0] in UNLABELLED:
        return None
    gold = {name: task.kind.gold(getattr(task, name)) for name in SPLITS}
    count = task.n_labels if task.kind.classes else None
    return {name: encode(rows, count) for name, rows in gold.items() if rows is not None} or None
