"""Find methods by name: entry points of the group ``lotbench.methods``, and plugins."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import json
import sys
import traceback
from functools import cache
from hashlib import sha256
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType

from lotbench.errors import InputError, near_misses
from lotbench.reducer import Params, TokenReducer
from lotbench.validation import Wording, validate

GROUP = "lotbench.methods"
DECIDE = ("before_embedding", "before_layer", "after_attention")
HOOKS = (
    *("__init__", "stages", "before_training", "start_stage", "loss", "training_step"),
    *("after_step", "after_training", "search", "summary", "overhead_flops", "look_with", *DECIDE),
)
_plugins: dict[str, type[TokenReducer]] = {}


@cache
def _installed() -> tuple[EntryPoint, ...]:
    """The entry points of methods; read once, since it takes reading every package's metadata."""
    return tuple(entry_points(group=GROUP))


def names() -> list[str]:
    """Names of all known methods, sorted."""
    return sorted({*(point.name for point in _installed()), *_plugins})


def get(name: str) -> type[TokenReducer]:
    """The class of a method."""
    if name in _plugins:
        return _plugins[name]
    # By place, since an editable install may list an entry point twice.
    points = {point.value: point for point in _installed() if point.name == name}
    if len(points) > 1:
        raise InputError(f"method {name!r} is registered twice: {', '.join(points)}; rename one")
    if not points:
        # LeapOfThought is `lot`, which no letters of "leap" tell.
        known = {point.attr.lower(): point.name for point in _installed()}
        meant = [own for long, own in known.items() if name and long.startswith(name.lower())]
        hint = f"did you mean {meant[0]!r}?" if meant else near_misses(name, names())
        raise InputError(f"unknown method {name!r}; {hint}")
    ((place, point),) = points.items()
    cls = _checked(getattr(_import(point.module), point.attr, None), place)
    if cls.name != name:
        raise InputError(
            f"entry point {name!r} ({place}): the class is named {cls.name!r}; "
            "give both the same name"
        )
    return cls


def find(place: str) -> tuple[list[type[TokenReducer]], list[str]]:
    """The methods at a place, and the plugins to load for them.

    ``place`` is a method's name, a path to a Python file, or ``module:Class``.
    """
    if place.endswith(".py"):
        return load_plugin(place), [str(Path(place).resolve())]
    module, colon, attribute = place.partition(":")
    if not colon:
        return [get(place)], []
    cls = _checked(getattr(_import(module), attribute, None), place)
    if cls.name in names() and get(cls.name) is cls:
        return [cls], []
    load_plugin(cls.__module__)
    return [cls], [cls.__module__]


def load_plugin(place: str) -> list[type[TokenReducer]]:
    """Registers the methods of a plugin, a Python file or a module name, and returns them."""
    module = _import(place)
    classes = [
        _checked(cls, place)
        for _, cls in inspect.getmembers(module, inspect.isclass)
        if issubclass(cls, TokenReducer)
        and cls.__module__ == module.__name__
        and not cls.__name__.startswith("_")  # private: a helper of a method
    ]
    if not classes:
        raise InputError(f"plugin {place}: it has no subclass of lotbench.reducer.TokenReducer")
    used = {point.name: None for point in _installed()} | _plugins
    for cls in classes:
        if used.setdefault(cls.name, cls) is not cls:
            raise InputError(f"plugin {place}: the name {cls.name!r} is in use; choose another")
    _plugins.update({cls.name: cls for cls in classes})
    return classes


def make_params(cls: type[TokenReducer], values: dict, report: Wording) -> Params:
    """Validated hyper-parameters of a method; ``report`` adds the place to each error."""
    params = validate(cls.Params, values, report)
    try:
        json.dumps(params.model_dump(mode="json", by_alias=True), allow_nan=False)
    except (TypeError, ValueError) as error:
        message = f"the parameters cannot be stored as JSON: {error}"
        raise InputError(report((), message)) from error
    return params


def decides(cls: type[TokenReducer]) -> bool:
    """True if the method has a hook that decides on tokens."""
    return any(getattr(cls, hook) is not getattr(TokenReducer, hook) for hook in DECIDE)


def located(error: BaseException, cls: type[TokenReducer]) -> str:
    """An exception's message in one line, with the line of the method's file that raised it."""
    first = next(iter(str(error).strip().splitlines()), "no message")
    home = getattr(sys.modules.get(cls.__module__), "__file__", None)
    frames = [x for x in traceback.extract_tb(error.__traceback__) if x.filename == home]
    if home is None or not frames:
        return first
    return f"{first} ({Path(home).name}, line {frames[-1].lineno}, in {frames[-1].name})"


def is_home(place: str, cls: type[TokenReducer]) -> bool:
    """True if the method is defined in this plugin, a path or a module name."""
    return cls.__module__ == _module_name(Path(place))


def _module_name(path: Path) -> str:
    if path.suffix != ".py":
        return str(path)
    # Made from the path, so that every worker that loads the file gets the same module name.
    return f"lotbench_plugin_{path.stem}_{sha256(str(path.resolve()).encode()).hexdigest()[:8]}"


def _import(place: str) -> ModuleType:
    path, name = Path(place), _module_name(Path(place))
    if path.suffix == ".py" and not path.is_file():
        raise InputError(f"plugin {place}: no such file")
    if name in sys.modules:
        return sys.modules[name]
    try:
        if path.suffix != ".py":
            return importlib.import_module(name)
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None and spec.loader is not None  # it is a file that ends in .py
        sys.modules[name] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        sys.modules.pop(name, None)
        raise InputError(f"plugin {place}: {type(error).__name__}: {error}") from error
    return module


def _checked(cls: object, place: str) -> type[TokenReducer]:
    """The class, if it is a method whose hooks can be called."""
    if not (inspect.isclass(cls) and issubclass(cls, TokenReducer)):
        raise InputError(f"{place} is not a subclass of lotbench.reducer.TokenReducer")
    if fault := _fault(cls):
        raise InputError(f"{place}: {cls.__name__}{fault}")
    return cls


def _fault(cls: type[TokenReducer]) -> str | None:
    """The first fault of a method's class, to follow its name; None if there is none."""
    if not isinstance(getattr(cls, "name", None), str):
        return ": the class has no `name`"
    if not (inspect.isclass(cls.Params) and issubclass(cls.Params, Params)):
        return ".Params must derive from lotbench.reducer.Params"
    if cls.budget is not TokenReducer.budget:
        return f".budget is reserved; write budget_name = {cls.budget!r}"
    for hook in HOOKS:
        wanted = list(inspect.signature(getattr(TokenReducer, hook)).parameters)
        try:
            inspect.signature(getattr(cls, hook)).bind(*wanted)
        except TypeError as error:
            return f".{hook} is called as {hook}({', '.join(wanted)}): {error}"
    return None
