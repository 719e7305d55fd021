"""Find methods by name: entry points of the group ``lotbench.methods``, and plugins."""

from __future__ import annotations

import difflib
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

from lotbench.errors import InputError, near_misses
from lotbench.reducer import Params, TokenReducer
from lotbench.validation import Report, validate

GROUP = "lotbench.methods"
DECIDE = ("before_layer", "after_attention")
HOOKS = (
    *("__init__", "stages", "start_stage", "loss", "training_step", "after_step"),
    *("overhead_flops", *DECIDE),
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
    """The class of a method.

    Raises
    ------
    InputError
        If the name is unknown, registered twice, or its module cannot be imported.
    """
    found: dict[str, EntryPoint] = {}
    for point in _installed():
        if point.name == name:
            found[point.value] = point
    if len(found) + (name in _plugins) > 1:
        places = [*found, *([_plugins[name].__module__] if name in _plugins else [])]
        raise InputError(f"method {name!r} is registered twice: {', '.join(places)}; rename one")
    if name in _plugins:
        return _plugins[name]
    if not found:
        raise InputError(f"unknown method {name!r}; {near_misses(name, names())}")
    (point,) = found.values()
    try:
        cls = _checked(point.load(), point.value)
        if cls.name != name:
            raise InputError(
                f"entry point {name!r} ({point.value}): the class is named {cls.name!r}; "
                "give both the same name"
            )
        return cls
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"method {name!r} ({point.value}) cannot be loaded: {type(error).__name__}: {error}"
        ) from error


def find(place: str) -> tuple[list[type[TokenReducer]], list[str]]:
    """The methods at a place, and the plugins to load for them.

    ``place`` is a method's name, a path to a Python file, or ``module:Class``.

    Raises
    ------
    InputError
        If there is no such method, or its plugin cannot be loaded.
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
    """The methods of a plugin, which are registered; ``place`` is a Python file or a module name.

    Raises
    ------
    InputError
        If it cannot be imported, has no method, or uses a name that is in use.
    """
    module = _import(place)
    classes = [
        _checked(cls, place)
        for _, cls in inspect.getmembers(module, inspect.isclass)
        if issubclass(cls, TokenReducer)
        and cls is not TokenReducer
        and cls.__module__ == module.__name__
        and not cls.__name__.startswith("_")  # private: a helper of a method
    ]
    if not classes:
        raise InputError(f"plugin {place}: it has no subclass of lotbench.reducer.TokenReducer")
    fresh: dict[str, type[TokenReducer]] = {}
    for cls in classes:
        known = fresh.get(cls.name) or _plugins.get(cls.name, cls)
        if known is not cls or is_installed(cls.name):
            raise InputError(f"plugin {place}: the name {cls.name!r} is in use; choose another")
        fresh[cls.name] = cls
    _plugins.update(fresh)
    return classes


def make_params(cls: type[TokenReducer], values: dict, report: Report) -> Params:
    """Validated hyper-parameters of a method; ``report`` adds the place to each error.

    Raises
    ------
    InputError
        If a name is unknown, a value is invalid, or JSON cannot represent a value.
    """
    params = validate(cls.Params, values, report)
    try:
        json.dumps(params.model_dump(mode="json", by_alias=True), allow_nan=False)
    except (TypeError, ValueError) as error:
        message = f"the parameters cannot be stored as JSON: {error}"
        raise InputError(report((), message)) from error
    return params


def explain(error: BaseException, cls: type[TokenReducer]) -> str:
    """An exception's message in one line, with the line of the method's file that raised it."""
    lines = str(error).strip().splitlines() or ["no message"]
    home = getattr(sys.modules.get(cls.__module__), "__file__", None)
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == home]
    place = (
        f" ({Path(home).name}, line {own[-1].lineno}, in {own[-1].name})" if home and own else ""
    )
    return lines[0] + place


def is_installed(name: str) -> bool:
    """True if a method of this name is an entry point."""
    return any(point.name == name for point in _installed())


def is_home(place: str, cls: type[TokenReducer]) -> bool:
    """True if the method is defined in this plugin, a path or a module name."""
    return cls.__module__ == _module_name(Path(place))


def _module_name(path: Path) -> str:
    if path.suffix != ".py":
        return str(path)
    # Made from the path, so that every worker that loads the file gets the same module name.
    return f"lotbench_plugin_{path.stem}_{sha256(str(path.resolve()).encode()).hexdigest()[:8]}"


def _import(place: str):
    path = Path(place)
    if path.suffix != ".py":
        try:
            return importlib.import_module(place)
        except (Exception, SystemExit) as error:
            raise InputError(f"plugin {place}: {type(error).__name__}: {error}") from error
    if not path.is_file():
        raise InputError(f"plugin {place}: no such file")
    name = _module_name(path)
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None  # it is a file that ends in .py
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise InputError(f"plugin {place}: {type(error).__name__}: {error}") from error
    return module


def _checked(cls: object, place: str) -> type[TokenReducer]:
    if not (inspect.isclass(cls) and issubclass(cls, TokenReducer)):
        raise InputError(f"{place} is not a subclass of lotbench.reducer.TokenReducer")
    if not isinstance(getattr(cls, "name", None), str):
        raise InputError(f"{place}: class {cls.__name__} has no `name`")
    if not (inspect.isclass(cls.Params) and issubclass(cls.Params, Params)):
        raise InputError(f"{place}: {cls.__name__}.Params must derive from lotbench.reducer.Params")
    if cls.budget is not TokenReducer.budget:
        raise InputError(
            f"{place}: {cls.__name__}.budget is reserved; write budget_name = {cls.budget!r}"
        )
    _check_hooks(cls, place)
    return cls


@cache
def _check_hooks(cls: type[TokenReducer], place: str) -> None:
    """Refuse hooks with wrong arguments and misspelt hooks, before any work is done."""
    for hook in HOOKS:
        own, base = getattr(cls, hook), getattr(TokenReducer, hook)
        wanted = list(inspect.signature(base).parameters)
        try:
            inspect.signature(own).bind(*wanted)
        except TypeError as error:
            raise InputError(
                f"{place}: {cls.__name__}.{hook} is called as {hook}({', '.join(wanted)}): {error}"
            ) from None
    decides = [h for h in DECIDE if getattr(cls, h) is not getattr(TokenReducer, h)]
    for name, value in vars(cls).items():
        meant = difflib.get_close_matches(name, DECIDE, n=1, cutoff=0.8)
        if not decides and inspect.isfunction(value) and meant:
            raise InputError(
                f"{place}: {cls.__name__} makes no decisions; {name}: did you mean {meant[0]!r}?"
            )
