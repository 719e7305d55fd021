"""A loaded model in Python: inputs, budgets, and messages on bad input and damaged files."""

from __future__ import annotations

import json
from importlib.metadata import EntryPoint

import pytest
import torch
import transformers

import lotbench
from baselines.dense import Dense
from baselines.first_k import FirstK
from lotbench import registry
from lotbench.data.tokens import tokenise
from lotbench.engine import checkpoint
from lotbench.engine.backbone import Backbone
from lotbench.engine.encoder import ReducedEncoder
from lotbench.errors import InputError
from lotbench.lot import FixedBudget

SIZES = {"vocab_size": 12, "max_position_embeddings": 40, "num_labels": 3}
BERT = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
}


@pytest.fixture
def save(tmp_path, tokenizer):
    """A function that saves a random model with a method and returns its folder."""

    def write(cls=FirstK, kind="Bert", sizes=BERT, plugins=(), **params):
        config = getattr(transformers, f"{kind}Config")(**SIZES, **sizes)
        torch.manual_seed(0)
        model = getattr(transformers, f"{kind}ForSequenceClassification")(config)
        encoder = ReducedEncoder(Backbone(model), cls(cls.Params(**params), 2, 32))
        checkpoint.save(tmp_path / "model", encoder, tokenizer, list(plugins), 30)
        return tmp_path / "model"

    return write


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
        files[1].unlink(missing_ok=True)
        assert lotbench.load(folder).reducer.name == method.name
    # As an entry point the method needs its file no more.
    folder = save(cls, plugins=plugins)
    files[0].unlink()
    monkeypatch.setattr(registry, "_plugins", {})
    with pytest.raises(InputError, match=r"mine\.py: no such file"):
        lotbench.load(folder)
    point = EntryPoint("mine", "a_module:M", registry.GROUP)
    monkeypatch.setattr(EntryPoint, "load", lambda _: cls)
    monkeypatch.setattr(registry, "_installed", lambda: [point])
    assert lotbench.load(folder).reducer.name == "mine"


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
        ("a b c", r"a list of texts is needed.*model\(\[text\]\)"),
        (["a", ("a", "b", "c")], r"texts\[1\]: a text or a pair"),
        ([3], r"texts\[0\]"),
        ([("a", None)], r"texts\[0\]"),
    ],
)
def test_inputs_other_than_text_are_refused(save, texts, words) -> None:
    with pytest.raises(InputError, match=words):
        lotbench.load(save(k=8))(texts)


def test_a_pair_has_segments_only_where_the_backbone_has_them(save, tokenizer, monkeypatch) -> None:
    # [CLS] a b [SEP] c [SEP]; first-k takes the first tokens of each segment.
    pair = [("a b", "c")]
    assert tokenise(pair, tokenizer, 30)[1] == [[0, 0, 0, 0, 1, 1]]
    model = lotbench.load(save(k=4))
    kept = []
    for names in (tokenizer.model_input_names, ["input_ids", "attention_mask"]):
        monkeypatch.setattr(model.tokenizer, "model_input_names", names)
        _, (trace,) = model(pair, return_trace=True)
        kept.append(trace.decisions()[0].decision.keep.tolist())
    assert kept[0] != kept[1] == [True] * 4 + [False] * 2


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
    with pytest.raises(InputError, match=r"k: .*greater than or equal to 1 and .*\(given: 0\)"):
        method.budget = 0
    with method.at_budget(None):
        assert method.k == 8


def test_a_tokenizer_without_a_limit_gets_the_number_of_positions(save, tokenizer) -> None:
    folder = save(k=8)
    tokenizer.model_max_length = 10**30
    tokenizer.save_pretrained(folder)
    tokenizer.model_max_length = 512
    assert lotbench.load(folder).tokenizer.model_max_length == 40


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("lotbench.json", b"{}", r"lotbench\.json: damaged \(no method, version"),
        ("lotbench.json", b"[]", r"lotbench\.json: damaged"),
        ("lotbench.json", b"{", r"lotbench\.json: damaged"),
        ("model.safetensors", b"\x00" * 40, "cannot be loaded"),
        ("reducer.safetensors", b"\x00" * 40, r"reducer\.safetensors"),
    ],
)
def test_a_damaged_model_is_named(save, name, content, words) -> None:
    folder = save(FixedBudget)
    (folder / name).write_bytes(content)
    with pytest.raises(InputError, match=words):
        lotbench.load(folder)


def test_weights_that_do_not_fit_their_configuration_are_named(save) -> None:
    folder = save(k=8)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"intermediate_size": 64}))
    with pytest.raises(InputError, match=r"6 weights .* another shape .*intermediate\.dense"):
        lotbench.load(folder)


def test_a_file_in_place_of_a_model_folder_is_refused(tmp_path) -> None:
    (tmp_path / "notes").write_text("x")
    with pytest.raises(InputError, match="not a saved model"):
        lotbench.load(tmp_path / "notes")
