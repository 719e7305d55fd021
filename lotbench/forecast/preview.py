"""A sweep before it runs: how many trials are to do, and about how many hours they take here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from statistics import fmean
from typing import TYPE_CHECKING, Any

from lotbench import machine
from lotbench.config.sections import TeacherConfig, TrialConfig
from lotbench.data.task import Task
from lotbench.engine.loading import load_tokenizer
from lotbench.forecast.timing_cost import timing_seconds
from lotbench.forecast.trial_cost import Cost, Sample, clock, side_by_side, timed, window
from lotbench.plan.groups import groups, part_of
from lotbench.plan.plan import Plan
from lotbench.store.rows import Trial
from lotbench.store.store import Store
from lotbench.trial.evaluate import BATCH_SIZE, SEARCH_TEXTS
from lotbench.trial.planned import PlannedTrial
from lotbench.trial.progress import duration, in_parts, post, rough
from lotbench.trial.tasks import task_of
from lotbench.trial.teacher import Artefacts
from lotbench.trial.trial import SEARCHED

if TYPE_CHECKING:
    from rich.table import Table

TEACHER = "(teacher)"
SEARCHES = 30
"""A search of budgets scores its texts about so often."""


@dataclass
class Line:
    """A group of trials, or the teachers of a task."""

    task: str
    method: str
    written: str
    dimensions: int
    todo: Counter[str]
    """Trials of each part."""
    done: Counter[str]
    seconds: float | None = None
    """Of one trial; None if all are done, or the method's code raises."""
    source: str = ""
    """Where ``seconds`` comes from, or what the code raises."""

    @property
    def each(self) -> list[float]:
        """The seconds of the trials to do, as far as they are known."""
        return [] if self.seconds is None else [self.seconds] * self.todo.total()


@dataclass
class Data:
    """The data of a task, and how long reading it took."""

    task: Task
    seconds: float
    teachers: list[TrialConfig]
    """Trials whose teachers are not in the cache, one for each."""

    @property
    def tokens(self) -> int:
        """Of all training texts."""
        return int(self.task.train.lengths.sum())

    @property
    def length(self) -> float:
        """Mean tokens of a training text."""
        return self.tokens / len(self.task.train)


@dataclass
class _Unknown:
    """A line whose seconds have to be timed: of this trial, or of its teacher."""

    line: Line
    config: TrialConfig
    data: Data
    total: Callable[[Cost], float]


def preview(planned: Plan) -> Table:
    """A line for each group of trials, and for the teachers of each task, with their time here.

    Raises
    ------
    InputError
        If the data or the backbone is at fault.
    """
    from rich.table import Column, Table

    parts = ["search", "confirmation"] if planned.searches else ["search"]
    names = ("searched", "to do", "done", "each", "in all")
    table = Table("task", "method", *(Column(name, justify="right") for name in names), "from")
    data = read(planned)
    workers, lines = side_by_side(), estimates(planned, data)
    timing = timing_seconds(planned, {name: own.task for name, own in data.items()})
    for line in lines:
        counts = [" + ".join(str(own[part]) for part in parts) for own in (line.todo, line.done)]
        if line.method == TEACHER:
            counts = [str(line.todo.total()), ""]
        times = [rough(line.each[0]), rough(sum(line.each) / workers)] if line.each else ["", ""]
        named = f"{line.method} {line.written}"
        table.add_row(line.task, named, str(line.dimensions or ""), *counts, *times, line.source)
    teachers = [own for line in lines if line.method == TEACHER for own in line.each]
    trials = [own for line in lines if line.method != TEACHER for own in line.each]
    whole = rough(spread(teachers, workers) + spread(trials, workers))
    count = sum(line.todo.total() for line in lines if line.method != TEACHER)
    limit = duration(planned.sweep.train.max_minutes * 60)
    notes = [
        f"{count} trials to do: about {whole} on this machine, {workers} side by side",
        f"then the timing passes: {in_parts(timing)}" if timing else "",
        "searched: number of parameters; to do, done: search + confirmation"
        if planned.searches
        else "",
        f"a trial ends after {limit} at the latest (train.max_minutes)",
    ]
    table.caption = "\n".join(filter(None, notes))
    return table


def spread(seconds: list[float], workers: int) -> float:
    """Seconds that so many workers need: an equal share each, or the longest trial."""
    return max(sum(seconds) / workers, max(seconds, default=0.0))


def estimates(planned: Plan, data: Mapping[str, Data]) -> list[Line]:
    """The teachers of each task, then the groups of trials.

    The seconds of a trial are the mean of those of its group that this machine has finished, else
    they come from a few timed steps.
    """
    rows = Store(planned.folder).done()
    lines: list[Line] = []
    unknown: list[_Unknown] = []
    for name, own in data.items():
        if own.teachers:
            todo, config = Counter[str](search=len(own.teachers)), own.teachers[0]
            lines.append(Line(name, TEACHER, "", 0, todo, Counter()))
            total = partial(_teacher_seconds, config.teacher, own)
            unknown.append(_Unknown(lines[-1], config, own, total))
    for group in groups(planned):
        todo = [trial for name, trial in group.trials.items() if name in planned.todo]
        done = {name: rows[name] for name in group.trials if name in rows}
        counts = Counter(map(part_of, todo)) + group.coming
        ended = Counter(part_of(group.trials[name]) for name in done)
        named = (group.task, group.method, group.written, group.dimensions)
        line = Line(*named, counts, ended)
        lines.append(line)
        seconds = [row.seconds for row in done.values() if row.seconds and _is_here(row)]
        if counts and seconds:
            line.seconds, line.source = fmean(seconds), f"{len(seconds)} finished"
        elif todo:
            trial, own = todo[len(todo) // 2], data[group.task]  # not a default outside the space
            total = partial(_trial_seconds, trial, own)
            unknown.append(_Unknown(line, trial.config, own, total))
    _time(unknown)
    return lines


def _time(unknown: list[_Unknown]) -> None:
    """Fills in seconds: each method is timed on the task that has most to train on.

    On others it takes a time in proportion to the mean length of a text.
    """
    kinds: dict[tuple[str, str], list[_Unknown]] = {}
    for own in unknown:
        kinds.setdefault((own.line.method, own.line.written), []).append(own)
    first = {kind: max(own, key=lambda one: one.data.tokens) for kind, own in kinds.items()}
    samples = {}
    for kind, own in first.items():
        teacher, task = own.line.method == TEACHER, own.data.task
        fit = own.config.teacher if teacher else own.config.train
        # Of validation, since its texts may be cut elsewhere than those of training.
        trained, scored = window(task.train, fit.batch_size), window(task.validation, BATCH_SIZE)
        samples[kind] = Sample(own.config, teacher, task.n_labels, trained, scored)
    for kind, cost in timed(samples).items():
        base = first[kind].data
        for own in kinds[kind]:
            if isinstance(cost, str):
                own.line.source = cost
                continue
            try:
                own.line.seconds = own.total(cost.at_length(own.data.length / base.length))
                where = "" if own.data is base else f" on {base.task.name}"
                own.line.source = f"timed steps{where}"
            except Exception as error:  # such as a stage without a step
                own.line.source = f"{type(error).__name__}: {error}".splitlines()[0]


def read(planned: Plan) -> dict[str, Data]:
    """The data of the tasks that have trials to do."""
    tokenizer = load_tokenizer(planned.sweep.backbone)
    places = {trial.config.task: trial.place for trial in planned.trials.values()}
    by_task: dict[str, list[TrialConfig]] = {}
    for first, *_ in planned.teaching().values():
        by_task.setdefault(first.config.task, []).append(first.config)
    found = {}
    for name, configs in by_task.items():
        post(f"read {name}", len(found), len(by_task))
        first, *others = configs
        started = clock()
        with places[name].document.at(("tasks", name)):
            task = task_of(first, tokenizer)
        seconds = clock() - started
        missing = configs
        if _is_taught(first, task, tokenizer):  # else those of other seeds hardly are
            tasks = ((own, task_of(own, tokenizer)) for own in others)
            missing = [own for own, read in tasks if not _is_taught(own, read, tokenizer)]
        found[name] = Data(task, seconds, missing)
    return found


def _is_taught(config: TrialConfig, task: Task, tokenizer: Any) -> bool:
    """Whether the teacher is in the cache."""
    return (Artefacts(config, task, tokenizer).folder / "model").is_dir()


def _is_here(row: Trial) -> bool:
    """Whether a trial ran on such a machine as this one."""
    threads = row.training and row.training.threads
    here = machine.cpu_id(), machine.usable_cores(), machine.trial_threads()
    return (row.machine.cpu_id, row.machine.cores, threads) == here


def _trial_seconds(trial: PlannedTrial, data: Data, cost: Cost) -> float:
    """Seconds of a trial: start, training, both searches, and both splits at each budget."""
    task = data.task
    budgets = [cost.scoring(target) for target in trial.targets]
    searched = min(len(task.selection), SEARCH_TEXTS) * SEARCHES if budgets else 0
    each = budgets or [cost.scoring()] * max(1, len(trial.budgets))
    scored = _scored(task, queries=task.reduces_queries)
    fit = trial.config.train
    texts = round(fit.epochs * len(task.train)) // SEARCHED
    searched += min(len(task.selection), texts) * cost.searched
    training = cost.training(len(task.train), fit)
    return cost.start + data.seconds + training + scored * sum(each) + searched * fmean(each)


def _teacher_seconds(settings: TeacherConfig, data: Data, cost: Cost) -> float:
    """Seconds of a teacher: start, training, both splits, answers, and saliency as in training.

    That of sentence vectors is not trained, nor a model that is taken as it is.
    """
    task, count = data.task, len(data.task.train)
    scored = _scored(task, queries=True) + count
    saliency = count / settings.batch_size * cost.steps[0]
    as_it_is = task.kind == "embedding" or settings.model
    training = 0.0 if as_it_is else cost.training(len(task.train.labelled), settings)
    return cost.start + data.seconds + training + scored * cost.scoring() + saliency


def _scored(task: Task, queries: bool) -> int:
    """Texts of both splits that a model scores, perhaps with their queries."""
    splits = task.validation, task.selection
    return sum(len(own) * (2 if queries and own.queries else 1) for own in splits)
