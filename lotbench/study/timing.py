"""The timing pass of a store: its stored models on real validation inputs, alone on the machine."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from lotbench import machine, store
from lotbench.config.sections import MeasureConfig, SweepConfig, TrialConfig
from lotbench.data.task import load_task
from lotbench.data.tokens import Split
from lotbench.engine import checkpoint
from lotbench.engine.loading import load_tokenizer
from lotbench.errors import InputError, PassFailed
from lotbench.measure import breakeven, launch, merge
from lotbench.measure.worker import device_name
from lotbench.study.checks import check_data
from lotbench.study.teacher import Artefacts

Row = dict[str, Any]


@dataclass
class Measured:
    """What a timing pass left: how many records were stored, and what was not.

    ``refused`` has one line for each record that was too noisy: task, setting, and the noisy rows;
    ``failed`` says which contenders raised and which workers died.
    """

    written: int = 0
    refused: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)


def measure(
    folder: Path,
    config: MeasureConfig,
    ids: set[str] | None = None,
    again: bool = False,
    strict: bool = False,
    progress: Callable[[str], None] = print,
) -> Measured:
    """Time the stored models of a sweep.

    Parameters
    ----------
    folder : Path
        The sweep's store.
    config : MeasureConfig
    ids : set of str, optional
        Only these trials.
    again : bool
        Also what has been timed before: new passes are added, none is overwritten.
    strict : bool
        Do not store a pass with noisy rows.
    progress : callable
        Is given each line of progress.

    Raises
    ------
    InputError
        If the store holds no finished trial with a model.
    """
    rows = [row for row in store.read_rows(folder) if row["status"] == "done"]
    rows = [row for row in rows if ids is None or row["trial_id"] in ids]
    if not any(map(partial(has_model, folder), rows)):
        raise InputError(
            f"{folder}: no stored models to time; run the sweep with --results elsewhere to train "
            "some, if the rows here came without"
        )
    done = Measured()
    known = [] if again else store.standing(store.read_timings(folder))
    for members in _alike(rows):
        for records in _passes(folder, config, members, known, progress):
            try:
                for record in records:
                    _keep(folder, record, strict, done, progress)
            except PassFailed as error:  # what others have is timed all the same
                done.failed.append(str(error))
    return done


def map_break_even(
    folder: Path, sweep: SweepConfig, progress: Callable[[str], None] = print
) -> int:
    """Map where reduction pays for a sweep's backbone on this machine, one map per setting.

    Returns how many maps were written to the store; none is overwritten.
    """
    config = sweep.measure or MeasureConfig()
    written = 0
    for record in breakeven.run_maps(
        backbone=sweep.backbone,
        layers=sweep.layers,
        threads=config.threads,
        devices=config.devices,
        dtypes=config.dtypes,
        rounds=config.rounds,
        progress=progress,
    ):
        store.write_map(folder, record)
        written += 1
    return written


def _alike(rows: list[Row]) -> list[list[Row]]:
    """Rows by what they may be timed against: the same backbone, data, seed and teacher."""

    def key(row: Row) -> tuple[str, int, str]:
        return row["task"], row["seed"], TrialConfig(**row["config"]).teacher_key()

    return [list(members) for _, members in groupby(sorted(rows, key=key), key=key)]


def _keep(
    folder: Path, record: Row, strict: bool, done: Measured, progress: Callable[[str], None]
) -> None:
    """Stores a record, unless it is too noisy."""
    where = f"{record['task']}, {store.setting_label(record['setting'])}"
    done.failed += [f"{where}: {name}: {why}" for name, why in record.pop("broken").items()]
    noisy = [row["name"] for row in record["contenders"] if row["noisy"]]
    if strict and noisy:
        done.refused.append(f"{where}: {', '.join(noisy)}")
    else:
        store.write_timing(folder, record)
        done.written += 1
    if record["setting"]["processes"] == 1:
        progress(
            "timed by one process: the intervals lack what differs between processes, "
            f"so they are too narrow; {2 * merge.ROUNDS_EACH} rounds or more take several"
        )


def _passes(
    folder: Path,
    config: MeasureConfig,
    rows: list[Row],
    known: list[Row],
    progress: Callable[[str], None],
) -> Iterator[Iterator[Row]]:
    """The records of each setting in which something of these rows is not yet timed."""
    task, seed = rows[0]["task"], rows[0]["seed"]
    texts = min(e["examples"] for e in rows[0]["evaluations"] if e["split"] == "validation")
    sizes = [size for size in config.batch_sizes if size <= texts]
    for size in set(config.batch_sizes) - set(sizes):
        progress(f"{task}: {texts} texts are too few for a batch of {size}")
    picked = {"examples": config.examples, "run": max(config.batch_sizes)}
    timeable = [row for row in rows if row["method"] != "dense" and _loads(folder, row, progress)]
    contenders = [contender for row in timeable for contender in _contenders(folder, row)]
    if all(row["method"] == "dense" for row in rows):
        progress(f"{task}, seed {seed}: nothing but dense, so there is nothing to time")
    examples, dense = None, None
    for setting in launch.settings(config.devices, config.threads, config.dtypes):
        missing = [
            contender
            for contender in contenders
            if any(not _timed(known, task, setting, size, picked, contender) for size in sizes)
        ]
        if not missing:
            continue
        if examples is None:
            examples, dense = _inputs(folder, rows, config)
        records = launch.run_pass(
            task=task,
            dense=dense,
            contenders=missing,
            examples=examples,
            batch_sizes=sizes,
            threads=[setting.threads],
            devices=[setting.device],
            dtypes=[setting.dtype],
            rounds=config.rounds,
            min_seconds=config.min_seconds,
            seed=seed,
            progress=progress,
        )
        yield (record | {"setting": record["setting"] | {"picked": picked}} for record in records)


def _loads(folder: Path, row: Row, progress: Callable[[str], None]) -> bool:
    """Whether a trial's model is there and of today's version of its method; else says why."""
    place = _model(folder, row)
    if not place.is_dir():
        return False
    try:
        checkpoint.method_of(place)
    except InputError as error:
        progress(f"not timed: {error}")
        return False
    return True


def _contenders(folder: Path, row: Row) -> list[Row]:
    budgets = [e["budget"] for e in row["evaluations"] if e["split"] == "validation"]
    return [
        {
            "name": " ".join([row["trial_id"], *(f"{k}={v}" for k, v in budget.items())]),
            "trial_id": row["trial_id"],
            "folder": _model(folder, row).resolve(),
            "budget": budget,
        }
        for budget in budgets
    ]


def _timed(
    known: list[Row], task: str, setting: Any, size: int, picked: Row, contender: Row
) -> bool:
    """Whether a contender was timed in a setting as it would be today."""
    wanted = {**vars(setting), "batch_size": size}
    today = {
        "setting": {"device_name": device_name(setting.device), "picked": picked},
        "machine": {"cpu_id": machine.cpu_id()},
        "versions": machine.versions(),
    }
    return any(
        record["task"] == task
        and wanted.items() <= record["setting"].items()
        and store.origin(record) == store.origin(today)
        and any(
            c.get("trial_id") == contender["trial_id"] and c.get("budget") == contender["budget"]
            for c in record["contenders"]
        )
        for record in known
    )


def _inputs(folder: Path, rows: list[Row], measured: MeasureConfig) -> tuple[list[Row], Path]:
    """Tokenised validation examples, and the folder of the dense model."""
    config = TrialConfig(**rows[0]["config"])
    tokenizer = load_tokenizer(config.backbone)
    task = load_task(config.task, config.data, tokenizer, config.seed, config.data_root)
    check_data(folder, task, rows)
    examples = pick(task.validation, measured.examples, max(measured.batch_sizes))
    for row in rows:
        if row["method"] == "dense" and _model(folder, row).is_dir():
            return examples, _model(folder, row).resolve()
    return examples, Artefacts(config, task, tokenizer).teacher().resolve()


def pick(split: Split, count: int, run: int) -> list[Row]:
    """About ``count`` examples of a split by length: runs of neighbours, evenly spread.

    A batch of neighbours is what a length-sorted pass over the split sees; a batch over all
    lengths would be mostly padding.  The runs are cut from the split sorted by length, their
    centres at the quantiles (i + 0.5) / runs, so any batch size that divides a run gets batches
    of neighbours alone.

    Parameters
    ----------
    split : Split
    count : int
        Rounded up to whole runs, as far as the split has them.
    run : int
        Examples of one run: the largest batch size.
    """
    order = np.argsort(split.lengths, kind="stable")
    run = min(run, len(order))
    runs = min(math.ceil(count / run), len(order) // run)
    centres = (np.arange(runs) + 0.5) / runs * len(order)
    starts = np.floor(centres - run / 2).astype(int)
    return [
        {
            "input_ids": split.input_ids[i],
            "token_type_ids": split.token_type_ids[i],
            "text_seed": int(split.text_seed[i]),
        }
        for start in starts
        for i in order[start : start + run]
    ]


def has_model(folder: Path, row: Row) -> bool:
    """Whether a trial left a model; the rows of the reference results came without."""
    return row["status"] == "done" and "model" in row and _model(folder, row).is_dir()


def _model(folder: Path, row: Row) -> Path:
    return folder / row["model"]
