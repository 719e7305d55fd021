"""The folder of an exported model: graph, configuration, tokenizer and model card."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lotbench.backends import EXPORTED, need
from lotbench.deploy.card import BOUNDS, Bound, ExportedCard, markdown
from lotbench.deploy.graph import BUDGET, SEED, export
from lotbench.deploy.quantise import quantised
from lotbench.deploy.session import open_session
from lotbench.engine import checkpoint
from lotbench.engine.checksums import checksums, verify
from lotbench.engine.loading import load_tokenizer
from lotbench.engine.modelfiles import in_file, one_line, read_object
from lotbench.engine.pooling import write_pooling
from lotbench.errors import InputError, near_misses
from lotbench.reducer import TokenReducer
from lotbench.validation import validate

if TYPE_CHECKING:
    from google.protobuf.message import Message

log = logging.getLogger(__name__)

MODEL, CONFIG, CARD = "model.onnx", "config.json", "lotbench"
"""The graph, and the key of the card in the backbone's configuration."""
LENGTH = "sentence_bert_config.json"
CROSS_ENCODER = {"sentence_transformers": {"activation_fn": "torch.nn.modules.linear.Identity"}}
"""Makes a CrossEncoder give logits; of one label it gives their sigmoid by default."""


def write(
    source: Path,
    folder: Path,
    backend: str,
    budget: float | None,
    measured: str,
    plugins: Sequence[str] = (),
) -> ExportedCard:
    """Export the trained model in the folder ``source`` to a ``folder`` that is new or empty.

    The budget of None is that of training.  The model card shows the ``measured`` numbers, which
    are Markdown.  ``plugins`` are files or modules to import for a method that is not installed.
    """
    if backend not in EXPORTED:
        raise InputError(f"--backend {backend}: unknown; {near_misses(backend, list(EXPORTED))}")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder}: not empty; give a new folder")
    encoder, trained = checkpoint.load(source, plugins), checkpoint.read_card(source)
    tokenizer = load_tokenizer(str(source.resolve()))
    if budget is not None:
        whole = encoder.reducer.budget_name and isinstance(encoder.reducer.budget, int)
        encoder.reducer.budget = int(budget) if whole and budget.is_integer() else budget
    log.info("exporting %s; this takes up to a minute", source)
    exported = export(encoder)
    model = quantised(exported.model) if backend == "onnx-int8" else exported.model
    content = model.SerializeToString()
    open_session(content, backend, threads=1)  # refuses what the runtime cannot load
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MODEL).write_bytes(content)
    _write_tokenizer(tokenizer, trained.max_length, folder)
    backbone, reducer = encoder.backbone, encoder.reducer
    if backbone.pooling is not None:
        write_pooling(folder, backbone.pooling, backbone.width)
        (folder / LENGTH).write_text(json.dumps({"max_seq_length": trained.max_length}) + "\n")
    card = ExportedCard(
        **trained.model_dump(include={"method", "version", "n_labels", "max_length", "protect"}),
        files=checksums(folder),
        backend=backend,
        budget_name=reducer.budget_name,
        budget=exported.budget,
        budget_input=reducer.budget_name is not None and exported.fixed is None,
        budget_bounds=_bounds(reducer),
    )
    backbone.config.save_pretrained(folder)
    config = json.loads((folder / CONFIG).read_text())
    config |= {CARD: card.model_dump()} | ({} if backbone.pooling else CROSS_ENCODER)
    (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n")
    text = markdown(
        name=source.resolve().name,
        card=card,
        budget=repr(card.budget),
        fixed=exported.fixed,
        needs_seed=SEED in {value.name for value in model.graph.input},
        pooling=backbone.pooling,
        width=backbone.width,
        tokenizer=tokenizer,
        measured=measured,
    )
    (folder / "README.md").write_text(text)
    return card


def _write_tokenizer(tokenizer: Any, max_length: int, folder: Path) -> None:
    """Write a tokenizer that transformers 4 reads, too, since optimum needs that version."""
    tokenizer.model_max_length = max_length  # where other libraries cut texts
    tokenizer.save_pretrained(folder)
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text())
    if config["tokenizer_class"] == "TokenizersBackend":
        config["tokenizer_class"] = "PreTrainedTokenizerFast"
    if extra := config.pop("extra_special_tokens", None):
        config["additional_special_tokens"] = extra
    path.write_text(json.dumps(config, indent=2) + "\n")


def _bounds(reducer: TokenReducer) -> dict[Bound, float]:
    """Bounds of the budget, from its field or from the method's range."""
    schema = reducer.Params.model_json_schema(by_alias=False).get("properties", {})
    field = schema.get(reducer.budget_name, {})
    bounds: dict[Bound, float] = {name: field[name] for name in BOUNDS if name in field}
    return bounds or ({} if reducer.budget_range is None else {"minimum": 0})


def read_card(folder: Path) -> ExportedCard:
    """The card of an exported model that is whole."""
    path = folder / CONFIG
    where = in_file(path)
    content = read_object(path).get(CARD)
    card = validate(ExportedCard, content, lambda key, fault: where((CARD, *key), fault))
    verify(folder, card.files, CONFIG)
    _check_graph(folder / MODEL, card)
    return card


def _check_graph(path: Path, card: ExportedCard) -> None:
    """Refuse a graph with weights in another file, which may lie anywhere, or with a loop.

    Refused is also one without the budget that its card says is an input.
    """
    need("onnx")
    import onnx

    try:
        model = onnx.load(path, load_external_data=False)
        for part in _parts(model):
            if isinstance(part, onnx.TensorProto) and part.data_location:
                raise ValueError(f"the weights of {part.name} are in another file")
            if isinstance(part, onnx.NodeProto) and part.op_type in ("Loop", "Scan"):
                raise ValueError(f"{part.name} is a loop")
        if card.budget_input and BUDGET not in {value.name for value in model.graph.input}:
            raise ValueError("the budget is no input")
    except Exception as error:  # protobuf has exceptions of its own
        raise InputError(f"{path}: damaged ({one_line(error)}); export the model again") from error


def _parts(message: Message) -> Iterator[Message]:
    """A message and all that it holds, at any depth."""
    yield message
    for field, value in message.ListFields():
        if field.message_type is not None:
            for part in value if hasattr(value, "__len__") else [value]:
                yield from _parts(part)
