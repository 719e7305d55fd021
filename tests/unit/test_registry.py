"""Method names, plugins and hyper-parameters: messages say what is wrong and how to fix it."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from pydantic import Field, field_validator

from baselines.power_bert import PowerBert
from lotbench import registry
from lotbench.errors import InputError
from lotbench.lot import LeapOfThought
from lotbench.reducer import Params, TokenReducer
from lotbench.validation import report_at

PLUGIN = """
from lotbench.reducer import TokenReducer

class Method(TokenReducer):
    name = "{name}"
"""
MINE = PLUGIN.format(name="mine")


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_plugins", {})


@pytest.fixture
def plugin(tmp_path: Path) -> Callable[[str, str], str]:
    """A function that writes a plugin file and returns its path."""

    def write(text: str, name: str = "plugin") -> str:
        path = tmp_path / f"{name}.py"
        path.write_text(text)
        return str(path)

    return write


@pytest.fixture
def entry_points(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A function that sets the installed entry points, as name="module:class"."""

    def install(*points: tuple[str, str]) -> None:
        made = [EntryPoint(name, value, registry.GROUP) for name, value in points]
        monkeypatch.setattr(registry, "_installed", lambda: made)

    return install


# Names


def test_installed_methods_are_found() -> None:
    assert registry.get("lot") is LeapOfThought
    assert {"lot", "dense"} <= set(registry.names())
    assert registry.names() == sorted(registry.names())


def test_one_installed_place_listed_twice_is_one_method(entry_points) -> None:
    # An editable install beside its own metadata lists every entry point twice.
    entry_points(*[("lot", "lotbench.lot:LeapOfThought")] * 2)
    assert registry.get("lot") is LeapOfThought


LOT = ("lot", "lotbench.lot:LeapOfThought")


@pytest.mark.parametrize(
    ("points", "name", "complaint"),
    [
        ([LOT], "lott", "unknown method 'lott'; did you mean 'lot'"),
        ([LOT, ("dense", "b:B")], "zzzzzz", "known: dense, lot"),
        ([LOT, ("lot", "other:Lot")], "lot", r"registered twice.*lotbench\.lot.*other:Lot"),
        ([("mine", LOT[1])], "mine", r"entry point 'mine'.*the class is named 'lot'"),
        ([("mine", "no.such.module:A")], "mine", r"no\.such\.module: ModuleNotFoundError"),
        ([("mine", "breaks_at_once:A")], "mine", "breaks_at_once: ZeroDivisionError"),
        ([("mine", "lotbench.lot:Absent")], "mine", "lotbench.lot:Absent is not a subclass of"),
        ([("mine", "lotbench.lot:MARKERS")], "mine", "lotbench.lot:MARKERS is not a subclass"),
        ([("mine", "lotbench.lot:Params")], "mine", "lotbench.lot:Params is not a subclass"),
    ],
)
def test_what_cannot_be_found_or_used_is_named(
    entry_points, plugin, monkeypatch: pytest.MonkeyPatch, points, name: str, complaint: str
) -> None:
    monkeypatch.syspath_prepend(str(Path(plugin("1 / 0", "breaks_at_once")).parent))
    entry_points(*points)
    with pytest.raises(InputError, match=complaint):
        registry.get(name)


# Plugins


def test_a_plugin_file_is_registered(plugin) -> None:
    (cls,) = registry.load_plugin(plugin(MINE))
    assert issubclass(cls, TokenReducer)
    assert registry.get("mine") is cls
    assert "mine" in registry.names()


def test_loading_a_plugin_again_gives_the_same_class(plugin) -> None:
    place = plugin(MINE)
    assert registry.load_plugin(place) == registry.load_plugin(place)


def test_a_plugin_may_be_a_module(plugin, monkeypatch: pytest.MonkeyPatch) -> None:
    place = Path(plugin(MINE, "a_plugin_module"))
    monkeypatch.syspath_prepend(str(place.parent))
    (cls,) = registry.load_plugin("a_plugin_module")
    assert registry.get("mine") is cls


def test_imported_classes_are_not_methods_of_a_plugin(plugin) -> None:
    text = "from lotbench.lot import LeapOfThought\n" + MINE
    assert [cls.name for cls in registry.load_plugin(plugin(text))] == ["mine"]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("x = 1", "it has no subclass of lotbench.reducer.TokenReducer"),
        ("from lotbench.lot import LeapOfThought", "no subclass"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("def f(:", "SyntaxError"),
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        (PLUGIN.format(name="lot"), "the name 'lot' is in use; choose another"),
        (PLUGIN.replace('name = "{name}"', "pass"), "Method: the class has no `name`"),
        (MINE + "    class Params: pass", "Method.Params must derive from"),
        (MINE + "    Params = {'k': 3}", "Method.Params must derive from"),
        (
            MINE + "class Other(TokenReducer):\n    name = 'mine'",
            "the name 'mine' is in use",
        ),
        (
            MINE + "    def before_layer(self, tokens): ...",
            "Method.before_layer is called as before_layer(self, layer, tokens): too many",
        ),
        (
            MINE + "    def __init__(self, width): ...",
            "Method.__init__ is called as __init__(self, params, n_layers, width): too many",
        ),
        (
            MINE + "    def overhead_flops(self, layer, n_tokens, width): ...",
            "Method.overhead_flops is called as overhead_flops(self, layer, n_tokens): missing",
        ),
        (MINE + "    budget = 'share'", "Method.budget is reserved; write budget_name = 'share'"),
    ],
)
def test_a_bad_plugin_is_named_with_what_is_wrong(plugin, text: str, complaint: str) -> None:
    place = plugin(text)
    with pytest.raises(InputError) as error:
        registry.load_plugin(place)
    assert place in str(error.value)
    assert complaint in str(error.value)


def test_a_helper_may_have_a_name_similar_to_a_hook(plugin) -> None:
    hooks = "    def before_layer(self, layer, tokens): ...\n    def before_layers(self): ..."
    assert registry.load_plugin(plugin(MINE + hooks))


def test_a_private_class_of_a_plugin_is_no_method(plugin) -> None:
    text = MINE + "class _Helper(TokenReducer):\n    pass"
    assert [cls.name for cls in registry.load_plugin(plugin(text))] == ["mine"]


def test_a_method_is_found_by_name_file_or_class(plugin, monkeypatch: pytest.MonkeyPatch) -> None:
    assert registry.find("lot") == ([LeapOfThought], [])
    assert registry.find("lotbench.lot:LeapOfThought") == ([LeapOfThought], [])
    file = plugin(MINE)
    assert registry.find(file) == ([registry.get("mine")], [file])
    other = Path(plugin(PLUGIN.format(name="other"), "a_plugin_with_a_class"))
    monkeypatch.syspath_prepend(str(other.parent))
    (cls,), plugins = registry.find("a_plugin_with_a_class:Method")
    assert registry.get("other") is cls and plugins == ["a_plugin_with_a_class"]
    third = Path(plugin(PLUGIN.format(name="third"), "a_module_of_a_package"))
    third.with_name("a_package.py").write_text("from a_module_of_a_package import Method\n")
    (cls,), plugins = registry.find("a_package:Method")
    assert registry.get("third") is cls and plugins == ["a_module_of_a_package"]


@pytest.mark.parametrize(
    ("place", "complaint"),
    [
        ("lott", "did you mean 'lot'"),
        ("missing.py", "no such file"),
        ("no.such.module:A", "no.such.module"),
        ("lotbench.lot:Absent", "lotbench.lot:Absent is not a subclass"),
        ("lotbench.lot:Params", "is not a subclass"),
        ("", "unknown method ''"),
    ],
)
def test_a_method_that_is_not_found_is_named(place: str, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        registry.find(place)


def test_an_exception_has_the_line_of_the_method(plugin) -> None:
    text = MINE + "    def stages(self):\n        return [][3]"
    (cls,) = registry.load_plugin(plugin(text))
    try:
        cls(Params(), 2, 4).stages()
    except IndexError as error:
        assert registry.located(error, cls) == (
            "list index out of range (plugin.py, line 7, in stages)"
        )
    assert registry.located(ValueError("one\ntwo"), cls) == "one"
    assert registry.located(ValueError(), cls) == "no message"


def test_a_refused_plugin_leaves_nothing_behind(plugin) -> None:
    text = MINE + "class Other(TokenReducer):\n    name = 'lot'"
    with pytest.raises(InputError, match="'lot' is in use"):
        registry.load_plugin(plugin(text))
    assert "mine" not in registry.names()


def test_a_mended_plugin_can_be_loaded(plugin) -> None:
    with pytest.raises(InputError):
        registry.load_plugin(plugin("raise SystemExit(3)"))
    assert registry.load_plugin(plugin(MINE))


def test_two_plugins_may_not_share_a_name(plugin) -> None:
    registry.load_plugin(plugin(MINE, "one"))
    with pytest.raises(InputError, match=r"other\.py: the name 'mine' is in use"):
        registry.load_plugin(plugin(MINE, "other"))


@pytest.mark.parametrize(
    "place",
    ["missing.py", "folder/missing.py", "no_such_module_at_all", "a folder", "../relative", ""],
)
def test_a_missing_plugin_is_named(place: str) -> None:
    with pytest.raises(InputError, match=f"plugin {place}: "):
        registry.load_plugin(place)


# Hyper-parameters


def messages(cls: type[TokenReducer], values: dict) -> list[str]:
    with pytest.raises(InputError) as error:
        registry.make_params(cls, values, report_at("methods.lot"))
    return str(error.value).splitlines()


def test_good_values_pass() -> None:
    params = registry.make_params(LeapOfThought, {"top_p": 0.3}, report_at("methods.lot"))
    assert params.top_p == 0.3


def test_a_fault_of_all_parameters_has_no_key() -> None:
    (line,) = messages(PowerBert, {"unit": "share", "retention": [3, 2]})
    assert line.startswith("methods.lot: with unit: share") and "given" not in line
    (line,) = messages(TokenReducer, {"a": 1})
    assert line == "methods.lot.a: unknown key; known: none"


def test_the_annotation_of_params_names_their_class(plugin) -> None:
    text = """from __future__ import annotations
from lotbench import reducer

class Own(reducer.Params):
    k: int = 3

class Method(reducer.TokenReducer):
    name = "mine"
    params: Own
"""
    (cls,) = registry.load_plugin(plugin(text))
    assert registry.make_params(cls, {}, report_at("")).k == 3

    class Further(cls):
        pass

    class Nested(cls):
        params: Params

        class Params(Params):
            n: int = 1

    assert Further.Params is cls.Params
    assert list(Nested.Params.model_fields) == ["n"]


def test_parameters_that_json_cannot_store_are_refused() -> None:
    class Endless(TokenReducer):
        class Params(Params):
            top: float = float("inf")

    (line,) = messages(Endless, {})
    assert line.startswith("methods.lot: the parameters cannot be stored as JSON: ")


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"topp": 0.3}, "topp: unknown key; did you mean 'top_p'?"),
        ({"top_p": True}, "top_p: Input should be a valid number"),
        ({"top_p": "0.5"}, "top_p: Input should be a valid number"),
        ({"top_p": [0.5]}, "top_p: Input should be a valid number"),
        ({"detach_router": 1}, "detach_router: Input should be a valid boolean (given: 1)"),
        ({"preset": ["paper"]}, "preset: "),
        ({"preset": {"a": 1}}, "preset: "),
        ({"preset": None}, "preset: "),
        ({"preset": 3}, "preset: "),
        ({1: 2}, "1: "),
    ],
)
def test_a_parameter_of_the_wrong_kind_is_named(values: dict, key: str) -> None:
    (line,) = messages(LeapOfThought, values)
    assert line.startswith(f"methods.lot.{key}")


def test_types_that_yaml_lacks_are_made_of_those_that_it_has() -> None:
    class Own(Params):
        span: tuple[float, float] = (0.0, 1.0)
        folder: Path = Path()
        half: float = 1.0

        @field_validator("half", mode="before")
        @classmethod
        def _half(cls, value: object) -> object:
            return 0.5 if value == "half" else value

    class Method(TokenReducer):
        Params = Own

    values = {"span": [1, 2], "folder": "a", "half": "half"}
    made = registry.make_params(Method, values, report_at(""))
    assert made == Own(span=(1.0, 2.0), folder=Path("a"), half=0.5)
    (line,) = messages(Method, {"span": [1, "2"]})
    assert line.startswith("methods.lot.span.1: Input should be a valid number")


def test_every_mistake_is_listed() -> None:
    found = messages(LeapOfThought, {"top_p": 0, "threshold": "high", "preset": "papper"})
    assert len(found) == 3
    wanted = "Input should be 'recommended' or 'paper'"
    assert found[0] == f'methods.lot.preset: {wanted} (given: "papper")'
    assert found[1] == "methods.lot.top_p: Input should be greater than 0 (given: 0)"
    assert found[2].startswith("methods.lot.threshold: Input should be a valid number")
    assert found[2].endswith('(given: "high")')


def test_an_alias_is_suggested_by_the_name_a_file_uses() -> None:
    class Aliased(TokenReducer):
        name = "aliased"

        class Params(Params):
            lambda_: float = Field(0.1, alias="lambda")

    (line,) = messages(Aliased, {"lamda": 0.3})
    assert line.endswith("did you mean 'lambda'?")
