"""One trial: a method on a task with a seed, from plan to result row, without Ray."""

from __future__ import annotations

import logging
import re
import shutil
import sys
import traceback
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from pydantic import ValidationError
from safetensors import SafetensorError

from lotbench import machine, registry
from lotbench.config.sections import TrialConfig
from lotbench.data.task import load_task
from lotbench.deadline import TimeUp, duration, limited
from lotbench.engine import checkpoint
from lotbench.engine.encoder import ReducedEncoder
from lotbench.engine.loading import load_tokenizer, read_config
from lotbench.errors import InputError
from lotbench.reducer import TokenReducer
from lotbench.store.files import as_json
from lotbench.store.record import complaint
from lotbench.store.records import Trial
from lotbench.store.store import Store
from lotbench.study.checks import (
    check_comparable,
    check_data,
    check_room,
    check_teacher,
    stored_config,
)
from lotbench.study.evaluate import score, stored_labels
from lotbench.study.plan import PlannedTrial
from lotbench.study.progress import following
from lotbench.study.teacher import Artefacts, device
from lotbench.study.training import NonFiniteLoss, train

log = logging.getLogger(__name__)

TIME_LIMIT = "time limit"


def run_trial(
    trial: PlannedTrial,
    folder: Path,
    catch_input_errors: bool = False,
    dump: IO[str] | None = None,
) -> Trial:
    """The result of one trial, trained, evaluated and stored.

    A loss that is not finite, an exception or exit inside a method, or the time limit ends the
    trial as ``failed``; its ``error`` says why.

    Parameters
    ----------
    trial : PlannedTrial
    folder : Path
        The store.
    catch_input_errors : bool
        Let bad input, too, end the trial as failed, so that a sweep's other trials go on.
    dump : file, optional
        For the traceback of a process that must be ended, see `limited`.

    Raises
    ------
    InputError
        If the configuration or the data is at fault.
    """
    row, store = _known_fields(trial), Store(folder)
    with following() as place:
        try:
            with limited(trial.config.train.max_minutes * 60, dump):
                row |= _result(trial, folder, row)
        except TimeUp as error:
            error.args = (f"{error} (train.max_minutes), in {place()}",)
            row |= _failure(TIME_LIMIT, registry.located(error, trial.method))
        except NonFiniteLoss as error:
            row |= _failure("non-finite loss", str(error))
            row["error"] |= {"step": error.step, "term": error.term}
        except InputError as error:
            if not catch_input_errors:
                raise
            row |= _failure("bad input", str(error))
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a method may call sys.exit, and that has a row, too
            row |= _failure(type(error).__name__, registry.located(error, trial.method))
            row["error"]["traceback"] = traceback.format_exc()
    return _keep(store, Trial.model_validate(row))


def run_alone(trial: PlannedTrial, folder: Path, dump: IO[str] | None = None) -> Trial:
    """The result of `run_trial` while no other process writes to the store.

    Raises
    ------
    InputError
        As for `run_trial`, or if another process uses the store, or its disk is full.
    """
    with Store(folder).lock():
        check_room(folder, trial.config.backbone)
        return run_trial(trial, folder, dump=dump)


def store_lost(trial: PlannedTrial, folder: Path, why: str) -> Trial:
    """The failed row of a trial whose worker died before it could store one."""
    row = _known_fields(trial) | _failure("worker died", why)
    return _keep(Store(folder), Trial.model_validate(row))


def store_ended(trial: PlannedTrial, folder: Path, dump: str) -> Trial:
    """The failed row, stored, of a trial whose process had to be ended.

    Parameters
    ----------
    trial : PlannedTrial
    folder : Path
        The store.
    dump : str
        What faulthandler wrote: the places of all threads.
    """
    home = getattr(sys.modules.get(trial.method.__module__), "__file__", None)
    places = re.findall(r'File "(.+)", line (\d+) in (.+)', dump)
    own = [f" ({Path(file).name}, line {n}, in {name})" for file, n, name in places if file == home]
    message = (
        f"took more than {duration(trial.config.train.max_minutes * 60)} (train.max_minutes) in a "
        f"call that could not be interrupted{''.join(own[:1])}"
    )
    row = _known_fields(trial) | _failure(TIME_LIMIT, message)
    row["error"]["traceback"] = dump
    return _keep(Store(folder), Trial.model_validate(row))


def _result(trial: PlannedTrial, folder: Path, row: dict[str, Any]) -> dict[str, Any]:
    """The fields of a row that a trial finds out."""
    check_comparable(folder, Store(folder).done().values(), trial.config)
    backbone = read_config(trial.config.backbone)
    trial.check_fits(backbone.num_hidden_layers, backbone.hidden_size)
    found = _train_and_evaluate(trial, prepare(trial, folder), folder)
    # A value that the record or JSON does not allow is a fault of the method.
    try:
        as_json(Trial.model_validate(row | found).content())
    except ValidationError as error:
        raise ValueError(complaint(error)) from None
    return found


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
        result = Trial.model_validate(result.content() | {"model": None})
        store.write(result)
    return result


def _remove_model(folder: Path, trial_id: str, error: Exception) -> None:
    model = folder / "models" / trial_id
    shutil.rmtree(model, ignore_errors=True)
    log.warning("%s: the model was not kept, the scores are (%s)", model, error)


def prepare(trial: PlannedTrial, folder: Path) -> Artefacts:
    """The task and the shared artefacts of a trial, the teacher trained if it is missing.

    Raises
    ------
    InputError
        If the data is at fault, or data or backbone have changed since other trials of the store
        were run.
    """
    config = trial.config
    tokenizer = load_tokenizer(config.backbone)
    task = load_task(config.task, config.data, tokenizer, config.seed, config.data_root)
    artefacts = Artefacts(config, task, tokenizer)
    others = _with_same_teacher(trial, folder)
    check_data(folder, task, others)
    check_teacher(folder, config.backbone, artefacts.key, others)
    artefacts.teacher()
    return artefacts


def needed(config: TrialConfig, reducer: TokenReducer) -> frozenset[str]:
    """What a trial trains on beside the text: what its method needs, and what distillation does."""
    return reducer.needs | ({"teacher_logits"} if config.train.distillation else set())


def _with_same_teacher(trial: PlannedTrial, folder: Path) -> list[Trial]:
    """Other finished trials whose configuration asks for the same teacher."""
    key = trial.config.teacher_key()
    return [
        other
        for name, other in Store(folder).done().items()
        if name != trial.id and other.config
        if stored_config(other).teacher_key() == key
    ]


def _train_and_evaluate(trial: PlannedTrial, artefacts: Artefacts, folder: Path) -> dict[str, Any]:
    config, task, model = trial.config, artefacts.task, f"models/{trial.id}"
    encoder = _start(trial, artefacts).to(device())
    attach = artefacts.attacher(needed(config, encoder.reducer))
    training = train(encoder, task.train, config.train, config.seed, attach)
    evaluations = score(encoder, task, trial.budgets, trial.targets)
    try:
        checkpoint.save(
            folder / model, encoder, artefacts.tokenizer, config.plugins, config.data.max_length
        )
    except (OSError, SafetensorError) as error:  # a full disk, most of the time
        _remove_model(folder, trial.id, error)
        model = None
    return {
        "metric": task.metrics[0],
        "teacher": {"key": artefacts.key, **artefacts.teacher_card()},
        "data": {
            "fingerprint": task.fingerprint,
            "train": len(task.train),
            "labels": stored_labels(task),
            **task.notes,
        },
        "training": training,
        **evaluations,
        "model": model,
    }


def _start(trial: PlannedTrial, artefacts: Artefacts) -> ReducedEncoder:
    """The model before its first step: from the teacher, or from the pretrained weights."""
    config = trial.config
    from_teacher = config.train.init == "teacher"
    source = str(artefacts.teacher()) if from_teacher else config.backbone
    layers = None if from_teacher else config.layers
    n_labels = artefacts.task.n_labels
    return checkpoint.build(source, n_labels, trial.method, trial.params, layers, config.seed)


def _known_fields(trial: PlannedTrial) -> dict[str, Any]:
    """The fields of a row that are known before the trial runs."""
    config = trial.config
    return {
        "trial_id": trial.id,
        "status": "done",
        "error": None,
        "task": config.task,
        "method": config.method,
        "seed": config.seed,
        "backbone": config.backbone,
        "params": trial.params.model_dump(mode="json", by_alias=True),
        "config": config.model_dump(mode="json"),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine.record(),
        "versions": machine.versions(),
        "git_commit": machine.git_commit(),
    }


def _failure(kind: str, message: str) -> dict[str, Any]:
    return {"status": "failed", "error": {"kind": kind, "message": message}}
