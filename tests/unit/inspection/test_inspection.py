"""What `lotbench inspect` shows: fates of tokens from a trace, shares over texts, files."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scripted import Fixed

from baselines.first_k import FirstK
from lotbench.batch import Batch
from lotbench.cli import models
from lotbench.conformance.tiny import tiny_backbone
from lotbench.engine import checkpoint
from lotbench.engine.backbone import Backbone
from lotbench.engine.encoder import ReducedEncoder
from lotbench.engine.pooling import Pooling
from lotbench.errors import InputError
from lotbench.inspection import figure, inspect, terminal, trace
from lotbench.inspection.model import Inspected
from lotbench.inspection.route import Fate, Route
from lotbench.inspection.split import Kept, kind
from lotbench.lot import LeapOfThought
from lotbench.measure.calls import packed_dense
from lotbench.reducer import Drop, Leap, Merge, Trace

GONE, MERGED, LEAPT, HALF, FULL = Fate


def mask(tokens, rows) -> torch.Tensor:
    """True where a token's row in the batch is one of these."""
    return torch.isin(tokens.rows, torch.tensor(rows))


def traced(batch: Batch, reducer: Fixed, layers: int) -> Trace:
    """The trace of a method on a tiny backbone."""
    with torch.inference_mode():
        return ReducedEncoder(tiny_backbone(layers), reducer).eval()(batch).trace


def test_fates_of_leaps_and_drops_at_both_points():
    # Two texts: rows 0 to 3 and 4 to 6.
    batch = Batch.from_ids([[2, 4, 5, 3], [2, 6, 3]], [[0] * 4, [0] * 3])

    def decide(layer, point, tokens):
        if (layer, point) == (0, "before_layer"):
            return Leap(mask(tokens, [0, 2, 4]))
        if (layer, point) == (1, "before_layer"):
            return Drop(mask(tokens, [0, 1, 2, 4, 5]))
        if (layer, point) == (1, "after_attention"):
            return Drop(mask(tokens, [0, 1, 4]))
        return None

    found = trace.fates(traced(batch, Fixed(3, decide), 3), 7, 3)
    assert found.tolist() == [
        [FULL, LEAPT, FULL, LEAPT, FULL, LEAPT, LEAPT],
        [FULL, FULL, HALF, GONE, FULL, HALF, GONE],
        [FULL, FULL, GONE, GONE, FULL, GONE, GONE],
    ]


def test_fates_of_merges_at_both_points():
    """Token 3 merges into 1, and 2 into it within layer 1; then the token of all three leaps."""
    batch = Batch.from_ids([[2, 4, 5, 6, 3]])

    def decide(layer, point, tokens):
        if (layer, point) == (0, "before_layer"):
            return Merge(torch.tensor([0, 1, 2, 1, 4]))
        if (layer, point) == (1, "after_attention"):
            return Merge(torch.tensor([0, 1, 1, 3]))
        return Leap(mask(tokens, [0])) if (layer, point) == (2, "before_layer") else None

    found = trace.fates(traced(batch, Fixed(3, decide), 3), 5, 3)
    assert found.tolist() == [
        [FULL, FULL, FULL, MERGED, FULL],
        [FULL, FULL, HALF, MERGED, FULL],
        [FULL, LEAPT, MERGED, MERGED, LEAPT],
    ]


def test_a_token_that_leapt_stays_though_the_layer_drops_another():
    batch = Batch.from_ids([[2, 4, 3]], [[0] * 3])

    def decide(layer, point, tokens):
        if layer:
            return None
        if point == "before_layer":
            return Leap(mask(tokens, [0, 2]))
        return Drop(mask(tokens, [0]))

    own = traced(batch, Fixed(2, decide), 2)
    assert trace.fates(own, 3, 2).tolist() == [[FULL, LEAPT, HALF], [FULL, FULL, GONE]]


class _Early(Fixed):
    """Decides before the embedding, with the same logit for every token."""

    def before_embedding(self, batch, words):
        return self.decide(-1, "before_embedding", batch)


@pytest.mark.parametrize(("decision", "fate"), [(Leap, LEAPT), (Drop, GONE)])
def test_fates_and_confidence_of_a_decision_before_the_embedding(decision, fate):
    batch = Batch.from_ids([[2, 4, 5, 3], [2, 6]])
    keep = torch.tensor([1, 0, 1, 0, 1, 0]) > 0

    def decide(layer, point, tokens):
        return None if layer >= 0 else decision(keep, aux={"logits": torch.zeros(6)})

    found = traced(batch, _Early(2, decide), 2)
    row = [FULL, fate, FULL, fate, FULL, fate]
    assert trace.fates(found, 6, 3).tolist() == [row, row, [GONE] * 6]
    assert trace.confidence(found, 6, 2)[0].tolist() == [0.5] * 6
    assert np.isnan(trace.confidence(found, 6, 2)[1]).all()


def test_layers_that_a_method_does_not_run_remove_every_token():
    batch = Batch.from_ids([[2, 4, 3]], [[0] * 3])
    reducer = Fixed(2, lambda *_: None)
    reducer.active_layers = 1
    own = traced(batch, reducer, 2)
    assert trace.fates(own, 3, 2).tolist() == [[FULL] * 3, [GONE] * 3]
    assert np.isnan(trace.confidence(own, 3, 2)).all()


def test_confidence_is_the_probability_to_process():
    logits = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 3.0]])
    batch = Batch.from_ids([[2, 4, 3]], [[0] * 3])
    keep = torch.tensor([True, False, True])

    def decide(layer, point, tokens):
        if point == "before_layer":
            aux = {"logits": logits if layer == 0 else torch.tensor([2.0, -2.0, 0.0])}
            return Leap(keep, aux=aux)
        return None

    own = traced(batch, Fixed(2, decide), 2)
    expected = [[0.5, 0.268941, 0.952574], [0.880797, 0.119203, 0.5]]
    assert trace.confidence(own, 3, 2) == pytest.approx(np.array(expected), abs=1e-5)


@pytest.mark.parametrize(
    ("token", "expected"),
    [
        *(("[CLS]", "special"), ("</s>", "special"), ("[", "punctuation")),
        *(("the", "stop word"), ("The", "stop word"), ("\u0120the", "stop word")),
        *(("film", "word"), ("\u2581film", "word"), ("##ing", "word piece"), ("12", "number")),
        *((",", "punctuation"), ("he ", "word")),
    ],
)
def test_kinds_of_tokens(token, expected):
    assert kind(token) == expected


def route(tokens: list[str], fates: list[list[int]], **more) -> Route:
    own = np.array(fates)
    return Route("lot", "good (0.90)", tokens, own, np.full(own.shape, np.nan), **more)


def test_shares_by_kind_place_and_word():
    one = route(
        ["[CLS]", "the", "film", ","], [[FULL, LEAPT, FULL, GONE], [FULL, GONE, HALF, GONE]]
    )
    found = Kept("lot", [one] * 10)
    assert found.texts == 10
    kinds, places = (
        {name: share.tolist() for name, share in rows.items()} for rows in found.tables.values()
    )
    assert kinds == {
        "special (10)": [1, 1],
        "stop word (10)": [0, 0],
        "word (10)": [1, 1],
        "punctuation (10)": [0, 0],
    }
    # Four tokens lie in the tenths 0, 2, 5 and 7.
    assert places == {
        "0 to 10%": [1, 1],
        "20 to 30%": [0, 0],
        "50 to 60%": [1, 1],
        "70 to 80%": [0, 0],
    }
    assert found.most == [("film", 1.0, 10), ("the", 0.0, 10)]
    assert found.least[0] == ("the", 0.0, 10)
    # A word that occurs nine times is too rare.
    assert Kept("lot", [one] * 9).most == []


def test_the_page_escapes_texts_and_has_no_scripts(tmp_path):
    own = route(["<script>", "b"], [[FULL, GONE]], saliency=np.array([1.0, 0.5]))
    found = [Kept("lot", [own])]
    text = inspect.write_page("One text", [own], found, tmp_path / "a.html").read_text()
    assert "&lt;script&gt;" in text
    assert "<script" not in text
    assert 'title="b, layer 1: removed"' in text


def test_the_terminal_has_a_line_per_token():
    from rich.console import Console

    one = route(["a", "b"], [[FULL, LEAPT], [HALF, GONE]], saliency=np.array([1.0, 0.25]))
    console = Console(width=120)
    with console.capture() as captured:
        console.print(terminal.of_text([one]))
    lines = [line.split() for line in captured.get().splitlines()]
    assert ["a", "\u2588\u2592", "\u2587" * 8] in lines
    assert ["b", "\u2191\u00b7", "\u2587" * 2] in lines
    assert "layers compute 50% of the tokens" in captured.get()


def test_evidence_is_marked_and_its_share_is_said(tmp_path):
    from rich.console import Console

    # Two layers compute 2 and 1 of the two evidence tokens.
    evidence = np.array([False, True, True])
    own = route(["a", "b", "c"], [[GONE, FULL, HALF], [GONE, FULL, LEAPT]], evidence=evidence)
    assert own.title.endswith("layers compute 50% of tokens, 75% of evidence")
    console = Console(width=120)
    with console.capture() as captured:
        console.print(terminal.of_text([own]))
    lines = [line.split() for line in captured.get().splitlines()]
    assert ["a", "\u00b7\u00b7"] in lines and ["b", "*", "\u2588\u2588"] in lines
    assert lines[2][:2] == ["*", "evidence"]
    text = inspect.write_page("One text", [own], [], tmp_path / "a.html").read_text()
    assert text.count('class="token evidence"') == 2 and "evidence are underlined" in text
    kinds = Kept("lot", [own, replace(own, evidence=None)]).tables["kind of token"]
    assert kinds["evidence (2)"].tolist() == [1, 0.5]


@pytest.fixture
def saved(tmp_path, tokenizer):
    """Saves a random model and returns its folder."""

    def write(cls, name, max_length=30, pooling=None, protect=None, **params):
        backbone = tiny_backbone(2)
        if pooling:
            backbone = Backbone(backbone.model.base_model, pooling)
        torch.manual_seed(0)
        encoder = ReducedEncoder(backbone, cls(cls.Params(**params), 2, backbone.width), protect)
        folder = tmp_path / "models" / name
        checkpoint.save(folder, encoder, tokenizer, [], max_length)
        return folder

    return write


@pytest.mark.slow
def test_models_without_a_store_and_files(saved, tmp_path):
    folders = [saved(LeapOfThought, "lot"), saved(FirstK, "first", k=2)]
    group, files = inspect.of_text(folders, ["a b c"], None, tmp_path / "out")
    assert [path.name for path in files] == [
        "inspect-text.png",
        "inspect-text.svg",
        "inspect-text.pdf",
        "inspect-text.html",
    ]
    assert all(path.stat().st_size > 1000 for path in files)
    assert [str(part) for part in group.renderables][1].startswith("first-k k=2: class ")
    assert "40% of the tokens" in str(group.renderables[1])  # [CLS] a of [CLS] a b c [SEP]
    with pytest.raises(InputError, match="not in a store, so its data is not known"):
        inspect.of_split(folders, "validation", None, None)
    with pytest.raises(InputError, match=r"--target 4: .* \(targets there: none\)"):
        inspect.of_text(folders, ["a"], 4.0, None)
    with pytest.raises(InputError, match="different tokenizers or lengths"):
        inspect.of_text([folders[0], saved(FirstK, "short", 3, k=2)], ["a b c"], None, None)


def test_a_vector_is_compared_with_that_of_a_cached_teacher(saved):
    own = Inspected(saved(FirstK, "first", pooling=Pooling(32, "mean", True), k=2))
    text = ("a b c d e",)
    own.teacher = None
    assert own.route(text).title == "first-k k=2: layers compute 29% of the tokens"
    own.teacher = packed_dense(own.encoder.backbone)
    batch = Batch.from_ids([own.tokenizer(text[0])["input_ids"]])
    with torch.no_grad():
        vectors = [model(batch).logits[0] for model in (own.encoder, own.teacher)]
    assert 0.1 < vectors[0] @ vectors[1] < 0.99
    assert own.route(text).answer == f"cosine {vectors[0] @ vectors[1]:.3f} to dense"
    saliency = own.saliency(text)
    assert saliency.shape == (7,) and saliency.max() == 1 and saliency.min() > 0


def test_a_protected_text_is_shown_as_kept(saved):
    own = Inspected(saved(FirstK, "first", protect=3, k=1))
    route = own.route(("a b", "c"))
    assert route.tokens == ["[CLS]", "a", "b", "[SEP]", "c", "[SEP]"]
    assert (route.fates[0] == FULL).tolist() == [True] * 4 + [False] * 2


def test_passages_of_the_second_text_are_evidence(saved):
    own = Inspected(saved(FirstK, "first", k=1))
    # [CLS] a b [SEP] a b c [SEP]
    assert np.flatnonzero(own.covered(("a b", "a b c"), ["b", "b c"])).tolist() == [5, 6]
    for passage in ("d", ""):
        with pytest.raises(InputError, match=f"--evidence: '{passage}' is not in the .second."):
            models.inspect([own.folder], text=["d", "a b"], evidence=["a", passage])


@pytest.mark.slow
def test_characters_that_the_font_lacks_are_said_once(tmp_path, caplog):
    files = figure.of_text([route(["\u4e00", "\u90e8", "film"], [[FULL] * 3])], tmp_path / "text")
    assert caplog.messages == [
        f"{files[0]}: the font lacks some characters; the HTML page shows them"
    ]


def test_a_text_that_is_no_unicode_is_refused(tmp_path):
    with pytest.raises(InputError, match="--text: it is not valid UTF-8"):
        models.inspect([tmp_path], text=["a \udcff film"])
