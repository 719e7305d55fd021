"""One trial: a method on a task with a seed, from configuration to result row, without Ray."""

from __future__ import annotations

import traceback
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lotbench import machine, registry, store
from lotbench.config.sections import TrialConfig
from lotbench.data.task import Task, load_task
from lotbench.engine import checkpoint
from lotbench.engine.encoder import ReducedEncoder
from lotbench.engine.loading import load_tokenizer, read_config
from lotbench.errors import InputError
from lotbench.reducer import Params, TokenReducer
from lotbench.study.evaluate import evaluate
from lotbench.study.teacher import Artefacts, device
from lotbench.study.training import NonFiniteLoss, Progress, silent, train

COMMON = {"backbone", "layers", "data_root", "data", "train", "teacher"}
"""What all trials of a task have in common in one store."""


def resolve(config: TrialConfig) -> tuple[type[TokenReducer], Params, list[float]]:
    """The method's class, its hyper-parameters and the post-hoc budgets to evaluate.

    The list of budgets stands among the parameters under the plural of the budget's name
    (``thresholds``); without it the trained budget alone is evaluated.

    Raises
    ------
    InputError
        If the method or a parameter is unknown or does not fit.
    """
    for plugin in config.plugins:
        registry.load_plugin(plugin)
    cls = registry.get(config.method)
    values, budgets = dict(config.params), []
    where = f"methods.{config.method}"
    key = f"{cls.budget_name}s"
    if cls.budget_name and key in values:
        budgets = values.pop(key)
        numbers = isinstance(budgets, list) and all(isinstance(x, int | float) for x in budgets)
        if not numbers or not budgets or len(set(budgets)) < len(budgets):
            raise InputError(
                f"{where}.{key}: a list of different numbers is needed (given: {budgets!r})"
            )
    params = registry.make_params(cls, values, where)
    for value in budgets:
        cls.check_budget(params, value, f"{where}.{key}")
    return cls, params, [float(x) for x in budgets]


def trial_id(config: TrialConfig) -> str:
    """The name under which the trial's result is stored."""
    return config.trial_id(resolve(config)[0].version)


def check_fits(config: TrialConfig, n_layers: int, width: int) -> None:
    """Builds a trial's method for the backbone: what does not fit is told before any training.

    Parameters
    ----------
    config : TrialConfig
    n_layers, width : int
        Of the backbone as it is in the hub or folder.

    Raises
    ------
    InputError
        If the method refuses its hyper-parameters.
    """
    cls, params, _ = resolve(config)
    try:
        cls(params, config.layers or n_layers, width)
    except InputError:
        raise
    except Exception:
        return  # a fault of the method, which its own trial will tell


def check_comparable(folder: Path, rows: list[store.Row], config: TrialConfig) -> None:
    """Refuses to add a trial to a store whose trials of the task have another dense model.

    Raises
    ------
    InputError
        Names what differs from one of the rows.
    """
    wanted = store.flat("", config.model_dump(mode="json", include=COMMON))
    for row in rows:
        if row["task"] != config.task or not row.get("config"):
            continue
        held = store.flat("", {key: row["config"].get(key) for key in COMMON})
        for key in {**wanted, **held}:  # some are left out where they change nothing
            if held.get(key) != wanted.get(key):
                raise InputError(
                    f"{folder}: holds trials of {row['task']} with {key[1:]} {held.get(key)}, now "
                    f"it is {wanted.get(key)}, but one dense model must stand behind all of them; "
                    "use a store of its own (of a sweep --set name=..., of a run --results ...)"
                )


def prepare(config: TrialConfig, folder: Path, progress: Progress = silent) -> Artefacts:
    """The task and the shared artefacts of a trial, the teacher trained if it is missing.

    Raises
    ------
    InputError
        If the data is at fault, or data or backbone have changed since other trials of the store
        were run.
    """
    tokenizer = load_tokenizer(config.backbone)
    task = load_task(config.task, config.data, tokenizer, config.seed, config.data_root)
    artefacts = Artefacts(config, task, tokenizer, progress)
    rows = _beside(folder, config)
    check_data(folder, task, rows)
    if any(row["teacher"]["key"] != artefacts.key for row in rows):
        raise InputError(
            f"{folder}: the weights of {config.backbone}, or LoTBench's training of teachers, have "
            "changed since its trials were run; run the sweep under another name"
        )
    artefacts.teacher()
    return artefacts


def _beside(folder: Path, config: TrialConfig) -> list[store.Row]:
    """Rows of other trials that, by their configuration, come of the same teacher."""
    own, teacher = trial_id(config), config.teacher_key()
    rows = [row for row in store.read_rows(folder) if row["status"] == "done" and "config" in row]
    rows = [row for row in rows if row["trial_id"] != own]
    return [row for row in rows if TrialConfig(**row["config"]).teacher_key() == teacher]


def check_data(folder: Path, task: Task, rows: list[store.Row]) -> None:
    """Refuses a task whose data is not what these rows of a store were made of.

    Raises
    ------
    InputError
        If the fingerprint of any row is another.
    """
    if any(row["data"]["fingerprint"] != task.fingerprint for row in rows):
        raise InputError(
            f"{folder}: the data of {task.name} is no longer what its trials were trained and "
            "scored on; bring it back, or run the sweep under another name"
        )


def run_trial(
    config: TrialConfig,
    folder: Path,
    progress: Progress = silent,
    catch_input_errors: bool = False,
) -> dict[str, Any]:
    """Train, evaluate and store one trial; returns its row.

    A loss that is not finite, or an exception inside a method, ends the trial as ``failed``; the
    row says why.

    Parameters
    ----------
    config : TrialConfig
    folder : Path
        The store.
    progress : callable
    catch_input_errors : bool
        Let bad input, too, end the trial as failed, so that a sweep's other trials go on.

    Raises
    ------
    InputError
        If the configuration or the data is at fault.
    """
    cls, params, budgets = resolve(config)
    name = config.trial_id(cls.version)
    row: dict[str, Any] = {
        "trial_id": name,
        "status": "done",
        "error": None,
        "task": config.task,
        "method": config.method,
        "seed": config.seed,
        "backbone": config.backbone,
        "params": params.model_dump(mode="json", by_alias=True),
        "config": config.model_dump(mode="json"),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine.record(),
        "versions": machine.versions(),
        "git_commit": machine.git_commit(),
    }
    try:
        done = [other for other in store.read_rows(folder) if other["status"] == "done"]
        check_comparable(folder, done, config)
        backbone = read_config(config.backbone)
        check_fits(config, backbone.num_hidden_layers, backbone.hidden_size)
        artefacts = prepare(config, folder, progress)
        found = _train_and_evaluate(
            config, cls, params, budgets, artefacts, folder / "models", name
        )
        store.as_json(found)  # what no file can hold is a fault of the method, too
        row |= found
    except NonFiniteLoss as error:
        row |= _failure("non-finite loss", str(error))
        row["error"] |= {"step": error.step, "term": error.term}
    except InputError as error:
        if not catch_input_errors:
            raise
        row |= _failure("bad input", str(error))
    except Exception as error:
        row |= _failure(type(error).__name__, registry.explain(error, cls))
        row["error"]["traceback"] = traceback.format_exc()
    if row["status"] == "done" or name not in store.finished(folder):
        store.write_row(folder, row)  # what was found once is not lost to a later failure
    return row


def _train_and_evaluate(
    config: TrialConfig,
    cls: type[TokenReducer],
    params: Params,
    budgets: list[float],
    artefacts: Artefacts,
    models: Path,
    name: str,
) -> dict[str, Any]:
    task = artefacts.task
    encoder = _start(config, cls, params, artefacts).to(device())
    attach = artefacts.attacher(encoder.reducer.needs)
    training = train(encoder, task.train, config.train, config.seed, attach, artefacts.progress)
    evaluations = evaluate_budgets(encoder, task, budgets, artefacts.progress)
    checkpoint.save(
        models / name, encoder, artefacts.tokenizer, config.plugins, config.data.max_length
    )
    card = artefacts.teacher_card()
    return {
        "metric": task.metrics[0],
        "teacher": {"key": artefacts.key, **card},
        "data": {"fingerprint": task.fingerprint, "train": len(task.train), **task.notes},
        "training": training,
        "evaluations": evaluations,
        "model": f"models/{name}",
    }


def _start(
    config: TrialConfig, cls: type[TokenReducer], params: Params, artefacts: Artefacts
) -> ReducedEncoder:
    """The model before its first step: from the teacher, or from the pretrained weights."""
    teacher = config.train.init == "teacher"
    source = str(artefacts.teacher()) if teacher else config.backbone
    layers = None if teacher else config.layers
    return checkpoint.build(source, artefacts.task.n_labels, cls, params, layers, config.seed)


def evaluate_budgets(
    encoder: ReducedEncoder, task: Task, budgets: list[float], progress: Progress = silent
) -> list[dict[str, Any]]:
    """Evaluations on validation and selection at each budget, the trained one if none is given."""
    rows = []
    reducer = encoder.reducer
    values = budgets or [None]
    for number, value in enumerate(values):
        progress("evaluate", number, len(values))
        with reducer.at_budget(value):
            budget = {reducer.budget_name: reducer.budget} if reducer.budget_name else {}
            for split in ("validation", "selection"):
                found = evaluate(encoder, getattr(task, split), task.metrics)
                rows.append({"budget": budget, "split": split, **found})
    return rows


def _failure(kind: str, message: str) -> dict[str, Any]:
    return {"status": "failed", "error": {"kind": kind, "message": message}}
