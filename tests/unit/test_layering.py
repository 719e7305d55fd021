"""The allowed imports: the folders are the architecture.

Imports are read from the source, wherever they stand in a file, so that one that is hidden in a
function counts as well.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

GROUND = {
    "lotbench.deadline",
    "lotbench.errors",
    "lotbench.metrics",
    "lotbench.ragged",
    "lotbench.validation",
}
CONTRACT = GROUND | {
    "lotbench.batch",
    "lotbench.decision",
    "lotbench.losses",
    "lotbench.reducer",
}
METHODS = CONTRACT | {"lotbench.registry"}
DATA = {
    "lotbench.errors",
    "lotbench.validation",
    "lotbench.metrics",
    "lotbench.batch",
    "lotbench.config",
    "lotbench.data",
}
PLACE = {"lotbench.machine", "lotbench.backends"}
DEPLOY = METHODS | DATA | {"lotbench.engine", "lotbench.deploy"}
MEASURE = (
    METHODS | PLACE | {"lotbench.store", "lotbench.engine", "lotbench.deploy", "lotbench.measure"}
)
STUDY = MEASURE | DATA | {"lotbench.study"}

# For each part, the parts it may import; its own is among them where it is a folder.
MAY_IMPORT = {
    "lotbench.errors": set(),
    "lotbench.deadline": set(),
    "lotbench.ragged": {"lotbench.errors"},
    "lotbench.validation": {"lotbench.errors"},
    "lotbench.machine": {"lotbench.errors"},
    "lotbench.backends": {"lotbench.errors", "lotbench.machine"},
    "lotbench.batch": GROUND,
    "lotbench.config": {
        "lotbench.errors",
        "lotbench.backends",
        "lotbench.validation",
        "lotbench.config",
    },
    "lotbench.store": {
        "lotbench.errors",
        "lotbench.backends",
        "lotbench.metrics",
        "lotbench.validation",
        "lotbench.store",
    },
    "lotbench.data": DATA,
    "lotbench.decision": GROUND | {"lotbench.batch"},
    "lotbench.losses": set(),
    "lotbench.metrics": set(),
    "lotbench.reducer": GROUND | {"lotbench.batch", "lotbench.decision", "lotbench.losses"},
    "lotbench.registry": CONTRACT,
    "lotbench.lot": CONTRACT,
    "lotbench.engine": METHODS | {"lotbench.engine"},
    "lotbench.deploy": DEPLOY,
    "lotbench.measure": MEASURE,
    "lotbench.study": STUDY,
    "lotbench.report": {
        "lotbench.errors",
        "lotbench.metrics",
        "lotbench.store",
        "lotbench.report",
    },
    "lotbench.audit": {
        "lotbench.errors",
        "lotbench.metrics",
        "lotbench.config",
        "lotbench.store",
        "lotbench.audit",
    },
    "lotbench.conformance": STUDY | {"lotbench.conformance", "lotbench.deploy"},
    "lotbench.api": STUDY | {"lotbench.deploy"},
    "lotbench.inspection": STUDY | {"lotbench.api", "lotbench.report", "lotbench.inspection"},
    "lotbench.console": METHODS | {"lotbench.conformance"},
    "lotbench.__main__": {"lotbench.cli"},
    "lotbench.cli": STUDY
    | {
        "lotbench",
        "lotbench.cli",
        "lotbench.audit",
        "lotbench.deploy",
        "lotbench.inspection",
        "lotbench.report",
        "lotbench.console",
        "lotbench.conformance",
    },
    "lotbench": STUDY | {"lotbench.report", "lotbench.api"},
    "baselines": CONTRACT,
}

# Rooms that name all they need of the world outside; elsewhere it is free.
MAY_NEED = {
    "lotbench.errors": set(),
    "lotbench.deadline": set(),
    "lotbench.machine": set(),
    "lotbench.backends": set(),
    "lotbench.validation": {"pydantic"},
    "lotbench.ragged": {"torch"},
    "lotbench.batch": {"torch", "numpy"},
    "lotbench.decision": {"torch"},
    "lotbench.losses": {"torch"},
    "lotbench.metrics": {"numpy", "scipy"},
    "lotbench.reducer": {"torch", "pydantic"},
    "lotbench.registry": set(),
    "lotbench.lot": {"torch", "pydantic"},
    "baselines": {"torch", "pydantic"},
}

# Package -> the files that may import it, as prefixes of their paths.
KEPT_APART = {
    "ray": ("lotbench/study/cluster.py", "lotbench/study/announce.py"),
    "transformers": ("lotbench/engine/", "lotbench/conformance/"),
    "torch": (
        "lotbench/ragged.py",
        "lotbench/batch.py",
        "lotbench/decision.py",
        "lotbench/losses.py",
        "lotbench/reducer.py",
        "lotbench/lot.py",
        "lotbench/engine/",
        "lotbench/deploy/",
        "lotbench/measure/",
        "lotbench/study/",
        "lotbench/conformance/",
        "lotbench/inspection/trace.py",
        "lotbench/inspection/model.py",
        "lotbench/api.py",
        "baselines/",
    ),
}

for package in ("onnx", "onnx_ir", "onnxscript", "onnxruntime", "openvino"):
    KEPT_APART[package] = ("lotbench/deploy/",)

RELATIVE = "."

# Conditions that hold for type checkers alone.
CHECKING = {"TYPE_CHECKING", "typing.TYPE_CHECKING"}

HEAVY = {
    "torch",
    "transformers",
    "datasets",
    "ray",
    "pandas",
    "matplotlib",
    "scipy",
    "fvcore",
    "moocore",
    "onnx",
    "onnxruntime",
    "openvino",
}
LIGHT = (
    "lotbench",
    "lotbench.store.frame",
    "lotbench.config.load",
    "lotbench.machine",
    "lotbench.deploy.session",
    "lotbench.measure.launch",
    "lotbench.report.plots",
    "lotbench.report.tables",
    "lotbench.cli",
)


@dataclass(frozen=True)
class Source:
    """A file, the module it is, and its text."""

    path: str
    module: str
    text: str

    @property
    def part(self) -> str:
        """``lotbench.engine`` for everything in that folder, ``baselines`` for every baseline."""
        parts = self.module.split(".")
        return parts[0] if parts[0] == "baselines" else ".".join(parts[:2])

    def imports(self, run_only: bool = False) -> Iterator[str]:
        """The modules it imports, or those from which it does; ``from lotbench import x`` is x.

        With ``run_only`` those under ``if TYPE_CHECKING`` are left out.
        """
        tree = ast.parse(self.text)
        for node in ast.walk(tree) if not run_only else _run(tree):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                if node.level:
                    yield RELATIVE
                    continue
                inner = [f"{node.module}.{alias.name}" for alias in node.names]
                modules = [name for name in inner if is_there(name)]
                yield from modules or [node.module]

    def names(self) -> Iterator[str]:
        """Strings that look like a baseline's module."""
        for node in ast.walk(ast.parse(self.text)):
            value = node.value if isinstance(node, ast.Constant) else None
            if isinstance(value, str) and value.startswith("baselines.") and " " not in value:
                yield value


def _run(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a tree that Python runs: all but those for type checkers."""
    yield node
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) in CHECKING:
            for statement in child.orelse:
                yield from _run(statement)
        else:
            yield from _run(child)


def graph(files: list[Source]) -> dict[str, set[str]]:
    """The modules that each module imports when it runs."""
    needs = {source.module: set(source.imports(run_only=True)) for source in files}
    return {module: names & needs.keys() for module, names in needs.items()}


def complaints(source: Source) -> list[str]:
    """What a file imports and should not."""
    found = []
    if source.part not in MAY_IMPORT:
        return [f"{source.path}: not in the layout; give it a place in the design and here"]
    for name in source.imports():
        top = name.split(".")[0]
        if name == RELATIVE:
            found.append(f"{source.path}: a relative import, which hides the part it names")
            continue
        if top in ("lotbench", "baselines"):
            part = Source("", name, "").part
            if part not in MAY_IMPORT[source.part]:
                found.append(f"{source.path} imports {name}")
            continue
        if top in sys.stdlib_module_names:
            continue
        if top not in MAY_NEED.get(source.part, {top}):
            found.append(f"{source.path} imports {name}")
        if not source.path.startswith(KEPT_APART.get(top, source.path)):
            found.append(f"{source.path} imports {name}")
    if source.part != "baselines":
        found += [f"{source.path} names {name}" for name in source.names()]
    return found


def sources() -> list[Source]:
    found = []
    for folder in ("lotbench", "baselines"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            place = path.relative_to(ROOT)
            parts = place.with_suffix("").parts
            module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            found.append(Source(place.as_posix(), module, path.read_text()))
    return found


@pytest.mark.parametrize("source", sources(), ids=lambda source: source.path)
def test_a_file_imports_only_allowed_modules(source: Source) -> None:
    assert complaints(source) == []


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("lotbench/ragged.py", "from lotbench.reducer import Leap"),
        ("lotbench/ragged.py", "import numpy"),
        ("lotbench/reducer.py", "from lotbench import registry"),
        ("lotbench/reducer.py", "import transformers"),
        ("lotbench/lot.py", "from lotbench.engine.encoder import ReducedEncoder"),
        ("lotbench/lot.py", "def f():\n    import lotbench.engine"),
        ("lotbench/engine/encoder.py", "from lotbench import lot"),
        ("lotbench/engine/encoder.py", "import lotbench.measure.flops"),
        ("lotbench/measure/flops.py", "from lotbench.data.task import load_task"),
        ("lotbench/measure/flops.py", "from lotbench.study import timing"),
        ("lotbench/measure/flops.py", "from lotbench import study as other"),
        ("lotbench/measure/flops.py", "if TYPE_CHECKING:\n    from lotbench.study import timing"),
        ("lotbench/measure/flops.py", "class A:\n    def f(self):\n        import lotbench.study"),
        ("lotbench/measure/flops.py", "from . import worker"),
        ("lotbench/measure/flops.py", "import ray"),
        ("lotbench/study/trial.py", "from ray import tune"),
        ("lotbench/study/trial.py", "from lotbench.report.plots import draw"),
        ("lotbench/study/trial.py", "import baselines.dense"),
        ("lotbench/study/trial.py", "from baselines import dense"),
        ("lotbench/study/trial.py", "load('baselines.dense')"),
        ("lotbench/report/plots.py", "def f():\n    import torch"),
        ("lotbench/report/plots.py", "from lotbench.config.load import load_sweep"),
        ("lotbench/store/frame.py", "import torch"),
        ("lotbench/config/load.py", "from lotbench.study.plan import plan"),
        ("lotbench/cli/models.py", "def f():\n    import torch"),
        ("lotbench/plots.py", ""),
        ("baselines/ltp.py", "from lotbench.lot import Router"),
        ("baselines/ltp.py", "from lotbench.engine.attention import attend"),
        ("baselines/ltp.py", "import transformers"),
    ],
)
def test_a_wrong_import_is_found(path: str, text: str) -> None:
    module = path.removesuffix(".py").replace("/", ".")
    assert len(complaints(Source(path, module, text))) >= 1


def is_there(module: str) -> bool:
    place = ROOT / module.replace(".", "/")
    return place.with_suffix(".py").exists() or (place / "__init__.py").exists()


@pytest.mark.parametrize("module", [*MAY_IMPORT, *LIGHT])
def test_every_module_that_is_named_here_exists(module: str) -> None:
    assert is_there(module)


@pytest.mark.parametrize("path", [path for paths in KEPT_APART.values() for path in paths])
def test_every_file_that_is_named_here_exists(path: str) -> None:
    assert (ROOT / path).exists()


def test_no_modules_import_each_other_in_a_circle() -> None:
    """Imports for type checkers do not count: they do not run."""
    TopologicalSorter(graph(sources())).prepare()  # raises CycleError, which names the circle


@pytest.mark.parametrize(
    "back",
    [
        "from lotbench.measure import flops",
        "from lotbench.measure.flops import count",
        "def f():\n    import lotbench.measure.flops",
        "if TYPE_CHECKING:\n    import ast\nelse:\n    import lotbench.measure.flops",
        "if not TYPE_CHECKING:\n    import lotbench.measure.flops",
    ],
)
def test_a_circle_is_found(back: str) -> None:
    one = Source("", "lotbench.measure.flops", "import lotbench.measure.worker")
    other = Source("", "lotbench.measure.worker", back)
    with pytest.raises(CycleError):
        TopologicalSorter(graph([one, other])).prepare()


def test_an_import_for_type_checkers_makes_no_circle() -> None:
    one = Source("", "lotbench.measure.flops", "import lotbench.measure.worker")
    text = "if TYPE_CHECKING:\n    import lotbench.measure.flops"
    assert (
        graph([one, Source("", "lotbench.measure.worker", text)])["lotbench.measure.worker"]
        == set()
    )


@pytest.mark.parametrize("module", LIGHT)
def test_what_must_start_fast_imports_nothing_heavy(module: str) -> None:
    """In a new process, so that indirect imports count, too."""
    code = f"import sys, {module}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert not HEAVY & set(done.stdout.split())
