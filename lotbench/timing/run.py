"""The timing passes of a store: selected, prepared and run."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from lotbench import registry
from lotbench.config.sections import MeasureConfig
from lotbench.errors import PassFailed
from lotbench.measure import launch
from lotbench.measure.spec import DeviceSetting, PassSpec, WorkerResult, key
from lotbench.store.records import TimingPass
from lotbench.store.store import Store
from lotbench.study.cache import scratch
from lotbench.timing.merge import ROUNDS_EACH, merge, rounds_of_processes
from lotbench.timing.prepare import Prepared, prepare
from lotbench.timing.select import Selection, select

log = logging.getLogger(__name__)


@dataclass
class Measured:
    """How many records were stored, and what was not.

    ``refused`` has one line for each record that was too noisy: task, setting, noisy contenders.
    ``failed`` names the entries that raised and the workers that died.  What a backend cannot run
    is in neither; the passes record it.
    """

    written: int = 0
    refused: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)


def time_models(
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
    done = Measured()
    for selection in select(store, config, ids, again, plugins):
        with scratch("graphs") as folder:
            prepared = prepare(store, selection, folder, plugins)
            done.failed += prepared.failed
            for setting in selection.entries if prepared.dense else ():
                try:
                    records, broken = run_pass(_spec(selection, prepared, setting, config, plugins))
                except PassFailed as error:  # the other passes go on
                    done.failed.append(str(error))
                    continue
                for record in records:
                    _keep(store, record, broken, strict, done)
    return done


def _spec(
    selection: Selection,
    prepared: Prepared,
    setting: DeviceSetting,
    config: MeasureConfig,
    plugins: Sequence[str],
) -> PassSpec:
    """The pass over what is prepared of a selection, in one setting."""
    entries, ready = selection.entries[setting], prepared.entries
    return PassSpec(
        task=prepared.task.name,
        setting=setting,
        dense=prepared.dense,
        entries=[ready[each.key] for each in entries if each.key in ready],
        examples=prepared.examples,
        picked=selection.picked,
        batch_sizes=selection.batch_sizes,
        rounds=config.rounds,
        min_seconds=config.min_seconds,
        seed=selection.trials[0].seed,
        plugins=plugins,
        dense_model=prepared.dense_model,
        metric=prepared.task.metrics[0],
        unable=prepared.unable,
    )


def run_pass(spec: PassSpec) -> tuple[list[TimingPass], dict[str, str]]:
    """A record for each batch size, and why entries could not be timed, by their keys.

    The worker processes run one after another.

    Raises
    ------
    PassFailed
        If a worker dies.
    """
    label = f"timing {spec.task} on {spec.setting}"
    log.info("%s: %d contenders and %d dense", label, len(spec.entries), len(spec.dense))
    shares = rounds_of_processes(spec.rounds)
    min_seconds = spec.min_seconds / len(shares)
    results = [
        launch.run_worker(
            "lotbench.measure.worker",
            replace(spec, process=process, rounds=rounds, min_seconds=min_seconds),
            WorkerResult,
            f"{label}: process {process + 1} of {len(shares)}",
        )
        for process, rounds in enumerate(shares)
    ]
    broken = {name: why for result in results for name, why in result.broken.items()}
    return [merge(spec, results, size) for size in spec.batch_sizes], broken


def _keep(
    store: Store, record: TimingPass, broken: dict[str, str], strict: bool, done: Measured
) -> None:
    """Stores a record, unless it is too noisy."""
    where = f"{record.task}, {record.setting.label}"
    done.failed += [f"{where}: {name}: {why}" for name, why in broken.items()]
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
            2 * ROUNDS_EACH,
        )
