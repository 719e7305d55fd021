"""A store, read once: what tables, figures, sentences and advice are made of."""

from __future__ import annotations

import logging
from collections import defaultdict
from functools import cached_property
from pathlib import Path

from lotbench.errors import InputError
from lotbench.statistics.drawn import EveryMetric, every_metric
from lotbench.statistics.evidence import Evidence
from lotbench.statistics.reference import Reference
from lotbench.statistics.runs import Row, Run, newest_rows, runs_of
from lotbench.statistics.scored import Scored, scored_models
from lotbench.statistics.search import SearchTrials, searches
from lotbench.statistics.timed import TimingIndex, Where
from lotbench.store.maps import Map
from lotbench.store.passes import TimingPass
from lotbench.store.rows import Trial, Unreached
from lotbench.store.store import Store

log = logging.getLogger(__name__)


class StoreView:
    """The trials, passes, scored models and evidence of a store.

    Each is computed on first use and kept; a command makes one view and hands it on.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.store = Store(self.folder)
        if not any((self.folder / own.FOLDER).is_dir() for own in (Trial, Map)):
            raise InputError(f"{folder}: no results here (a store has a folder 'trials')")

    @property
    def name(self) -> str:
        return self.folder.resolve().name

    @cached_property
    def trials(self) -> list[Trial]:
        """All trials, by trial id."""
        return self.store.trials()

    @cached_property
    def passes(self) -> list[TimingPass]:
        """All timing passes, oldest first."""
        return self.store.timings()

    @cached_property
    def shown_passes(self) -> list[TimingPass]:
        """The passes, oldest first, that are comparable with the newest of their task and setting.

        The others are skipped with a warning.
        """
        shown = self.store.newest_passes()
        for skipped in sorted({p.pass_id for p in self.passes} - {p.pass_id for p in shown}):
            log.warning(
                "timing %s skipped: the newest pass in its setting has another machine, torch, "
                "transformers, choice of texts, protocol, engine, backends, runtimes or "
                "tokenisers; measure again to compare",
                skipped,
            )
        return shown

    @cached_property
    def maps(self) -> list[Map]:
        """The newest break-even map of every setting."""
        return list({own.setting.label: own for own in self.store.maps()}.values())

    @cached_property
    def runs(self) -> list[Run]:
        """The trials that reports read, under their written names.

        Of a search these are the trials that confirm its choices: the winner of a search looks
        better than it is.
        """
        return runs_of([own for own in self.trials if own.reported])

    @cached_property
    def searched_runs(self) -> list[Run]:
        """The trials of searches, among which settings are chosen, under their written names."""
        return runs_of([own for own in self.trials if own.search and own.search.part == "search"])

    @cached_property
    def searches(self) -> dict[str, list[SearchTrials]]:
        """The searches by task and name, without those of dense."""
        confirmed = [own for own in self.trials if own.search and own.reported]
        found = {}
        for task in dict.fromkeys(run.task for run in self.searched_runs):
            runs = [run for run in self.searched_runs if run.task == task]
            found[task] = searches(runs, [own for own in confirmed if own.task == task])
        return found

    @cached_property
    def tasks(self) -> list[str]:
        """The tasks, in the order of their trials; also those whose searches have no choice yet."""
        return list(dict.fromkeys(run.task for run in [*self.runs, *self.searched_runs]))

    def runs_on(self, task: str) -> list[Run]:
        """The trials on a task that reports read."""
        return [run for run in self.runs if run.task == task]

    def methods(self, task: str) -> set[str]:
        """The written names of all methods of a task, failed and searched ones too."""
        return {run.method for run in [*self.runs, *self.searched_runs] if run.task == task}

    @property
    def failed(self) -> list[Run]:
        """The failed trials, those of searches last."""
        return [run for run in [*self.runs, *self.searched_runs] if run.failed]

    @cached_property
    def clocks(self) -> TimingIndex:
        """What was timed."""
        return TimingIndex(self.shown_passes)

    @cached_property
    def rows(self) -> dict[str, list[Row]]:
        """The newest evaluations by task."""
        found: dict[str, list[Row]] = {task: [] for task in self.tasks}
        for row in newest_rows(self.runs):
            found[row.run.task].append(row)
        return found

    @cached_property
    def _scored(self) -> dict[str, tuple[list[Scored], Reference | None]]:
        return {task: scored_models(rows, self.clocks) for task, rows in self.rows.items()}

    @cached_property
    def metrics(self) -> dict[str, EveryMetric]:
        """Every metric of the scored models by task; see `every_metric`."""
        return {task: every_metric(rows) for task, rows in self.rows.items()}

    @property
    def references(self) -> dict[str, Reference]:
        """By task; a task without a score of dense or the teacher has none."""
        return {task: own for task, (_, own) in self._scored.items() if own is not None}

    @property
    def models(self) -> dict[str, list[Scored]]:
        """The scored models by task, by method, setting and target or budget."""
        return {task: models for task, (models, _) in self._scored.items()}

    def validated(self, task: str) -> list[Scored]:
        """The models of a task that are scored on validation."""
        return [own for own in self.models.get(task, ()) if own.seeds]

    @cached_property
    def missed(self) -> dict[str, dict[tuple[str, str], list[Unreached]]]:
        """The targets that the newest trials did not reach: by task, then by method and setting."""
        found: dict[str, dict[tuple[str, str], list[Unreached]]] = {}
        for task, rows in self.rows.items():
            own: dict[tuple[str, str], list[Unreached]] = defaultdict(list)
            for run in dict.fromkeys(row.run for row in rows):
                own[run.method, run.setting] += run.trial.unreached or []
            found[task] = own
        return found

    @cached_property
    def evidence(self) -> dict[str, Evidence]:
        """By task; a task without a reference has none."""
        return {
            task: Evidence(self.models[task], own, self.missed[task])
            for task, own in self.references.items()
        }

    def device_names(self, *tasks: str) -> dict[Where, set[str]]:
        """The devices of every timing setting of these tasks."""
        found: dict[Where, set[str]] = defaultdict(set)
        for timing in self.shown_passes:
            if timing.task in tasks:
                found[Where.of(timing)].add(timing.setting.device_name or "unknown device")
        return found

    def noise_floors(self, task: str) -> dict[Where, tuple[float, float]]:
        """How far dense timed twice differs from 1, by timing setting: least and most of a pass."""
        ratios: dict[Where, list[float]] = defaultdict(list)
        for timing in self.shown_passes:
            if timing.task == task and (floor := timing.call_or_encoder.noise_floor):
                ratios[Where.of(timing)].append(floor.ratio)
        return {where: (min(own), max(own)) for where, own in ratios.items()}

    def texts(self, task: str, split: str) -> list[int]:
        """How many texts a split of a task has; several numbers if trials differ."""
        evaluations = [own for run in self.runs_on(task) for own in run.trial.evaluations]
        return sorted({own.examples for own in evaluations if own.split == split and own.examples})
