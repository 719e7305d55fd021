"""`lotbench accelerate`: a small sweep around one model, its timing, the choice and its export.

Every step is kept in the output folder, and a second call goes on where the first ended.
"""

from __future__ import annotations

import logging
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory

import yaml

from lotbench.accelerate.candidates import fewest
from lotbench.accelerate.queries import by_query
from lotbench.accelerate.recipe import NAME, Extent, classes_of, sweep_of
from lotbench.accelerate.texts import TASK, digest_of, divide, read_texts
from lotbench.backends import EXPORTED, need
from lotbench.cluster.sweep import run_sweep
from lotbench.cluster.watch import Show
from lotbench.config.document import Document
from lotbench.config.load import load_sweep
from lotbench.config.sections import MeasureConfig, SweepConfig
from lotbench.deploy.folder import write
from lotbench.deploy.measured import measured
from lotbench.engine.config_of_backbone import fingerprint
from lotbench.engine.loading import load_tokenizer
from lotbench.errors import InputError, PassFailed
from lotbench.forecast.preview import forecast, seconds_of
from lotbench.inspection import inspect
from lotbench.kinds.ranking import RANKING
from lotbench.measure.protocol import DENSE_NAME
from lotbench.plan.plan import Plan, plan
from lotbench.report.advice import facts, name, past
from lotbench.report.page import page
from lotbench.report.recommend import Limits, Option, recommend
from lotbench.report.text import TIMES, with_interval
from lotbench.statistics.bootstrap import Estimate
from lotbench.statistics.evidence import SLACK
from lotbench.statistics.store_view import StoreView
from lotbench.store.files import read_json, write_file, write_json
from lotbench.store.passes import Interval
from lotbench.store.rows import Trial
from lotbench.timing.run import time_models
from lotbench.trial.checks import stored_config
from lotbench.trial.progress import Listener, listening
from lotbench.trial.tasks import task_of
from lotbench.trial.teacher import Artefacts

log = logging.getLogger(__name__)

MARK, FILE, TEXTS = "accelerate.json", "sweep.yaml", "texts"
EXPORT, PAGE, TOKENS, BY_QUERY = "model", "report.html", "tokens", "queries.csv"
"""Names in the output folder."""
HOURS = "effort by hours"
"""Key in the file that marks the folder."""
TRAINING, LEAST_EFFORT, MOST_EFFORT = 0.6, 0.25, 100.0
"""Share of the hours for training, before timing and export, and the bounds of what it is."""


@dataclass(frozen=True)
class Acceleration:
    """The fastest model within the allowed drop, and its files."""

    faster: bool
    """True if a model is faster than dense within the drop."""
    lines: dict[str, str]
    """What is known of it, or of the nearest model, by name."""
    page: Path
    model: Path | None
    """The folder of the exported model."""
    tokens: Path | None
    """The page of the tokens that the model processes."""


def accelerate(
    model: str,
    texts: str,
    limits: Limits,
    output: Path,
    overrides: Sequence[str] = (),
    extent: Extent | None = None,
    or_dense: bool = False,
    passages: str | None = None,
    show: Show = nullcontext,
    steps: Callable[[], AbstractContextManager[Listener | None]] = nullcontext,
) -> Acceleration:
    """Search a faster model within the limits, and export it.

    For ``model``, ``texts`` and ``passages`` see `sweep_of` and `read_texts`.  ``output`` is a
    new folder, or that of an earlier call, which goes on.  ``overrides`` are ``key.path=value`` of
    the sweep.  ``extent`` says how much is tried, and what a call of ``limits.batch`` texts is.
    With ``or_dense`` the dense model is exported in its fastest backend if nothing is faster
    within the drop.  ``show`` shows the trials while they run, ``steps`` what is done before.
    """
    need("onnx", "onnxscript", "onnxruntime")
    extent = extent or Extent(limits.batch)
    with steps() as listener, listening(listener):
        make = partial(_sweep, model, texts, passages, output=output, overrides=overrides)
        sweep, planned = _planned(make, extent, output)
        _announce(planned)
    ran = run_sweep(planned, show=show)
    store = planned.store
    rows = [row for name, row in store.done().items() if name in planned.trials]
    if not rows:
        raise PassFailed("no model could be trained: " + "; ".join(ran.failed.values()))
    block = sweep.measure or MeasureConfig()
    if block.targets is None:
        block = block.model_copy(update={"targets": worth_timing(rows, limits.drop)})
    with store.lock():
        timed = time_models(store, block, set(planned.trials))
    for why in timed.failed:
        log.warning("not timed: %s", why)
    study = StoreView(planned.folder)
    (advice,) = recommend(study, limits)
    own = advice.choice or advice.nearest
    assert own is not None, "recommend names one"
    times = own.measured.contender.call_or_encoder.speedup_best
    faster = advice.choice is not None and times is not None and times.low > 1
    lines = {"model": name(own), **facts(own, advice, limits), "speed": _speed(times)}
    lines |= _of_queries(own, limits.drop, output)
    if ran.failed:
        lines["failed"] = ", ".join(ran.failed)
    for folder in (EXPORT, TOKENS):  # of an earlier call, perhaps with another drop
        shutil.rmtree(output / folder, ignore_errors=True)
    exported = tokens = None
    if faster:
        share = 100 * fmean(own.row.evaluation.keep_ratio)
        lines["tokens"] = f"{share:.0f}% computed, mean over the layers; {TOKENS}/ shows which"
        exported, tokens = _export(study, own, output)
    else:
        lines["why not"] = past(own, limits) or "it is not faster than the fastest dense model"
        if or_dense:
            exported = _export_dense(own, limits, output)
    whole, *_ = page.write([study], output / PAGE, lines)
    return Acceleration(faster, lines, whole, exported, tokens)


def _announce(planned: Plan) -> None:
    """Says what will be tried, and about how long that takes."""
    if not planned.todo:
        return
    settings = Counter(trial.method.name for trial in planned.todo.values())
    tried = [
        f"{name} ({count} settings)" if count > 1 else name for name, count in settings.items()
    ]
    log.info("to try: %s", ", ".join(tried))
    _, words, _ = forecast(planned)
    log.info("%s; then they are timed, and the best is exported", words)


def _planned(
    make: Callable[[Extent], tuple[SweepConfig, Document]], extent: Extent, output: Path
) -> tuple[SweepConfig, Plan]:
    """The sweep that ``make`` gives and its trials; with hours, as much as these have time for.

    What a first call found to fit is kept, so that a second one goes on with the same trials.
    """
    if extent.hours is not None:
        extent = replace(extent, effort=_effort(make, extent, extent.hours, output))
    sweep, document = make(extent)
    if extent.hours is not None:
        _say_extent(sweep, extent.effort)
    return sweep, plan(sweep.model_copy(update={"measure": None}), document, output)


def _effort(
    make: Callable[[Extent], tuple[SweepConfig, Document]],
    extent: Extent,
    hours: float,
    output: Path,
) -> float:
    """The multiple of the usual training that the hours have time for, read or foretold."""
    mark, known = output / MARK, str(hours)
    fitted = (read_json(mark) if mark.is_file() else {}).get(HOURS, {})
    if known not in fitted:
        sweep, document = make(extent)
        with TemporaryDirectory() as empty:  # where no trial is done
            seconds = seconds_of(forecast(plan(sweep, document, Path(empty)))[0])
        share = hours * 3600 * TRAINING / max(seconds, 1.0)
        fitted[known] = round(min(max(share, LEAST_EFFORT), MOST_EFFORT), 2)
        write_json(mark, read_json(mark) | {HOURS: fitted})
    return float(fitted[known])


def _say_extent(sweep: SweepConfig, effort: float) -> None:
    """Says what the hours are spent on, and what more of them would bring."""
    count = next(iter(sweep.tasks.values())).limit.train
    seeds = len(sweep.trained_seeds)
    log.info(
        "%g times the usual training: at most %s texts or queries for training and choice, "
        "%g passes, %s",
        *(effort, f"{count:,}", sweep.train.epochs, f"{seeds} seed{'s' * (seeds > 1)}"),
    )
    if effort == LEAST_EFFORT:
        log.warning("these hours are too few; it takes longer")
    log.info("not tried: other learning rates, budgets between the targets, other methods")


def _sweep(
    model: str,
    texts: str,
    passages: str | None,
    extent: Extent,
    output: Path,
    overrides: Sequence[str],
) -> tuple[SweepConfig, Document]:
    """The sweep, written into the output folder, with the overrides."""
    of_task = [text for text in overrides if text.strip().startswith(f"tasks.{TASK}.")]
    keys = Document("", {"tasks": {TASK: {}}}).override(of_task).data["tasks"][TASK]
    classes = classes_of(model)
    named = classes if len(classes) > 1 else []
    # What is at fault leaves no folder.
    frame, source, keys = read_texts(texts, keys, named, len(classes) == 1, passages)
    made_of = {"model": fingerprint(model), "texts": digest_of(texts)}
    _claim(output, made_of | ({"passages": digest_of(passages)} if passages else {}))
    if not model.startswith("package:") and Path(model).expanduser().is_dir():
        model = str(Path(model).expanduser().resolve())  # the workers run in folders of their own
    if frame is not None:
        label = keys.get("label", "label") if named else None
        ranking = keys if keys.get("kind") == RANKING.name else None
        source = divide(frame, label, output / TEXTS, ranking)
    content = sweep_of(model, classes, source, extent, keys)
    written = f"# Written by lotbench accelerate.\n{yaml.safe_dump(content, sort_keys=False)}"
    return load_sweep(write_file(output / FILE, written), overrides)


def _claim(output: Path, made_of: dict[str, str]) -> None:
    """Refuses a folder that is of something else, before anything in it is touched."""
    mark = output / MARK
    foreign = output.is_dir() and any(output.iterdir()) and not mark.is_file()
    old = read_json(mark) if mark.is_file() else {}
    changed = any(old.get(key) != value for key, value in made_of.items())
    if foreign or ((output / NAME).exists() and changed):
        raise InputError(
            f"{output}: neither empty nor of an earlier call with this model and these texts; give "
            "a new --output"
        )
    output.mkdir(parents=True, exist_ok=True)
    write_json(mark, made_of if changed else old)


def worth_timing(rows: Iterable[Trial], drop: float) -> list[float] | None:
    """The targets that may be chosen: of each model the two largest within the drop on selection.

    Two, since a backend may lose some of the score.  Of a model that keeps to it nowhere, the
    smallest.  None if no model has targets.
    """
    found = set()
    for row in rows:
        teacher = row.teacher and row.teacher.metrics
        assert teacher and row.metric, "the row of a trial that is done has them"
        least = (teacher["selection"][row.metric] or 0.0) - drop / 100 - SLACK
        scores = {
            own.target: own.metrics[row.metric] or 0.0
            for own in row.evaluations
            if own.split == "selection" and own.target is not None
        }
        kept = [target for target, score in scores.items() if score >= least]
        found |= {*sorted(kept)[-2:]} if kept else {min(scores)} if scores else set()
    return sorted(found) or None


def _speed(times: Interval | None) -> str:
    if times is None:
        return "no dense model holds its score in a backend to compare with"
    value = with_interval(Estimate(times.median, times.low, times.high), TIMES)
    return f"{value} the fastest dense model of any backend, from text to answer"


def _of_queries(own: Option, drop: float, output: Path) -> dict[str, str]:
    """The rival that reads fewer passages, and the table of queries; empty without a ranking."""
    trial = own.row.run.trial
    config = stored_config(trial)
    tokenizer = load_tokenizer(config.backbone)
    task = task_of(config, tokenizer)
    if task.kind is not RANKING:
        return {}
    Artefacts(config, task, tokenizer).answer()
    by_query(task, trial, own.row.evaluation).to_csv(output / BY_QUERY, index=False)
    return {"fewer passages": fewest(task, drop), "query by query": str(output / BY_QUERY)}


def _export(study: StoreView, own: Option, output: Path) -> tuple[Path, Path]:
    """The folder of the exported choice, and the page of the tokens that it processes."""
    model, point = study.store.model(own.row.run.trial), own.row.evaluation
    assert model is not None, "it was timed"
    value = float(point.budget.value) if point.budget else None
    write(model, output / EXPORT, own.backend, value, measured(model))
    _, files = inspect.of_split([model], "validation", point.target, output / TOKENS)
    return output / EXPORT, files[-1]


def _export_dense(own: Option, limits: Limits, output: Path) -> Path | None:
    """The folder of the dense model in the fastest exported backend that keeps to the drop."""
    timing = own.measured.timing
    dense = [own for own in timing.contenders if own.name == DENSE_NAME and own.backend in EXPORTED]
    least = -limits.drop / 100 - SLACK
    able = [own for own in dense if (own.scores["selection"].change or 0.0) >= least]
    if not able:
        log.warning("no exported dense model keeps to the drop, so none is exported")
        return None
    best = min(able, key=lambda each: each.call_or_encoder.seconds_per_example)
    config = stored_config(own.row.run.trial)
    tokenizer = load_tokenizer(config.backbone)
    teacher = Artefacts(config, task_of(config, tokenizer), tokenizer).teacher
    write(teacher, output / EXPORT, best.backend, None, "")
    return output / EXPORT
