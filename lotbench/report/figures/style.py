"""Shared by all figures: fonts, log axes, title, caption, files, and marks that tell of models."""

from __future__ import annotations

import contextlib
import html
import io
import json
import math
import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from lotbench.report.text import MINUS
from lotbench.store.files import write_file

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.axis import XAxis, YAxis
    from matplotlib.figure import Figure
    from matplotlib.typing import RcKeyType

TICKS = (
    (0.01, 0.1, 1, 10, 100, 1000),
    (0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200),
    (0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 5, 7, 10, 15, 20, 30, 50, 70, 100),
    (0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.2, 1.4, 1.6, 1.8, 2, 2.5, 3, 3.5, 4, 4.5, 5, 6, 7, 8, 9, 10),
    tuple(round(0.05 * step, 2) for step in range(1, 61)),
    tuple(round(0.01 * step, 2) for step in range(1, 301)),
)
SETTINGS: dict[RcKeyType, Any] = {
    "svg.hashsalt": "lotbench",
    # TrueType: most journals refuse matplotlib's own Type 3, and text can be searched.
    "pdf.fonttype": 42,
    "font.size": 8,
    "axes.titlesize": 8.5,
    "axes.labelsize": 8.5,
    "figure.titlesize": 9.5,
    "figure.titleweight": "bold",
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
    # Names of methods and tokens may have dollar signs and backslashes.
    "text.parse_math": False,
}
DPI = 200
# How each format is written; without its date.
FORMATS: dict[str, dict[str, Any]] = {
    "png": {"dpi": DPI},
    "svg": {"metadata": {"Date": None}},
    "pdf": {"metadata": {"CreationDate": None}},
}
# Digits of a position, as a share of the figure.
DIGITS = 5
# The mean width of a letter, in inches.
CAPTION_LETTER, TITLE_LETTER = 0.05, 0.082
# The height of a line, in inches.
CAPTION_LINE, LEGEND_LINE = 0.11, 0.17
# A figure is shown larger than in print, where its letters are 8 points high.
SCALE = 1.35
TAG = re.compile(r'<g id="tag:(.*?)"')
PLACES = re.compile(r'(\bid="|href="#|url\(#)')


@contextlib.contextmanager
def drawing(more: Mapping[RcKeyType, Any] | None = None) -> Iterator[None]:
    """Sets LoTBench's matplotlib settings, and ``more``, in the block, not the user's own."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update({**SETTINGS, **(more or {})})
        yield


def figure(width: float, height: float) -> Figure:
    """An empty figure of this size, in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def title(figure: Figure, text: str) -> None:
    """Writes the title at the top left of a figure, in as many lines as it needs."""
    lines = textwrap.wrap(text, int(figure.get_figwidth() / TITLE_LETTER))
    figure.suptitle("\n".join(lines), x=0.01, ha="left")


def caption(figure: Figure, notes: Iterable[str], left_out: Sequence[str] = ()) -> None:
    """Writes the caption below a figure: what is left out, then the notes; there is room for it.

    A figure grows with the legend at its right, which is centred and must not reach the caption.
    """
    room = int(figure.get_figwidth() / CAPTION_LETTER)
    lines = [f"Not drawn, {'; '.join(left_out)}"] * bool(left_out)
    lines += [(joined := "; ".join(notes))[:1].upper() + joined[1:]]
    wrapped = [part for line in lines for part in textwrap.wrap(line, room)]
    for legend in figure.legends:
        below = 2 * CAPTION_LINE * (len(wrapped) + 1)
        needed = LEGEND_LINE * (len(legend.get_texts()) + 1) + below
        figure.set_figheight(max(figure.get_figheight(), needed))
    figure.supxlabel("\n".join(wrapped), x=0.01, ha="left", fontsize=6.5, color="#555555")


def log_speedup(axis: XAxis | YAxis, low: float, high: float) -> None:
    """Gives an axis a log scale over [low, high] with few, plain tick labels (1, 1.5, 2, 3, 5)."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    axis.axes.set(**{f"{axis.axis_name}scale": "log", f"{axis.axis_name}lim": (low, high)})
    axis.set_major_locator(FixedLocator(ticks(low, high)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def points_axis(axes: Axes, low: float, high: float) -> None:
    """Gives the y axis the limits [low, high] and tick labels with their signs."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    def signed(value: float, _: int) -> str:
        return f"{value:+g}".replace("-", MINUS) if round(value, 6) else "0"

    axes.set_ylim(low, high)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=7, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter(FuncFormatter(signed))


def ticks(low: float, high: float) -> list[float]:
    """The ticks of a log axis over [low, high]: as many as there is room for, and at most eight."""
    room = (high / low) ** (1 / 12)
    inside = [[tick for tick in each if low <= tick <= high] for each in TICKS]
    fits = [own for own in inside if all(b / a >= room for a, b in pairwise(own))]
    return max((own for own in fits if len(own) <= 8), key=len)


def speedup_limits(axes: Sequence[XAxis | YAxis], values: Iterable[float]) -> None:
    """Gives all axes the same log scale, wide enough for 1 and the values that are numbers."""
    logs = [math.log(value) for value in (1.0, *values) if math.isfinite(value) and value > 0]
    margin = max(0.06 * (max(logs) - min(logs)), 0.02)
    for axis in axes:
        log_speedup(axis, math.exp(min(logs) - margin), math.exp(max(logs) + margin))


def save(figure: Figure, path: Path, formats: Iterable[str] = FORMATS) -> list[Path]:
    """Save a figure in these of `FORMATS`, and return the files.

    They are reproducible: without a date, and with rounded positions.  A PNG has 256 colours, which
    makes it three times smaller.
    """
    from PIL import Image

    settle(figure)
    # What a page knows of an artist would be its id in an SVG.
    for artist in figure.findobj():
        artist.set_gid(None)
    path.parent.mkdir(parents=True, exist_ok=True)
    files = []
    for form in formats:
        content = io.BytesIO()
        figure.savefig(content, format=form, **FORMATS[form])
        if form == "png":
            few = Image.open(content).convert("RGB").quantize(256, dither=Image.Dither.NONE)
            few.save(content := io.BytesIO(), "png", optimize=True)
        # Not with_suffix, since the name may contain a dot.
        files.append(path.with_name(f"{path.name}.{form}"))
        write_file(files[-1], content.getvalue())
    return files


def settle(figure: Figure) -> None:
    """Lays out a figure once, and rounds the positions of its axes.

    The solver of the layout differs in the last digits from run to run, and the ids of an SVG are
    hashes of positions.
    """
    # Text is wider or narrower at another resolution, and wider here than at the default one.
    figure.set_dpi(DPI)
    # Twice, since a second layout refines the first.
    figure.draw_without_rendering()
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for axes in figure.axes:
        left, bottom, width, height = (round(x, DIGITS) for x in axes.get_position().bounds)
        axes.set_position((left, bottom, width, height))


def tag(artist: Artist, method: str, tip: Mapping[str, str] | None = None) -> None:
    """Says of which method an artist is, and what the pointer shows there, by name."""
    lines = "\n".join(f"{name}: {value}" if name else value for name, value in (tip or {}).items())
    artist.set_gid(f"tag:{quote(json.dumps([method, lines]))}")


def as_svg(figure: Figure, name: str) -> str:
    """A figure as an element of a page; the name is unique there and begins its ids."""
    import matplotlib

    settle(figure)
    content = io.StringIO()
    # As letters and not as outlines, so that a page can be searched and stays small.
    with matplotlib.rc_context({"svg.fonttype": "none"}):
        blank = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(content, format="svg", metadata=blank)
    text = content.getvalue()
    text = PLACES.sub(rf"\g<1>{name}-", TAG.sub(_data, text[text.index("<svg") :]))
    width = f'style="width: {SCALE * figure.get_figwidth():.2f}in" '
    return text.replace("<svg ", f"<svg {width}", 1)


def _data(found: re.Match[str]) -> str:
    """The data of a tagged element, as attributes of HTML."""
    method, tip = (html.escape(own) for own in json.loads(unquote(found[1])))
    return f'<g data-method="{method}"' + f' data-tip="{tip}"' * bool(tip)
