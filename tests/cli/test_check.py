"""`lotbench check` and `lotbench new-method` on plugin files."""

import pytest
from commands import app, call

from lotbench.errors import InputError


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize(("kind", "longest"), [("fixed", 60), ("learned", 90)])
def test_the_new_method_template_passes_the_check(kind, longest, tmp_path):
    made = call("new-method", "long-states", "--kind", kind, cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    assert "long_states.py" in made.stdout
    text = (tmp_path / "long_states.py").read_text()
    assert len(text.splitlines()) < longest
    assert "class LongStates(TokenReducer)" in text and "my-method" not in text
    done = call("check", "long_states.py", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    first, *_ = done.stdout.splitlines()
    rules = done.stderr.splitlines()
    assert all(line.startswith("  ok ") for line in rules)
    assert first.startswith(f"long-states: {len(rules)} ok")


@pytest.mark.slow
def test_a_broken_rule_is_named_and_exits_1(tmp_path, capsys):
    path = tmp_path / "greedy.py"
    assert app("new-method", "greedy", "--output", tmp_path) == 0
    path.write_text(
        path.read_text().replace("masked_fill(tokens.layout.is_first, math.inf)", "abs()")
    )
    assert app("check", path) == 1
    text, rules = capsys.readouterr()
    assert "  failed    the first token is always kept\n" in text
    assert "before_layer of layer 1 leaves out the first token" in text
    assert "  ok        its inputs are not changed\n" in rules
    assert "  not run   19 more, which rest on: the first token is always kept\n" in text
    assert "Traceback" not in text + rules


def test_where_nothing_can_be_built_one_line_says_so(tmp_path, capsys):
    path = tmp_path / "greedy.py"
    assert app("new-method", "greedy", "--output", tmp_path) == 0
    path.write_text(path.read_text().replace("super().__init__(params", "super().__init__(nothing"))
    assert app("check", path) == 1
    out = capsys.readouterr().out
    *_, resting, summary = out.splitlines()
    assert "  failed    class, stages, budget and needs are sound\n" in out
    assert "NameError: name 'nothing' is not defined" in out
    assert resting.startswith("  not run   25 more, which rest on: class, stages, budget")
    assert summary.startswith("greedy: 1 failed, 25 not run")


def test_a_new_method_overwrites_nothing(tmp_path):
    assert app("new-method", "mine", "--output", tmp_path / "made") == 0
    path = tmp_path / "made/mine.py"
    path.write_text("precious")
    with pytest.raises(InputError, match=r"mine\.py exists"):
        app("new-method", "mine", "--output", path.parent)
    assert path.read_text() == "precious"


def test_an_unknown_kind_of_method_is_refused_with_the_known_ones(tmp_path):
    done = call("new-method", "mine", "--kind", "magic", cwd=tmp_path)
    assert done.returncode == 2
    assert "'magic' is not one of 'fixed'" in done.stderr and "'learned'" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["Mine", "my_method", "1st", "-x", "a--b", "../a", "", "lot"])
def test_an_invalid_or_used_method_name_is_refused(tmp_path, name):
    with pytest.raises(InputError, match=r"is not a valid method name|in use"):
        app("new-method", "--output", tmp_path, "--", name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["lott"], "did you mean 'lot'"),
        (["nowhere.py"], "nowhere.py: no such file"),
        (["lotbench.lot:Nothing"], "not a subclass"),
        (["lot", "--set", "topp=0.3"], "lot.topp"),
        (["lot", "--set", "top_p"], "expected key.path=value"),
        (["power-bert", "--set", "retention=[5,4,3]"], "3 numbers for a backbone of 4 layers"),
    ],
)
def test_bad_input_is_refused(arguments, words):
    # `main` of the command line turns it into exit code 2 (see test_cli).
    with pytest.raises(InputError, match=words):
        app("check", *arguments)
