"""The documentation as a site: ``sphinx-build -W --keep-going -n -c docs . build/site``.

The source is the root of the repository, so that links hold in both.
"""

import sys

from sphinx.application import Sphinx

from lotbench import registry

project = "LoTBench"
html_title = "LoTBench"
copyright = "LoTBench contributors"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
include_patterns = ["docs/*.md", "results/README.md", "results/reference/**.md"]
include_patterns += ["CONTRIBUTING.md", "CHANGELOG.md"]
root_doc = "docs/index"
html_theme = "furo"
html_copy_source = False
highlight_language = "text"
html_static_path = html_css_files = ["site.css"]

myst_heading_anchors = 4
suppress_warnings = ["myst.header"]  # what `lotbench compare` writes starts with tables
# Docstrings are NumPy's, and a name between single backticks is one of Python.
default_role = "py:obj"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
napoleon_google_docstring = False
napoleon_use_ivar = True
# Other projects, and parts behind the interface, have no page.
nitpick_ignore_regex = [("py:.*", r"(?!lotbench\.).*|lotbench\.(engine|store)\..*")]

# The sidebar: the pages below a page.
BELOW = {
    "docs/index": {
        "Use": "/docs/start /docs/faster /docs/add-a-method",
        "Results": "/docs/findings /docs/claims /results/README",
        "How it is measured": "/docs/protocol /docs/statistics",
        "Reference": "/docs/commands /docs/sweeps /docs/tasks /docs/stores /docs/methods"
        " /docs/python /docs/cluster /docs/security /docs/design /CONTRIBUTING /CHANGELOG",
    },
    "results/README": {"Stores": "/results/reference/*/*"},
}


def parameters() -> str:
    """Every method's parameters with their defaults, and the docstring of its module."""
    text = ""
    for name in registry.names():
        cls = registry.get(name)
        text += f"\n### {name}\n\n{cls.source}\n\n"
        for key, field in cls.Params.model_fields.items():
            text += f"- `{field.alias or key}` ({field.default!r}): {field.description or ''}\n"
        text += "\n<details><summary>What is implemented, and deviations</summary>\n"
        text += f"\n```text\n{sys.modules[cls.__module__].__doc__}```\n\n</details>\n"
    return text


def prepare(app: Sphinx, page: str, source: list[str]) -> None:
    """Adds what the site has and the Markdown has not."""
    text = source[0]
    if not text.lstrip().startswith("# "):
        text = f"# {' '.join(page.split('/')[-2:])}\n\n{text}"
    if page == "docs/methods":
        text += parameters()
    for caption, pages in BELOW.get(page, {}).items():
        lines = ["", "```{toctree}", ":hidden:", ":glob:", f":caption: {caption}", ""]
        text += "\n".join([*lines, *pages.split(), "```", ""])
    source[0] = text


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("source-read", prepare)
