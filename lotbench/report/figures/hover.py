"""Figures as parts of a page: marks tell of their models, and methods can be hidden."""

from __future__ import annotations

import html
import io
import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from lotbench.report.figures import style

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.figure import Figure

# A figure is shown larger than in print, where its letters are 8 points high.
SCALE = 1.35
TAG = re.compile(r'<g id="tag:(.*?)"')
PLACES = re.compile(r'(\bid="|href="#|url\(#)')


def tag(artist: Artist, method: str, tip: Mapping[str, str] | None = None) -> None:
    """Says of which method an artist is, and what the pointer shows there, by name."""
    lines = "\n".join(f"{name}: {value}" if name else value for name, value in (tip or {}).items())
    artist.set_gid(f"tag:{quote(json.dumps([method, lines]))}")


def as_svg(figure: Figure, name: str) -> str:
    """A figure as an element of a page; the name is unique there and begins its ids."""
    import matplotlib

    style.settle(figure)
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
