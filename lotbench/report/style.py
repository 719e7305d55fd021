"""What all figures share: one colour and marker per method, the axes, the caption."""

from __future__ import annotations

import contextlib
import hashlib
import math
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

# Okabe and Ito's palette, told apart with every kind of colour vision.
ORANGE, SKY, GREEN, YELLOW = "#E69F00", "#56B4E9", "#009E73", "#F0E442"
BLUE, VERMILLION, PURPLE, BLACK = "#0072B2", "#D55E00", "#CC79A7", "#000000"
GREY = "#777777"
KNOWN = {
    "lot": (VERMILLION, "o"),
    "power-bert": (BLUE, "s"),
    "ltp": (GREEN, "^"),
    "tr-bert": (PURPLE, "D"),
    "random-drop": (ORANGE, "v"),
    "first-k": (SKY, "P"),
    "truncated": (YELLOW, "X"),
    "dense": (BLACK, "*"),
    "dense-packed": (GREY, "h"),
}
# Plugins draw from these (the dark end of Tol's muted palette), so they never look like the above.
FOREIGN = [
    (colour, marker)
    for marker in ("<", ">", "p", "d", "8", "H")
    for colour in ("#332288", "#882255", "#999933", "#44AA99", "#661100")
]
# Correlations are published as they are, everything else in percent.
CORRELATIONS = {
    "pearson": "Pearson correlation",
    "spearman": "Spearman correlation",
    "matthews": "Matthews correlation",
}
TICKS = (
    (0.01, 0.1, 1, 10, 100, 1000),
    (0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200),
    (0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 5, 7, 10, 15, 20, 30, 50, 70, 100),
    (0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.2, 1.4, 1.6, 1.8, 2, 2.5, 3, 3.5, 4, 4.5, 5, 6, 7, 8, 9, 10),
    tuple(round(0.05 * step, 2) for step in range(1, 61)),
    tuple(round(0.01 * step, 2) for step in range(1, 301)),
)
SETTINGS = {
    "svg.hashsalt": "lotbench",
    "font.size": 8,
    "axes.titlesize": 8.5,
    "axes.labelsize": 8.5,
    "legend.fontsize": 8,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "axes.linewidth": 0.6,
    "axes.edgecolor": "#444444",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "#E8E8E8",
    "grid.linewidth": 0.5,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "legend.frameon": False,
}


def styles(methods: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Colour and marker per method: fixed for the known names, by a hash of the name for others."""
    given: dict[str, tuple[str, str]] = {}
    for method in sorted(set(methods)):
        if method in KNOWN:
            given[method] = KNOWN[method]
            continue
        start = int.from_bytes(hashlib.sha256(method.encode()).digest()[:4])
        turns = (FOREIGN[(start + turn) % len(FOREIGN)] for turn in range(len(FOREIGN)))
        free = (style for style in turns if style not in given.values())
        given[method] = next(free, FOREIGN[start % len(FOREIGN)])
    return given


def mark(colour: str, marker: str) -> dict[str, Any]:
    """How a point looks; the dark edge lifts yellow off the paper and parts overlapping points."""
    size = 9 if marker == "*" else 5.5
    edge = {"markeredgecolor": "#222222", "markeredgewidth": 0.5}
    return {"color": colour, "marker": marker, "markersize": size, "zorder": 5, **edge}


def order(methods: Iterable[str]) -> list[str]:
    """The methods as legends list them: known ones in a fixed order, then the others by name."""
    known = list(KNOWN)
    return sorted(set(methods), key=lambda m: (known.index(m) if m in known else len(known), m))


def metric(name: str) -> tuple[str, float]:
    """The axis label of a metric and what its scores are multiplied by for the axis."""
    if name in CORRELATIONS:
        return CORRELATIONS[name], 1.0
    return f"{'F1' if name == 'f1' else name.capitalize()} (%)", 100.0


def score(value: float, name: str) -> str:
    """A score as figures and tables write it: ``86.4%``, or ``0.871`` for a correlation."""
    return f"{value:.3f}" if name in CORRELATIONS else f"{100 * value:.1f}%"


def cost_and_score(point: pd.Series) -> str:
    """The FLOPs speed-up and the score of a point, beside its row in a figure."""
    value = score(point["score"], point["score_name"])
    return f"{point['flops_speedup']:.1f}\N{MULTIPLICATION SIGN}  {value}"


def pretty_setting(label: str) -> str:
    """A timing label in words: ``cpu-1t-b32-fp32`` becomes ``CPU, 1 thread, batch 32, fp32``."""
    device, threads, batch, dtype = label.rsplit("-", 3)
    return f"{device.upper()}, {in_threads([threads[:-1]])}, batch {batch[1:]}, {dtype}"


def log_speedup(axis: Axis, low: float, high: float) -> None:
    """Gives an axis a log scale over [low, high] with few, plain tick labels (1, 1.5, 2, 3, 5)."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    axis.axes.set(**{f"{axis.axis_name}scale": "log", f"{axis.axis_name}lim": (low, high)})
    inside = [[tick for tick in ticks if low <= tick <= high] for ticks in TICKS]
    fitting = [ticks for ticks in inside if len(ticks) <= 8]
    axis.set_major_locator(FixedLocator(max(fitting, key=len)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def speedup_limits(axes: list[Axis], rows: pd.DataFrame, names: list[str]) -> None:
    """Gives all the axes the same log scale, wide enough for the named columns and their bars."""
    columns = [f"{name}{end}" for name in names for end in ("", ".low", ".high")]
    values = rows[columns].to_numpy(float).ravel()
    given = [math.log(value) for value in (1.0, *values) if math.isfinite(value) and value > 0]
    margin = max(0.06 * (max(given) - min(given)), 0.02)
    for axis in axes:
        log_speedup(axis, math.exp(min(given) - margin), math.exp(max(given) + margin))


def dense_lines(axes: Axes, dense: float, name: str, named: bool) -> None:
    """Draws the dense score and the line one point below it, labelled in the right margin."""
    _, scale = metric(name)
    lines = (
        (dense, "-", f"dense {score(dense, name)}", "bottom"),
        (dense - 0.01, (0, (4, 2)), "\N{MINUS SIGN}1 point", "top"),
    )
    for value, dashes, text, side in lines:
        axes.axhline(scale * value, color=GREY, linewidth=0.8, linestyle=dashes, zorder=1)
        if named:
            axes.annotate(
                text,
                (1, scale * value),
                xycoords=("axes fraction", "data"),
                xytext=(3, -1.5 if side == "bottom" else 0.5),
                textcoords="offset points",
                va=side,
                fontsize=7,
                color="#444444",
            )


def machine(table: pd.DataFrame) -> str:
    """Where the trials of a frame were trained: CPU model, threads, precision."""
    parts = distinct(table["cpu"]) or ["unknown machine"]
    threads = distinct(table["threads"])
    if threads:
        parts.append(in_threads(threads))
    return ", ".join([*parts, *distinct(table["precision"])])


def in_threads(counts: list[Any]) -> str:
    """``1 thread``, ``1 and 2 threads``."""
    words = " and ".join(str(int(count)) for count in counts)
    return f"{words} thread{'' if words == '1' else 's'}"


def distinct(column: pd.Series) -> list[Any]:
    """The values of a column, once each and sorted, without missing ones."""
    return sorted(column.dropna().unique())


def seeds(points: pd.DataFrame) -> str:
    """How many seeds stand behind the points of a figure."""
    low, high = points["seeds"].min(), points["seeds"].max()
    if high == 1:
        return "1 seed"
    return f"mean of {high if low == high else f'{low} to {high}'} seeds"


def caption(figure: Figure, lines: list[str]) -> None:
    """Writes the small print at the foot of a figure; the layout makes room for it."""
    # A letter of this size is on average 0.05 inches wide.
    room = int(figure.get_figwidth() / 0.05)
    wrapped = [part for line in lines for part in textwrap.wrap(line, room)]
    figure.supxlabel("\n".join(wrapped), x=0.01, ha="left", fontsize=6.5, color="#555555")


@contextlib.contextmanager
def drawing() -> Iterator[None]:
    """Inside, matplotlib draws as LoTBench does, whatever the user's own settings say."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(SETTINGS)
        yield


def save(figure: Figure, path: Path) -> list[Path]:
    """The PNG and the SVG of a figure, without the date that would make every redraw differ."""
    # Not with_suffix: a task's name may hold a dot.
    files = [path.with_name(f"{path.name}{suffix}") for suffix in (".png", ".svg")]
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(files[0], dpi=200)
    figure.savefig(files[1], metadata={"Date": None})
    return files
