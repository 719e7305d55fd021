"""A saved model is whole or refused: each fault is named by its file and field."""

import json
import os
import pickle
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import lotbench
from lotbench.engine.loading import load_backbone, load_tokenizer
from lotbench.errors import InputError
from lotbench.lot import FixedBudget, LeapOfThought


def edit(path: Path, **changes) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def without_checksums(folder: Path) -> Path:
    """The folder as an older version of LoTBench wrote it."""
    card = json.loads((folder / "lotbench.json").read_text())
    del card["files"]
    (folder / "lotbench.json").write_text(json.dumps(card))
    return folder


def reweigh(path: Path, change) -> None:
    weights = load_file(path)
    change(weights)
    save_file(weights, path, metadata={"format": "pt"})


def put(name, value):
    """A change of weights: the first element of a tensor becomes a value."""

    def change(weights):
        weights[name].view(-1)[0] = value

    return change


def having(name, tensor):
    return lambda weights: weights.update({name: tensor})


def without(name):
    return lambda weights: weights.pop(name)


@pytest.mark.parametrize(
    "name", ["config.json", "model.safetensors", "reducer.safetensors", "tokenizer.json"]
)
def test_a_file_that_is_not_the_saved_one_is_named(name, save):
    folder = save(LeapOfThought, top_p=0.3)
    lotbench.load(folder)
    content = bytearray((folder / name).read_bytes())
    content[-20] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(InputError, match=rf"/{name}: damaged or changed.*lotbench\.json"):
        lotbench.load(folder)
    (folder / name).unlink()
    with pytest.raises(InputError, match=rf"/{name}: missing, but lotbench\.json lists it"):
        lotbench.load(folder)


def test_a_model_without_checksums_still_loads(save):
    folder = save(k=8)
    wanted = lotbench.load(folder)(["a b c"])
    assert lotbench.load(without_checksums(folder))(["a b c"]).equal(wanted)


def test_a_card_cannot_name_files_elsewhere(save):
    folder = save(k=8)
    edit(folder / "lotbench.json", files={"../../etc/passwd": "xxh3:0"})
    with pytest.raises(InputError, match=r"passwd: missing, but lotbench\.json"):
        lotbench.load(folder)


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("lotbench.json", {"n_labels": 2}, r"classifier\.bias"),
        ("lotbench.json", {"n_labels": 10**12}, r"lotbench\.json: n_labels: .*100000"),
        ("lotbench.json", {"n_labels": True}, r"lotbench\.json: n_labels: .*integer"),
        ("lotbench.json", {"max_length": 0}, r"lotbench\.json: max_length: .*1"),
        ("lotbench.json", {"max_length": "30"}, r"lotbench\.json: max_length"),
        ("lotbench.json", {"version": None}, r"lotbench\.json: version"),
        ("lotbench.json", {"params": [1]}, r"lotbench\.json: params: Input should be a mapping"),
        ("lotbench.json", {"params": {"kk": 3}}, r"lotbench\.json: params\.kk: unknown key"),
        ("lotbench.json", {"plugins": "x.py"}, r"lotbench\.json: plugins"),
        ("lotbench.json", {"method": ["lot"]}, r"lotbench\.json: method"),
        ("lotbench.json", {"method": "first"}, r"lotbench\.json: method: 'first' is not installed"),
        ("config.json", {"num_hidden_layers": 10**5}, r"config\.json: num_hidden_layers: .*1000"),
        pytest.param(
            *("config.json", {"num_hidden_layers": 900}, r"config\.json describes \d+ weights"),
            marks=pytest.mark.slow,
        ),
        ("config.json", {"num_hidden_layers": 1}, r"no place in config\.json: \S+layer\.1\."),
        ("config.json", {"num_labels": 10**12}, r"config\.json: num_labels: .*100000"),
        ("config.json", {"hidden_size": 10**5}, r"config\.json describes \d+ weights"),
        ("config.json", {"hidden_size": "32"}, r"config\.json cannot be loaded.*hidden_size"),
        ("config.json", {"vocab_size": 10**7}, r"config\.json describes \d+ weights"),
        ("config.json", {"intermediate_size": 64}, r"another shape .*dense\.weight"),
        ("config.json", {"num_attention_heads": 5}, r"config\.json cannot be loaded.*5"),
        ("config.json", {"num_attention_heads": 0}, r"config\.json cannot be loaded"),
        ("config.json", {"hidden_act": "sigh"}, r"config\.json cannot be loaded.*sigh"),
        ("config.json", {"hidden_dropout_prob": 7}, r"config\.json cannot be loaded.*dropout"),
        ("config.json", {"layer_norm_eps": None}, r"config\.json cannot be loaded.*layer_norm_eps"),
        ("config.json", {"position_embedding_type": "relative_key"}, r"position_embedding_type"),
        ("config.json", {"attn_implementation": "some/kernel"}, r"attn_implementation"),
        ("config.json", {"quantization_config": {"bits": 4}}, r"quantization_config"),
        ("config.json", {"model_type": None}, r"config\.json cannot be loaded"),
        ("tokenizer_config.json", {"model_max_length": "x"}, r"tokenizer cannot be loaded"),
        ("tokenizer_config.json", {"model_input_names": 3}, r"tokenizer cannot be loaded"),
        ("tokenizer_config.json", {"tokenizer_class": 7}, r"tokenizer cannot be loaded"),
        ("tokenizer_config.json", {"tokenizer_class": "x"}, r"tokenizer_class: .* has no 'x'"),
        ("tokenizer.json", {"model": 3}, r"tokenizer cannot be loaded.*tokenizer\.json"),
        ("tokenizer.json", {"model": None}, r"tokenizer cannot be loaded.*tokenizer\.json"),
    ],
)
def test_a_wrong_value_is_named_by_file_and_field(name, change, words, save):
    folder = without_checksums(save(k=8))
    edit(folder / name, **change)
    with pytest.raises(InputError, match=words):
        lotbench.load(folder)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"\xff\xfe", b"[" * 10**5, b'{"a":' * 10**5, None]
)
@pytest.mark.parametrize("name", ["lotbench.json", "config.json", "tokenizer.json"])
def test_a_file_that_is_no_json_object_is_named(name, content, save):
    path = without_checksums(save(k=8)) / name
    path.unlink()
    if content is None:
        os.mkfifo(path)  # reading it would wait for ever
    else:
        path.write_bytes(content)
    with pytest.raises(InputError, match=rf"/{name}: |tokenizer cannot be loaded|not a saved mod"):
        lotbench.load(path.parent)


def test_a_card_without_fields_names_them(save):
    folder = save(k=8)
    (folder / "lotbench.json").write_text("{}")
    with pytest.raises(InputError, match=r"lotbench\.json: method: required, but missing"):
        lotbench.load(folder)


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("model", without("classifier.weight"), r"1 weights .* are missing: classifier\.w"),
        ("model", without("bert.pooler.dense.bias"), r"are missing: bert\.pooler"),
        ("model", having("classifier.bias", torch.zeros(4)), r"another shape .*: classifier\.bias"),
        ("model", put("classifier.bias", float("nan")), r"classifier\.bias has a NaN"),
        ("model", put("bert.embeddings.LayerNorm.weight", float("inf")), r"LayerNorm\.weight has"),
        ("model", having("extra", torch.zeros(1)), r"no place in config\.json: extra"),
        (
            "model",
            having("classifier.bias", torch.zeros(3).char()),
            r"damaged \(classifier\.bias is I8",
        ),
        (
            "reducer",
            without("routers.0.outer.bias"),
            r"reducer\.safetensors: .*Missing.*outer\.bias",
        ),
        ("reducer", having("more", torch.zeros(2)), r"reducer\.safetensors: .*Unexpected.*more"),
        (
            "reducer",
            having("routers.0.outer.bias", torch.zeros(7)),
            r"reducer\.safetensors: .*mismatch for routers\.0\.outer\.bias",
        ),
        ("reducer", put("routers.1.outer.weight", float("nan")), r"reducer\.safetensors: .* a NaN"),
    ],
)
def test_weights_that_do_not_fit_the_card_are_named(name, change, words, save):
    folder = without_checksums(save(LeapOfThought, top_p=0.3))
    reweigh(folder / f"{name}.safetensors", change)
    with pytest.raises(InputError, match=words):
        lotbench.load(folder)


@pytest.mark.parametrize("name", ["model.safetensors", "reducer.safetensors"])
@pytest.mark.parametrize("content", [b"", b"\x00" * 40, b"\xff" * 40])
def test_weights_that_are_no_safetensors_are_named(name, content, save):
    folder = without_checksums(save(FixedBudget))
    (folder / name).write_bytes(content)
    with pytest.raises(InputError, match=rf"/{name}: damaged"):
        lotbench.load(folder)


def indexed(folder: Path, weight_map: object) -> Path:
    content = {"weight_map": weight_map, "metadata": {}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(content))
    return folder


def test_an_index_names_safetensors_files_of_its_folder_only(save, tmp_path):
    folder = without_checksums(save(k=8))
    weights = load_file(folder / "model.safetensors")
    shutil.move(folder / "model.safetensors", folder / "model-1.safetensors")
    shutil.copy(folder / "model-1.safetensors", tmp_path / "outside.safetensors")
    (folder / "bomb.bin").write_bytes(pickle.dumps(Bomb(tmp_path / "opened")))
    for name in ("bomb.bin", "../outside.safetensors", str(tmp_path / "outside.safetensors"), 3):
        with pytest.raises(InputError, match=r"index\.json: weight_map: .* not a safetensors file"):
            lotbench.load(indexed(folder, dict.fromkeys(weights, name)))
    for table in (None, ["model-1.safetensors"]):
        with pytest.raises(InputError, match=r"index\.json: weight_map: .*not a safetensors file"):
            lotbench.load(indexed(folder, table))
    assert not (tmp_path / "opened").exists()
    assert lotbench.load(indexed(folder, dict.fromkeys(weights, "model-1.safetensors")))


class Bomb:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


def test_adapters_are_refused(save):
    folder = save(k=8)
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "someone/else"}')
    with pytest.raises(InputError, match=r"adapter_config\.json: adapters are not supported"):
        lotbench.load(folder)


def test_a_method_that_refuses_the_parameters_of_a_card_is_named(save, monkeypatch):
    folder = save(k=8)

    def fail(self, params, n_layers, width):
        raise KeyError("no table")

    monkeypatch.setattr("baselines.first_k.FirstK.__init__", fail)
    with pytest.raises(InputError, match=r"'first-k' with the params of lotbench\.json .*no table"):
        lotbench.load(folder)


def test_a_backbone_may_lack_a_head_but_not_have_a_nan(save):
    folder = save(k=8)
    reweigh(folder / "model.safetensors", without("classifier.weight"))
    assert load_backbone(str(folder), 3).n_labels == 3
    reweigh(folder / "model.safetensors", put("bert.pooler.dense.bias", float("nan")))
    with pytest.raises(InputError, match=r"pooler\.dense\.bias has a NaN"):
        load_backbone(str(folder), 3)


def test_a_token_id_beyond_the_vocabulary_is_named(save):
    folder = save(k=8)
    path = folder / "tokenizer.json"
    model = json.loads(path.read_text())["model"]
    model["vocab"]["a"] = 10**6
    edit(path, model=model)
    with pytest.raises(InputError, match=r"has 1000001 tokens, but config\.json says vocab_size"):
        load_tokenizer(str(folder))
