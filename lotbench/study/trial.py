"""One trial: a method on a task with a seed, from plan to result row, without Ray."""

from __future__ import annotations

import re
import sys
import traceback
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

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
from lotbench.store.records import Trial
from lotbench.store.store import Store
from lotbench.study.checks import check_comparable, check_data, check_teacher, stored_config
from lotbench.study.evaluate import score, stored_labels
from lotbench.study.plan import PlannedTrial
from lotbench.study.progress import following
from lotbench.study.teacher import Artefacts, device
from lotbench.study.training import NonFiniteLoss, train

TIME_LIMIT = "time limit"


def run_trial(
    trial: PlannedTrial,
    folder: Path,
    catch_input_errors: bool = False,
    dump: IO[str] | None = None,
) -> Trial:
    """The result of one trial, trained, evaluated and stored.

    A loss that is not finite, an exception inside a method, or the time limit ends the trial as
    ``failed``; its ``error`` says why.

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
            row |= _failure(TIME_LIMIT, registry.explain(error, trial.method))
        except NonFiniteLoss as error:
            row |= _failure("non-finite loss", str(error))
            row["error"] |= {"step": error.step, "term": error.term}
        except InputError as error:
            if not catch_input_errors:
                raise
            row |= _failure("bad input", str(error))
        except Exception as error:
            row |= _failure(type(error).__name__, registry.explain(error, trial.method))
            row["error"]["traceback"] = traceback.format_exc()
    return _stored(row, store)


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
    return _stored(row, Store(folder))


def _result(trial: PlannedTrial, folder: Path, row: dict[str, Any]) -> dict[str, Any]:
    """The fields of a row that a trial finds out."""
    check_comparable(folder, Store(folder).done().values(), trial.config)
    backbone = read_config(trial.config.backbone)
    trial.check_fits(backbone.num_hidden_layers, backbone.hidden_size)
    found = _train_and_evaluate(trial, prepare(trial, folder), folder)
    # A value that the record or JSON does not allow is a fault of the method.
    as_json(Trial.model_validate(row | found).content())
    return found


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
    checkpoint.save(
        folder / model, encoder, artefacts.tokenizer, config.plugins, config.data.max_length
    )
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


def _stored(row: dict[str, Any], store: Store) -> Trial:
    """The row as a record, written unless it is a failure after an earlier success."""
    result = Trial.model_validate(row)
    if result.status == "done" or result.trial_id not in store.done():
        store.write(result)
    return result


def _failure(kind: str, message: str) -> dict[str, Any]:
    return {"status": "failed", "error": {"kind": kind, "message": message}}
