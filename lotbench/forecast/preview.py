"""A sweep before it runs: how many trials are to do, and about how many hours they take here."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from statistics import fmean

import torch

from lotbench import backends, machine
from lotbench.config.sections import FitConfig, TrialConfig
from lotbench.data.task import Task
from lotbench.engine.encoder import ReducedEncoder
from lotbench.engine.loading import load_tokenizer, random_backbone
from lotbench.forecast.sample import Cost, clock, evenly, sample
from lotbench.measure import launch
from lotbench.measure.flops import dense_flops
from lotbench.plan.groups import groups, part_of
from lotbench.plan.plan import Plan
from lotbench.reducer import Params, TokenReducer
from lotbench.report.layout import HEIGHT, aligned, fit, shortened
from lotbench.store.rows import Trial
from lotbench.timing.cost import dense_rate, in_words, pass_texts
from lotbench.trial.evaluate import BATCH_SIZE, SEARCH_TEXTS
from lotbench.trial.planned import PlannedTrial
from lotbench.trial.progress import duration, post, rough
from lotbench.trial.tasks import task_of
from lotbench.trial.teacher import Artefacts
from lotbench.trial.training import device, total_steps
from lotbench.trial.trial import SEARCHED

TEACHER = "(teacher)"
PARTS = ("search", "confirmation")
SEARCHES = 30
"""A search of budgets scores its texts about so often."""
MOST_RAISED = 4
UNKNOWN = 2.0
"""FLOPs speed-up of a model whose budget is not searched for a target."""


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
    trial: PlannedTrial | None = None
    """One of those to do, as far as they are known."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Of one trial of each part; empty if all are done, or the method's code raises."""
    source: str = ""
    """Where ``seconds`` comes from, or what the code raises."""

    @property
    def raises(self) -> bool:
        """True if the method's code raises."""
        return not self.seconds and bool(self.source)

    @property
    def every(self) -> list[float]:
        """The seconds of the trials to do, as far as they are known."""
        return [self.seconds[part] for part in self.todo.elements()] if self.seconds else []


@dataclass
class Data:
    """The data of a task."""

    task: Task
    """With all training texts."""
    start: float
    """Seconds to start a process and to read the data."""
    teachers: list[TrialConfig]
    """Trials whose teachers are not in the cache, one for each."""

    def scored(self, queries: bool) -> int:
        """Texts of both splits that a model scores, perhaps with their queries."""
        splits = self.task.validation, self.task.selection
        return sum(len(split) * (2 if queries and split.queries else 1) for split in splits)


def preview(planned: Plan) -> list[str]:
    """The screen of a plan: its groups of trials, the longest first if many, and the hours."""
    lines, whole, timing = forecast(planned)
    searching, limit = bool(planned.searches), planned.sweep.train.max_minutes * 60
    raised = [f"{own.task} {own.method}: {own.source}" for own in lines if own.raises]
    notes = [
        *shortened(raised, MOST_RAISED, "methods raise"),
        whole,
        f"then the timing passes of their models: {timing}" if timing else "",
        "searched: number of parameters; to do, done: search + confirmation" if searching else "",
        f"a trial ends after {duration(limit)} at the latest (train.max_minutes)",
    ]
    below = ["", *fit(filter(None, notes))]
    room = HEIGHT - 1 - len(below)
    if len(lines) > room:
        lines = sorted(lines, key=lambda line: -sum(line.every))
    columns = ["searched"] * searching + ["to do", "done", "each", "in all", "from"]
    rows = [["task, method", *columns], *(_row(line, searching) for line in lines)]
    first, *others = aligned(rows)
    return [first, *shortened(others, room, "groups of trials"), *below]


def seconds_of(lines: Iterable[Line]) -> float:
    """About how long all trials take, after their teachers, in seconds."""
    both = [[own for own in lines if (own.method == TEACHER) is first] for first in (True, False)]
    return sum(spread([one for line in own for one in line.every], _workers()) for own in both)


def forecast(planned: Plan) -> tuple[list[Line], str, str]:
    """A line for each group of trials and for the teachers of each task, and how long all takes.

    The last text is on the timing passes, and empty if there are none.
    """
    data = read(planned)
    lines = estimates(planned, data)
    trials = [line for line in lines if line.method != TEACHER]
    whole = rough(seconds_of(lines))
    count, side = sum(line.todo.total() for line in trials), f"{_workers()} side by side"
    trial = f"trial{'s' * (count != 1)}"
    words = f"{count} {trial} to do: about {whole} on this machine, {side}"
    return lines, words, _timing(planned, data, trials)


def _row(line: Line, searching: bool) -> list[str]:
    """The cells of a group of trials."""
    parts = PARTS if searching else PARTS[:1]
    counts = [" + ".join(str(own[part]) for part in parts) for own in (line.todo, line.done)]
    if line.method == TEACHER:
        counts = [str(line.todo.total()), ""]
    each = dict.fromkeys(rough(line.seconds[part]) for part in PARTS if part in line.seconds)
    whole = rough(sum(line.every) / _workers()) if line.every else ""
    times = [" + ".join(each), whole]
    searched = [str(line.dimensions or "")] * searching
    named = f"{line.task} {line.method} {line.written}".strip()
    return [named, *searched, *counts, *times, "it raises" if line.raises else line.source]


def _workers() -> int:
    return max(1, machine.usable_cores() // machine.trial_threads())


def spread(seconds: Sequence[float], workers: int) -> float:
    """Seconds that so many workers need: an equal share each, or the longest trial."""
    return max(sum(seconds) / workers, max(seconds, default=0.0))


def read(planned: Plan) -> dict[str, Data]:
    """The data of the tasks that have trials to do."""
    start = time.process_time()  # imports, as in a worker
    tokenizer = load_tokenizer(planned.sweep.backbone)
    places = {trial.config.task: trial.place for trial in planned.trials.values()}
    by_task: dict[str, list[TrialConfig]] = defaultdict(list)
    for first, *_ in planned.teaching().values():
        by_task[first.config.task].append(first.config)

    def is_taught(config: TrialConfig, task: Task) -> bool:
        return (Artefacts(config, task, tokenizer).folder / "model").is_dir()

    data = {}
    for name, configs in by_task.items():
        post(f"read {name}", len(data), len(by_task))
        first, *others = configs
        started = clock()
        with places[name].document.at(("tasks", name)):
            task = task_of(first.model_copy(update={"share": 1.0}), tokenizer)
        seconds = start + clock() - started
        texts = task if first.share == 1 else task_of(first, tokenizer)
        if is_taught(first, texts):  # else those of other seeds hardly are
            configs = [own for own in others if not is_taught(own, task_of(own, tokenizer))]
        data[name] = Data(task, seconds, configs)
    return data


def estimates(planned: Plan, data: Mapping[str, Data]) -> list[Line]:
    """The teachers of each task, then the groups of trials.

    The seconds of a trial are the mean of those of its group that this machine has finished, else
    they come from a few timed steps.
    """
    rows, lines = planned.store.done(), list[Line]()
    searched = planned.sweep.search
    shares = dict.fromkeys(PARTS, 1.0) | {"search": searched.share if searched else 1.0}
    for name, own in data.items():
        if own.teachers:
            todo = Counter(PARTS[each.share > shares["search"]] for each in own.teachers)
            lines.append(Line(name, TEACHER, "", 0, todo, Counter()))
    for group in groups(planned):
        todo = [trial for name, trial in group.trials.items() if name in planned.todo]
        done = {name: rows[name] for name in group.trials if name in rows}
        counts = Counter(map(part_of, todo)) + group.coming
        ended = Counter(part_of(group.trials[name]) for name in done)
        line = Line(group.task, group.method, group.written, group.dimensions, counts, ended)
        # Not a default outside the space.
        line.trial = todo[len(todo) // 2] if todo else None
        here = {name: row.seconds for name, row in done.items() if row.seconds and _is_here(row)}
        for part in counts:
            # Both parts take equally long if they train on the same texts.
            alike = [name for name in here if shares[part] == shares[part_of(group.trials[name])]]
            if alike:
                line.seconds[part] = fmean(here[name] for name in alike)
        if counts and counts.keys() == line.seconds.keys():
            line.source = f"{len(here)} finished"
        lines.append(line)
    unknown = [line for line in lines if not line.source and (line.trial or line.method == TEACHER)]
    threads = torch.get_num_threads()
    torch.set_num_threads(machine.trial_threads())
    for number, line in enumerate(unknown, start=1):
        post("time a few steps of each method", number, len(unknown))
        try:
            wanted = {part: shares[part] for part in line.todo}
            timed = _seconds(line.trial, data[line.task], wanted)
            line.seconds, line.source = timed | line.seconds, "timed steps"
        except (Exception, SystemExit) as error:  # a method may call sys.exit
            line.seconds, line.source = {}, f"{type(error).__name__}: {error}".splitlines()[0]
    torch.set_num_threads(threads)
    return lines


def _is_here(row: Trial) -> bool:
    """Whether a trial ran on such a machine as this one."""
    threads = row.training and row.training.threads
    here = machine.cpu_id(), machine.usable_cores(), machine.trial_threads()
    return (row.machine.cpu_id, row.machine.cores, threads) == here


def _seconds(
    trial: PlannedTrial | None, data: Data, shares: Mapping[str, float]
) -> dict[str, float]:
    """Seconds of a trial of each part; without one, of the first teacher that is missing.

    Each part trains on a share of the training texts.

    A trial trains, searches, and scores both splits at each budget.  A teacher also scores the
    training texts, and their saliency takes as long as training on them once.
    """
    task = data.task
    config = trial.config if trial else data.teachers[0]
    fit = config.train if trial else config.teacher
    torch.manual_seed(0)
    backbone = random_backbone(config.backbone, task.n_labels, config.layers)
    method, params = (trial.method, trial.params) if trial else (TokenReducer, Params())
    reducer = method(params, len(backbone.layers), backbone.width)
    batch, scored = evenly(task.train, fit.batch_size), evenly(task.validation, BATCH_SIZE)
    cost = sample(ReducedEncoder(backbone, reducer).to(device()), fit, batch, scored)
    of_one = _of_teacher if trial is None else partial(_of_trial, trial)
    return {part: data.start + of_one(data, fit, cost, share) for part, share in shares.items()}


def _of_teacher(data: Data, fit: FitConfig, cost: Cost, share: float) -> float:
    """Seconds of a teacher that trains on a share of the texts, without the start."""
    task, count = data.task, round(share * len(data.task.train))
    steps = count / fit.batch_size
    if not task.kind.vectors and not data.teachers[0].teacher.model:  # else taken as it is
        labelled = round(share * len(task.train.labelled))
        steps += total_steps(labelled, fit, cost.recipe)
    return steps * cost.step + (data.scored(queries=True) + count) * cost.text


def _of_trial(trial: PlannedTrial, data: Data, fit: FitConfig, cost: Cost, share: float) -> float:
    """Seconds of a trial that trains on a share of the texts, without the start."""
    task, count, selected = data.task, round(share * len(data.task.train)), len(data.task.selection)
    points = [cost.text * cost.speedup / target for target in trial.targets]
    searched = min(selected, SEARCH_TEXTS) * SEARCHES if points else 0
    searched += min(selected, round(fit.epochs * count) // SEARCHED) * cost.searched
    points = points or [cost.text] * max(1, len(trial.budgets))
    scoring = data.scored(task.reduces_queries) * sum(points) + searched * fmean(points)
    return total_steps(count, fit, cost.recipe) * cost.step + scoring


def _timing(planned: Plan, data: Mapping[str, Data], lines: Sequence[Line]) -> str:
    """How long the passes over the models of the trials to do take; empty if there are none."""
    config, sweep = planned.sweep.measure, planned.sweep
    speedups: dict[str, list[float]] = defaultdict(list)
    models = 0
    for line in lines if config else ():
        count = line.todo["confirmation" if planned.searches else "search"]
        if line.method != "dense" and line.task in data and line.trial:
            wanted = (config and config.targets) or line.trial.targets
            points = [target for target in line.trial.targets if target in wanted]
            points = points or [UNKNOWN] * max(1, len(line.trial.budgets))
            speedups[line.task] += points * count
            models += count
    if config is None or not models:
        return ""
    seeds = len(sweep.trained_seeds if sweep.search is None else sweep.confirmation.seeds)
    seconds, used = 0.0, set[str]()
    for name, points in speedups.items():
        task = data[name].task
        backbone = random_backbone(sweep.backbone, task.n_labels, sweep.layers)
        flops = float(dense_flops(torch.tensor(task.validation.lengths), backbone).mean())
        texts = len(task.validation) + len(task.selection)
        for setting in launch.settings(config.devices, config.threads):
            names = backends.chosen(config.backends, setting.device)
            times = pass_texts(config, names, points, texts, passes=seeds)
            seconds += times * flops / dense_rate(sweep.backbone, sweep.layers, setting)
            used |= {*names}
    return in_words(seconds, models, used)
