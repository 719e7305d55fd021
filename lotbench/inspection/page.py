"""Routes and shares as one HTML file without scripts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lotbench.inspection.route import COLOURS, WORDS, Fate, Route
from lotbench.inspection.split import Kept

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title>
<style>
:root { color-scheme: light dark; --line: light-dark(#fff, #1b1b1b); }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; padding: 0 1rem; max-width: 90rem;
  background: light-dark(#fff, #1b1b1b); color: light-dark(#222, #ddd); }
h1 { font-size: 1.4rem; } h2 { font-size: 1.05rem; margin: 2rem 0 .4rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding-bottom: .3rem; }
th { font-weight: 500; text-align: right; padding: 0 .5rem; white-space: nowrap; }
thead .token { writing-mode: vertical-rl; transform: rotate(180deg); text-align: left;
  padding: .3rem 0; }
td { border: 1px solid var(--line); min-width: 1.5rem; height: 1.5rem; text-align: center;
  font-size: .7rem; }
.share td { min-width: 3.4rem; }
.share { margin-top: .8rem; }
.route th:first-child { min-width: 8.5rem; box-sizing: border-box; }
{% for fate in fates %}.f{{ fate.value }} { background: {{ colours[fate] }};
  color: {{ "#fff" if fate == 3 else "#222" }}; }
{% endfor %}.f0 { background: light-dark({{ colours[0] }}, #333);
  color: light-dark(#222, #ccc); }
.legend span { padding: .1rem .6rem; margin-right: .5rem; display: inline-block; }
.bar { display: inline-block; width: .8rem; background: light-dark(#555, #bbb); }
</style>
<h1>{{ title }}</h1>
{% if routes %}
<p class="legend">{% for fate in fates %}<span class="f{{ fate.value }}">{{ words[fate] }}</span>
{% endfor %}</p>
<p>A number is the router's probability, in percent, that the layer processes the token.</p>
{% for route in routes %}
<h2>{{ route.title }}</h2>
<div class="wide" tabindex="0" role="region" aria-label="{{ route.name }}">
<table class="route">
<thead><tr><th scope="col">layer</th>
{% for token in route.tokens %}<th scope="col" class="token">{{ token }}</th>{% endfor %}
</tr></thead>
<tbody>{% for layer in range(route.fates|length) %}
<tr><th scope="row">{{ layer + 1 }}</th>{% for token in route.tokens %}
{%- set fate = route.fates[layer, loop.index0]|int %}
{%- set sure = route.confidence[layer, loop.index0] %}
<td class="f{{ fate }}" title="{{ token }}, layer {{ layer + 1 }}: {{ names[fate] }}">
{%- if sure == sure %}{{ (100 * sure)|round|int }}{% else %}
<span style="position:absolute;left:-99em">{{ names[fate] }}</span>{% endif %}</td>
{%- endfor %}</tr>{% endfor %}
{% if route.saliency is not none %}<tr><th scope="row">teacher's saliency</th>
{% for value in route.saliency %}<td title="{{ (100 * value)|round|int }}% of the largest">
<span class="bar" style="height: {{ (value * 1.3)|round(2) }}rem"></span></td>{% endfor %}</tr>
{% endif %}</tbody></table></div>
{% endfor %}{% endif %}
{% for own in found %}
<h2>{{ own.name }}, {{ own.texts }} texts</h2>
{% for heading, rows in tables(own) %}
<div class="wide" tabindex="0" role="region" aria-label="{{ heading }}"><table class="share">
<caption>Share of the tokens that layers compute, by {{ heading }}</caption>
<thead><tr><th scope="col">{{ heading }}</th>
{% for layer in rows[0][1] %}<th scope="col">layer {{ loop.index }}</th>{% endfor %}
</tr></thead>
<tbody>{% for name, shares in rows %}<tr><th scope="row">{{ name }}</th>
{% for share in shares %}<td style="background: rgb(27 94 140 / {{ share|round(2) }});
{%- if share > 0.5 %} color: #fff{% endif %}">{{ (100 * share)|round|int }}%</td>{% endfor %}
</tr>{% endfor %}</tbody></table></div>
{% endfor %}
{% for heading, listed in (("computed most", own.most), ("computed least", own.least)) %}
<p>Words {{ heading }}: {% for word, share, count in listed %}{{ word }}
{{ (100 * share)|round|int }}% (of {{ count }}){{ ", " if not loop.last }}{% else %}
none occurs often enough{% endfor %}</p>
{% endfor %}{% endfor %}
</html>
"""


def write(title: str, routes: Sequence[Route], found: Sequence[Kept], path: Path) -> Path:
    """The routes of one text, or the shares over a split, as a page."""
    from jinja2 import Environment

    template = Environment(autoescape=True, trim_blocks=True).from_string(PAGE)
    text = template.render(
        title=title,
        routes=routes,
        found=found,
        fates=list(reversed(Fate)),
        colours=COLOURS,
        words=WORDS,
        names={fate.value: WORDS[fate] for fate in Fate},
        tables=_tables,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def _tables(own: Kept) -> list[tuple[str, list[tuple[str, Any]]]]:
    kinds = [(f"{sort} ({count})", share) for sort, (share, count) in own.kinds.items()]
    return [("kind of token", kinds), ("place in the text", [*own.places.items()])]
