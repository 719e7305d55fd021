"""Prepare stored models for their passes: the timed texts, the exported graphs, the scores."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np

from lotbench import engine, machine
from lotbench.backends import BY_NAME
from lotbench.config.sections import MeasureConfig
from lotbench.data.task import Task
from lotbench.data.tokens import Split
from lotbench.deploy.graph import export
from lotbench.deploy.quantise import quantise_file
from lotbench.engine.checksums import checksums
from lotbench.engine.loading import load_tokenizer
from lotbench.errors import InputError
from lotbench.measure import launch, protocol
from lotbench.measure.calls import load_engine
from lotbench.measure.spec import Entry, Example, PassSpec
from lotbench.store.files import replacing, write_file
from lotbench.store.passes import Pair
from lotbench.store.store import Store
from lotbench.timing.score import Scorer, example_of
from lotbench.timing.select import Selection
from lotbench.trial.cache import hashed
from lotbench.trial.checks import check_data, stored_config
from lotbench.trial.tasks import task_of
from lotbench.trial.teacher import Artefacts

log = logging.getLogger(__name__)


class Preparation:
    """Gives entries their graphs and scores; those that raise are left out, and noted.

    The folder is for graphs.  ``plugins`` are files or modules with methods that may be imported.
    """

    def __init__(self, scorer: Scorer, folder: Path, plugins: Sequence[str]) -> None:
        self.scorer, self.folder, self.plugins = scorer, folder, plugins
        self.unable: list[Pair] = []
        """Models that a backend can never run."""
        self.failed: list[str] = []
        """Why others failed."""
        self._refused: dict[str, InputError] = {}
        self._scored: dict[str, Entry | None] = {}

    def exported(self, entry: Entry) -> Entry | None:
        """The entry with the graph that its backend runs, if it runs one."""
        if not BY_NAME[entry.backend].exported:
            return entry
        with self._noted(entry):
            return replace(entry, graph=str(self._graph(entry)))

    def scored(self, entry: Entry) -> Entry | None:
        """The entry with its scores in its backend."""
        if entry.key not in self._scored:
            self._scored[entry.key] = None
            with self._noted(entry):
                scores = self.scorer.scores(entry)
                self._scored[entry.key] = replace(entry, scores=scores)
        return self._scored[entry.key]

    @contextmanager
    def _noted(self, entry: Entry) -> Iterator[None]:
        """Notes why an entry raises, and goes on."""
        task, trial_id, backend = self.scorer.task.name, entry.trial_id, entry.backend
        try:
            yield
        except Exception as error:  # a model must not end the pass of the others
            why = str(error).splitlines()[0] if str(error) else type(error).__name__
            log.warning("%s: not timed: %s: %s", task, entry.key, why)
            final = isinstance(error, InputError) and BY_NAME[backend].exported
            # As it would be next time.
            if trial_id and (final or isinstance(error, FloatingPointError)):
                for folder in (self.folder, Path(entry.folder).parent):
                    why = why.replace(f"{folder}/", "")  # a record travels without them
                self.unable.append(
                    Pair(trial_id=trial_id, budget=entry.budget, backend=backend, why=why)
                )
            else:
                self.failed.append(f"{task}: {entry.key}: {type(error).__name__}: {why}")

    def _graph(self, entry: Entry) -> Path:
        """The file of an entry's graph; one for all set budgets, if the budget is an input.

        Why a model cannot be exported is kept in `_refused`, so that no budget tries again.
        """
        model = entry.trial_id or entry.name
        if model in self._refused:
            raise self._refused[model]
        # Named by all that a graph depends on, since an interrupted pass may have left it.
        files = filter(Path.is_file, map(Path, self.plugins))
        code = [sha256(own.read_bytes()).hexdigest() for own in files]
        parts = [model, checksums(Path(entry.folder)), machine.versions(), engine.VERSION, code]
        content = hashed(json.dumps(parts))
        fixed = self.folder / f"{content}-{hashed(str(entry.budget))}.fixed.onnx"
        # A model at no budget of its own runs as it was trained, not at a value of the input.
        shared = self.folder / f"{content}.onnx" if entry.budget else fixed
        path = shared if shared.exists() else fixed
        if not path.exists():
            encoder, start = load_engine(entry, self.plugins), time.perf_counter()
            if entry.budget:
                encoder.reducer.budget = entry.budget.value
            try:
                found = export(encoder)
            except InputError as error:
                self._refused[model] = error
                raise
            path = shared if found.fixed is None else fixed
            write_file(path, found.model.SerializeToString())
            log.info("%s: exported in %.1f s", entry.name, time.perf_counter() - start)
        if BY_NAME[entry.backend].precision != "int8":
            return path
        quantised = path.with_suffix(".int8.onnx")
        if not quantised.exists():
            with replacing(quantised) as temporary:
                quantise_file(path, temporary)
        return quantised


def prepare(
    store: Store,
    selection: Selection,
    config: MeasureConfig,
    folder: Path,
    plugins: Sequence[str],
) -> tuple[list[PassSpec], Preparation]:
    """A pass for each setting of a selection, over all contenders, without scores.

    The models are exported to the folder.
    """
    task, max_length, dense_folder, dense_model = _open(store, selection)
    picked = selection.picked
    by = of_queries if picked.queries else pick
    examples = by(task.validation, picked.examples, picked.run)
    rows = {str(own.resolve()): each for each in selection.trials if (own := store.model(each))}
    prepared = Preparation(Scorer(task, rows, selection.device, plugins), folder, plugins)
    models = [
        Entry(name, None, dense_folder, backend=backend)
        for backend in selection.backends
        for name in (protocol.DENSE_NAME, protocol.PACKED)
        if name == protocol.DENSE_NAME or not BY_NAME[backend].compiled
    ]
    wanted = {each.key: each for own in selection.entries.values() for each in own}
    # It would disturb the pass of another process.
    with launch.exclusive(launch.LOCK):
        dense = [own for each in models if (own := prepared.exported(each))]
        able = {each.backend for each in dense if each.name == protocol.DENSE_NAME}
        reduced = {
            own.key: own
            for each in wanted.values()
            if each.backend in able and (own := prepared.exported(each))
        }
    specs = [
        PassSpec(
            task=task.name,
            setting=setting,
            dense=[each for each in dense if each.backend in able],
            entries=[reduced[each.key] for each in entries if each.key in reduced],
            examples=examples,
            picked=picked,
            tokenizer=dense_folder,
            max_length=max_length,
            batch_sizes=selection.batch_sizes,
            rounds=config.rounds,
            min_seconds=config.min_seconds,
            seed=selection.trials[0].seed,
            plugins=plugins,
            backends=[each for each in selection.backends if each in able],
            dense_model=dense_model,
            metric=task.metrics[0],
        )
        for setting, entries in selection.entries.items()
    ]
    return specs if able else [], prepared


def _open(store: Store, selection: Selection) -> tuple[Task, int, str, str]:
    """The task with what dense answers, the length of its texts, the dense model's folder and name.

    The dense model is that of a trial, or else the teacher.
    """
    config = stored_config(selection.trials[0])
    tokenizer = load_tokenizer(config.backbone)
    task = task_of(config, tokenizer)
    check_data(store.folder, task, selection.trials)
    teacher = Artefacts(config, task, tokenizer)
    if task.asks_dense:
        teacher.answer()
    for trial in selection.trials:
        folder = store.model(trial)
        if trial.method == "dense" and folder is not None:
            return task, config.scored_length, str(folder.resolve()), trial.trial_id
    return task, config.scored_length, str(teacher.teacher.resolve()), teacher.key


def pick(split: Split, count: int, run: int) -> list[Example]:
    """About ``count`` examples of a split: runs of neighbours in length, evenly spread.

    A pass over the split sorted by length sees batches of neighbours; a batch over all lengths
    would be mostly padding.  The runs are cut from the split sorted by length, with their centres
    at the quantiles (i + 0.5) / runs.  A run has ``run`` examples, the largest batch size; any size
    that divides it gets only neighbours.  ``count`` is rounded up to whole runs, as long as the
    split has enough texts.
    """
    order = np.argsort(split.lengths, kind="stable")
    run = min(run, len(order))
    runs = min(math.ceil(count / run), len(order) // run)
    centres = (np.arange(runs) + 0.5) / runs * len(order)
    starts = np.floor(centres - run / 2).astype(int)
    return [example_of(split, row) for start in starts for row in order[start : start + run]]


def of_queries(split: Split, count: int, run: int) -> list[Example]:
    """About ``count`` examples of a ranking: runs of ``run`` passages of one query each.

    The queries are at even quantiles of the tokens of their passages.  Within a run the shortest
    passage is first.

    Raises:
        InputError: if no query has ``run`` passages.
    """
    if split.groups is None:
        raise InputError("measure.queries: only a ranking has queries; remove it")
    _, numbers, sizes = np.unique(split.groups, return_inverse=True, return_counts=True)
    if run > sizes.max():
        raise InputError(
            f"measure.batch_sizes: no query has {run} passages; the most is {sizes.max()}"
        )
    rows = [np.flatnonzero(numbers == query)[:run] for query in np.flatnonzero(sizes >= run)]
    rows = [own[np.argsort(split.lengths[own], kind="stable")] for own in rows]
    rows.sort(key=lambda own: split.lengths[own].sum())
    runs = min(math.ceil(count / run), len(rows))
    chosen = np.floor((np.arange(runs) + 0.5) / runs * len(rows)).astype(int)
    return [example_of(split, row) for at in chosen for row in rows[at]]
