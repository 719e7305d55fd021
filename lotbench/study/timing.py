"""The timing pass of a store: its stored models on real validation inputs."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path

import numpy as np

from lotbench import backends, engine, machine, registry
from lotbench.config.sections import MeasureConfig, SweepConfig
from lotbench.data.task import Task, load_task
from lotbench.data.tokens import Split
from lotbench.engine import checkpoint
from lotbench.engine.loading import load_tokenizer, read_config
from lotbench.errors import InputError, PassFailed
from lotbench.measure import breakeven, launch, merge, passes, protocol
from lotbench.measure.devices import device_name
from lotbench.measure.passes import PassResult
from lotbench.measure.spec import Candidate, DeviceSetting, Example, PassSpec, key
from lotbench.store.records import Conditions, TimingPass, Trial
from lotbench.store.store import Store
from lotbench.store.timing_parts import Picked
from lotbench.study.cache import scratch
from lotbench.study.checks import check_data, stored_config
from lotbench.study.scoring import Prepared, Preparer, known_scores
from lotbench.study.teacher import Artefacts

log = logging.getLogger(__name__)


@dataclass
class Measured:
    """How many records were stored, and what was not.

    ``refused`` has one line for each record that was too noisy: task, setting, noisy contenders.
    ``failed`` names the contenders that raised and the workers that died.  What a backend cannot
    run is in neither; the passes record it.
    """

    written: int = 0
    refused: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)


def measure(
    store: Store,
    config: MeasureConfig,
    ids: set[str] | None = None,
    again: bool = False,
    strict: bool = False,
    plugins: Sequence[str] = (),
) -> Measured:
    """Time the stored models of a sweep.

    Parameters
    ----------
    store : Store
    config : MeasureConfig
    ids : set of str, optional
        Only these trials.
    again : bool
        Also time what has been timed before; the new passes are added to the old ones.
    strict : bool
        Do not store a pass with noisy contenders.
    plugins : sequence of str
        Files or modules with methods that may be imported; those that the store names are not.

    Raises
    ------
    InputError
        If the store holds no finished trial with a model, or if a plugin is at fault.
    """
    for plugin in plugins:
        registry.load_plugin(plugin)
    trials = [trial for trial in store.done().values() if ids is None or trial.trial_id in ids]
    if not any(map(store.model, trials)):
        raise InputError(
            f"{store.folder}: no stored models to time; to train some, run the sweep with "
            "--results and another folder"
        )
    done = Measured()
    known = [] if again else store.newest_passes()
    for members in _with_one_dense_model(trials):
        for results in _passes(store, config, members, known, plugins):
            done.failed += results.failed
            try:
                for result in results.records:
                    _keep(store, result, strict, done)
            except PassFailed as error:  # the other passes go on
                done.failed.append(str(error))
    return done


def check_targets(store: Store, config: MeasureConfig) -> None:
    """Refuses to time a target that no stored trial has.

    Raises
    ------
    InputError
        Names the target and those that the trials have.
    """
    every = [each.target for trial in store.done().values() for each in trial.evaluations]
    known = sorted({target for target in every if target is not None})
    for target in config.targets or ():
        if target not in known:
            names = ", ".join(f"{each:g}" for each in known) or "none"
            raise InputError(
                f"measure.targets: {target:g} is not a target of the trials of {store.folder} "
                f"(known: {names})"
            )


@dataclass(frozen=True)
class Results:
    """The results of one setting as they come, and what failed before."""

    records: Iterator[PassResult]
    failed: list[str]


def map_break_even(store: Store, sweep: SweepConfig) -> int:
    """The number of break-even maps added to the store, one per setting.

    A map shows at which lengths and keep ratios the sweep's backbone is faster with reduction, on
    this machine.

    Raises
    ------
    InputError
        If the backbone cannot be read, or no backend of the sweep is PyTorch.
    """
    config = sweep.measure or MeasureConfig()
    torches = [
        own.precision
        for own in map(backends.BY_NAME.__getitem__, config.backends or [backends.TORCH])
        if own.runtime == "torch"
    ]
    if not torches:
        raise InputError("measure.backends: a map runs PyTorch alone; add torch-fp32 or torch-bf16")
    read_config(sweep.backbone)  # what is wrong with it is not for a worker to say
    written = 0
    for record in breakeven.run_maps(
        backbone=sweep.backbone,
        layers=sweep.layers,
        threads=config.threads,
        devices=config.devices,
        dtypes=torches,
        rounds=config.rounds,
    ):
        store.write(record)
        written += 1
    return written


def _with_one_dense_model(trials: list[Trial]) -> list[list[Trial]]:
    """The trials in groups with the same backbone, data, seed and teacher."""

    def key(trial: Trial) -> tuple[str, int, str]:
        return trial.task, trial.seed, stored_config(trial).teacher_key()

    return [list(members) for _, members in groupby(sorted(trials, key=key), key=key)]


def _keep(store: Store, result: PassResult, strict: bool, done: Measured) -> None:
    """Stores a record, unless it is too noisy."""
    record = result.record
    where = f"{record.task}, {record.setting.label}"
    done.failed += [f"{where}: {name}: {why}" for name, why in result.broken.items()]
    noisy = [key(own.name, record.backend(own)) for own in record.contenders if own.noisy]
    if strict and noisy:
        done.refused.append(f"{where}: {', '.join(noisy)}")
    else:
        store.write(record)
        done.written += 1
    if record.setting.processes == 1:
        log.warning(
            "timed by one process: the intervals lack what differs between processes, "
            "so they are too narrow; %d rounds or more take several",
            2 * merge.ROUNDS_EACH,
        )


def _passes(
    store: Store,
    config: MeasureConfig,
    trials: list[Trial],
    known: list[TimingPass],
    plugins: Sequence[str],
) -> Iterator[Results]:
    """The results of each setting in which some of these trials are not yet timed."""
    task, seed = trials[0].task, trials[0].seed
    sizes = _batch_sizes(config, trials[0])
    picked = Picked(examples=config.examples, run=max(config.batch_sizes))
    reduced = [trial for trial in trials if trial.method != "dense"]
    candidates = [_candidates(store, trial, config, plugins) for trial in reduced]
    if not reduced:
        log.info("%s, seed %d: nothing but dense, so there is nothing to time", task, seed)
    inputs, preparer = None, None
    with scratch("graphs") as graphs:
        for setting in launch.settings(config.devices, config.threads):
            names = backends.chosen(config.backends, setting.device)
            today = _conditions(setting, picked, names)
            comparable = [each for each in known if each.task == task and each.conditions == today]
            missing = [
                candidate
                for candidate in _in_backends(candidates, names)
                if any(not _timed(comparable, setting, size, candidate) for size in sizes)
            ]
            if not missing:
                continue
            if inputs is None or preparer is None:
                inputs = _inputs(store, trials, config)
                preparer = Preparer(
                    inputs.task,
                    trials,
                    inputs.dense_trial,
                    inputs.dense_model,
                    graphs,
                    known_scores(store.timings()),
                    plugins,
                )
            # Scoring would disturb the pass of another process, and be disturbed.
            with launch.exclusive(launch.LOCK):
                dense, found = _prepare(preparer, inputs, names, missing, setting.device)
            spec = PassSpec(
                task=task,
                setting=setting,
                dense=dense,
                candidates=found.candidates,
                examples=inputs.examples,
                batch_sizes=sizes,
                rounds=config.rounds,
                min_seconds=config.min_seconds,
                seed=seed,
                picked=picked,
                plugins=plugins,
                dense_model=inputs.dense_model,
                metric=preparer.metric,
                unable=found.unable,
            )
            yield Results(passes.run_pass(spec) if dense else iter(()), found.failed)


def _in_backends(candidates: list[list[Candidate]], names: list[str]) -> Iterator[Candidate]:
    """Each model in each backend at each budget, so that what shares a model is together."""
    for own in candidates:
        for backend in names:
            if not backends.BY_NAME[backend].compiled:
                yield from (replace(each, backend=backend) for each in own)


def _prepare(
    preparer: Preparer, inputs: Inputs, names: list[str], missing: list[Candidate], device: str
) -> tuple[list[Candidate], Prepared]:
    """The dense models of each backend, and the candidates in the backends that run dense."""
    wanted = [
        Candidate(name, None, str(inputs.dense), backend=backend)
        for backend in names
        for name in (protocol.DENSE, protocol.PACKED)
        if name == protocol.DENSE or not backends.BY_NAME[backend].compiled
    ]
    dense = preparer.prepare(wanted, device)
    able = {each.backend for each in dense.candidates if each.name == protocol.DENSE}
    found = preparer.prepare([each for each in missing if each.backend in able], device)
    found.failed += dense.failed
    found.failed += [
        f"{preparer.task.name}: {key(each.trial_id, each.backend)}: {each.why}"
        for each in dense.unable
    ]
    return [each for each in dense.candidates if each.backend in able], found


def _batch_sizes(config: MeasureConfig, trial: Trial) -> list[int]:
    """The batch sizes that the validation split can fill."""
    counts = [each.examples for each in trial.evaluations if each.split == "validation"]
    texts = min((count for count in counts if count is not None), default=0)
    for size in config.batch_sizes:
        if size > texts:
            log.warning("%s: %d texts are too few for a batch of %d", trial.task, texts, size)
    return [size for size in config.batch_sizes if size <= texts]


def _candidates(
    store: Store, trial: Trial, config: MeasureConfig, plugins: Sequence[str]
) -> list[Candidate]:
    """A trial's model at each budget to time; none without a model of the method's version."""
    folder = store.model(trial)
    if folder is None:
        return []
    try:
        checkpoint.method_of(folder, plugins)
    except InputError as error:
        log.warning("not timed: %s", error)
        return []
    budgets = [
        each.budget
        for each in trial.evaluations
        if each.split == "validation"
        and (not config.targets or each.target is None or each.target in config.targets)
    ]
    return [
        Candidate(
            name=f"{trial.trial_id} {budget or ''}".strip(),
            trial_id=trial.trial_id,
            folder=str(folder.resolve()),
            budget=budget,
        )
        for budget in budgets
    ]


def _conditions(setting: DeviceSetting, picked: Picked, names: list[str]) -> Conditions:
    """The conditions of a pass on this machine today."""
    versions = machine.versions()
    return Conditions(
        device_name=device_name(setting.device),
        cpu_id=machine.cpu_id(),
        torch=versions.get("torch"),
        transformers=versions.get("transformers"),
        picked=(picked.examples, picked.run),
        protocol=protocol.VERSION,
        engine=engine.VERSION,
        backends=tuple(names),
        runtimes=backends.runtimes(names, versions),
    )


def _timed(
    known: list[TimingPass], setting: DeviceSetting, size: int, candidate: Candidate
) -> bool:
    """True if one of the passes timed a candidate in a setting, or found that it cannot run."""
    wanted = (setting.device, setting.threads, size)
    for record in known:
        own = record.setting
        if (own.device, own.threads, own.batch_size) == wanted and any(
            each.trial_id == candidate.trial_id
            and each.budget == candidate.budget
            and each.backend == candidate.backend
            for each in (*record.contenders, *(record.unable or ()))
        ):
            return True
    return False


@dataclass(frozen=True)
class Inputs:
    """What the passes of a task need: its data, the timed texts, and the dense model."""

    task: Task
    examples: list[Example]
    dense: Path
    """Folder of the dense model."""
    dense_trial: Trial | None
    """None if the dense model is the teacher."""
    dense_model: str
    """Trial id of the dense model, or the key of the teacher."""


def _inputs(store: Store, trials: list[Trial], measured: MeasureConfig) -> Inputs:
    """Tokenised validation examples, and the dense model."""
    config = stored_config(trials[0])
    tokenizer = load_tokenizer(config.backbone)
    task = load_task(config.task, config.data, tokenizer, config.seed, config.data_root)
    check_data(store.folder, task, trials)
    examples = pick(task.validation, measured.examples, max(measured.batch_sizes))
    for trial in trials:
        folder = store.model(trial)
        if trial.method == "dense" and folder is not None:
            return Inputs(task, examples, folder.resolve(), trial, trial.trial_id)
    artefacts = Artefacts(config, task, tokenizer)
    return Inputs(task, examples, artefacts.teacher().resolve(), None, artefacts.key)


def pick(split: Split, count: int, run: int) -> list[Example]:
    """About ``count`` examples of a split: runs of neighbours in length, evenly spread.

    A pass over the split sorted by length sees batches of neighbours; a batch over all lengths
    would be mostly padding.  The runs are cut from the split sorted by length, with their centres
    at the quantiles (i + 0.5) / runs.  Any batch size that divides ``run`` gets only neighbours.

    Parameters
    ----------
    split : Split
    count : int
        Rounded up to whole runs, as long as the split has enough texts.
    run : int
        Examples of one run: the largest batch size.
    """
    order = np.argsort(split.lengths, kind="stable")
    run = min(run, len(order))
    runs = min(math.ceil(count / run), len(order) // run)
    centres = (np.arange(runs) + 0.5) / runs * len(order)
    starts = np.floor(centres - run / 2).astype(int)
    return [
        Example(split.input_ids[i], split.token_type_ids[i], int(split.text_seed[i]))
        for start in starts
        for i in order[start : start + run]
    ]
