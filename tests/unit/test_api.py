"""A loaded model in Python: inputs, budgets, and messages on bad input and damaged files."""

from __future__ import annotations

import json
from importlib.metadata import EntryPoint

import pytest
import torch

import lotbench
from baselines.dense import Dense
from baselines.first_k import FirstK
from lotbench import registry
from lotbench.data.tokens import tokenise
from lotbench.errors import InputError
from lotbench.lot import FixedBudget


def test_a_card_lists_only_the_plugin_of_its_method(save, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(registry, "_plugins", {})
    text = "from lotbench.reducer import TokenReducer\nclass M(TokenReducer):\n    name = '{}'\n"
    files = [tmp_path / f"{name}.py" for name in ("mine", "other")]
    for file in files:
        file.write_text(text.format(file.stem))
    ((cls,), _) = [registry.load_plugin(str(file)) for file in files]
    plugins = [str(file) for file in files]
    for method, wanted, params in ((cls, plugins[:1], {}), (FirstK, [], {"k": 8})):
        folder = save(method, plugins=plugins, **params)
        assert json.loads((folder / "lotbench.json").read_text())["plugins"] == wanted
        assert lotbench.load(folder, wanted).reducer.name == method.name
    # As an entry point the method needs its file no more.
    folder = save(cls, plugins=plugins)
    monkeypatch.setattr(registry, "_plugins", {})
    point = EntryPoint("mine", "mine:M", registry.GROUP)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(registry, "_installed", lambda: [point])
    assert lotbench.load(folder).reducer.name == "mine"


@pytest.mark.parametrize("place", ["file", "relative", "module"])
def test_a_model_imports_no_plugin_that_the_caller_did_not_name(
    place, save, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr(registry, "_plugins", {})
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    file = tmp_path / f"a_plugin_of_a_{place}.py"
    file.write_text(
        "from pathlib import Path\n"
        "from lotbench.reducer import TokenReducer\n"
        "Path('imported').touch()\n"
        "class M(TokenReducer):\n    name = 'mine'\n"
    )
    named = {"file": str(file), "relative": f"./{file.name}", "module": file.stem}[place]
    folder = save(Dense)
    card = json.loads((folder / "lotbench.json").read_text())
    card |= {"method": "mine", "version": 1, "plugins": [named]}
    (folder / "lotbench.json").write_text(json.dumps(card))
    words = rf"lotbench\.json: method: 'mine' is not installed.*{file.stem}.*--plugin .*{file.stem}"
    with pytest.raises(InputError, match=words):
        lotbench.load(folder)
    assert not (tmp_path / "imported").exists()
    assert lotbench.load(folder, plugins=[named]).reducer.name == "mine"
    assert (tmp_path / "imported").exists()
    card["plugins"] = []
    (folder / "lotbench.json").write_text(json.dumps(card | {"method": "firstk"}))
    with pytest.raises(InputError, match=r"'firstk' is not installed; did you mean 'first-k'"):
        lotbench.load(folder)


def test_texts_and_pairs_can_be_mixed(save) -> None:
    model = lotbench.load(save(k=8))
    logits = model(["a b c", ("a b", "c d e"), "h"])
    assert logits.shape == (3, 3)
    torch.testing.assert_close(logits[1:2], model([("a b", "c d e")]), rtol=0, atol=1e-5)


@pytest.mark.parametrize("batch_size", [0, -1, True, 2.0])
def test_a_batch_has_one_text_or_more(save, batch_size) -> None:
    with pytest.raises(InputError, match=r"^batch_size: an integer of 1 or more is needed, not"):
        lotbench.load(save())(["a"], batch_size=batch_size)


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        ("a b c", "a list of texts is needed, not one text"),
        (["a", ("a", "b", "c")], r"texts\[1\]: a text or a pair"),
        ([3], r"texts\[0\]"),
        ([("a", None)], r"texts\[0\]"),
    ],
)
def test_inputs_other_than_text_are_refused(save, texts, words) -> None:
    with pytest.raises(InputError, match=words):
        lotbench.load(save(k=8))(texts)


def test_a_pair_has_segments_only_where_the_backbone_has_them(tokenizer, monkeypatch) -> None:
    # [CLS] a b [SEP] c [SEP]
    pair = [("a b", "c")]
    assert tokenise(pair, tokenizer, 30)[1] == [[0, 0, 0, 0, 1, 1]]
    monkeypatch.setattr(tokenizer, "model_input_names", ["input_ids", "attention_mask"])
    assert tokenise(pair, tokenizer, 30)[1] == [[0] * 6]


def test_an_invalid_budget_is_refused(save) -> None:
    model = lotbench.load(save(FixedBudget, keep_ratio=0.5))
    model.budget = 0.25
    assert model.reducer.keep_ratio == 0.25
    with pytest.raises(InputError, match=r"keep_ratio.*less than or equal to 1"):
        model.budget = 1.5
    for value in ("0.3", None, True, float("nan")):
        with pytest.raises(InputError, match=r"keep_ratio: a finite number is needed"):
            model.budget = value
    with pytest.raises(AttributeError):
        model.threshold = 0.3


def test_a_budget_for_a_method_without_one_is_refused(save) -> None:
    model = lotbench.load(save(Dense))
    with pytest.raises(InputError, match="method 'dense' has no budget"):
        model.budget = 0.3
    with pytest.raises(InputError, match="method 'dense' has no budget"):
        _ = model.budget


def test_at_budget_restores_the_budget() -> None:
    method = FirstK(FirstK.Params(k=8), 2, 32)
    with method.at_budget(3):
        assert method.k == method.budget == 3
    assert method.k == 8
    with pytest.raises(InputError, match=r"k: .*greater than or equal to 1 \(given: 0\)"):
        method.budget = 0
    with method.at_budget(None):
        assert method.k == 8


def test_a_tokenizer_without_a_limit_gets_the_number_of_positions(save, tokenizer) -> None:
    tokenizer.model_max_length = 10**30
    folder = save(k=8)
    tokenizer.model_max_length = 512
    assert lotbench.load(folder).tokenizer.model_max_length == 40


def test_a_file_in_place_of_a_model_folder_is_refused(tmp_path) -> None:
    (tmp_path / "notes").write_text("x")
    with pytest.raises(InputError, match="not a saved model"):
        lotbench.load(tmp_path / "notes")
