"""The timing passes of a store: selected, prepared and run."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from lotbench import registry
from lotbench.config.sections import MeasureConfig
from lotbench.errors import PassFailed
from lotbench.measure import launch, protocol
from lotbench.measure.spec import PassSpec, WorkerResult, key
from lotbench.store.passes import TimingPass
from lotbench.store.store import Store
from lotbench.timing.merge import merge
from lotbench.timing.prepare import prepare
from lotbench.timing.screen import narrowed
from lotbench.timing.select import announced, select
from lotbench.trial.cache import hashed, scratch
from lotbench.trial.progress import rough

log = logging.getLogger(__name__)


@dataclass
class TimingResult:
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
) -> TimingResult:
    """Time the stored models of a sweep, or of the trials ``ids`` alone.

    With ``again``, what has been timed before is timed, too; the new passes are added to the old
    ones.  With ``strict``, a pass with noisy contenders is not stored.  ``plugins`` are files or
    modules with methods that may be imported; those that the store names are not.
    """
    for plugin in plugins:
        registry.load_plugin(plugin)
    done = TimingResult()
    selections = select(store, config, ids, again, plugins)
    for line in announced(selections, config):
        log.info("%s", line)
    for selection in selections:
        # Graphs stay where a pass is interrupted, and it goes on with them.
        owner, name = hashed(str(store.folder.resolve())), hashed(selection.trials[0].trial_id)
        with scratch("graphs", owner, name) as folder:
            specs, prepared = prepare(store, selection, config, folder, plugins)
            for spec in specs:
                try:
                    spec = narrowed(spec, prepared)
                    records, broken = run_pass(spec) if spec.dense else ([], {})
                except PassFailed as error:  # the other passes go on
                    done.failed.append(str(error))
                    continue
                for record in records:
                    _keep(store, record, broken, strict, done)
            done.failed += prepared.failed
    return done


def run_pass(spec: PassSpec) -> tuple[list[TimingPass], dict[str, str]]:
    """A record for each batch size, and why entries could not be timed, by their keys.

    The worker processes run one after another.
    """
    label = f"timing {spec.task} on {spec.setting}"
    log.info("%s: %d contenders and %d dense", label, len(spec.entries), len(spec.dense))
    count = len(protocol.rounds_of_processes(spec.rounds))
    results, started = [], time.monotonic()
    for process in range(count):
        results.append(
            launch.run_worker(
                "lotbench.measure.worker",
                replace(spec, process=process),
                WorkerResult,
                f"{label}: process {process + 1} of {count}",
            )
        )
        if more := count - len(results):
            left = (time.monotonic() - started) / len(results) * more
            log.info("%s: about %s left", label, rough(left))
    broken = {name: why for result in results for name, why in result.broken.items()}
    return [merge(spec, results, size) for size in spec.batch_sizes], broken


def _keep(
    store: Store, record: TimingPass, broken: dict[str, str], strict: bool, done: TimingResult
) -> None:
    """Stores a record, unless it is too noisy."""
    where = f"{record.task}, {record.setting.label}"
    done.failed += [f"{where}: {name}: {why}" for name, why in broken.items()]
    noisy = [
        key(own.name, own.backend)
        for own in record.contenders
        if own.noisy or own.call_or_encoder.noisy
    ]
    if strict and noisy:
        done.refused.append(f"{where}: {', '.join(noisy)}")
    else:
        store.write(record)
        done.written += 1
    if record.setting.processes == 1:
        log.warning(
            "timed by one process: the intervals lack what differs between processes, "
            "so they are too narrow; %d rounds or more take several",
            2 * protocol.ROUNDS_EACH,
        )
