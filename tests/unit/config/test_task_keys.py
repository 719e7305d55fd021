"""The keys of tasks: which kind has which, and what a task is."""

from pathlib import Path

import pytest

from lotbench.config.expand import expand
from lotbench.config.load import load_sweep, load_trial
from lotbench.config.sections import SweepConfig, TaskConfig
from lotbench.config.tasks import kind_of
from lotbench.errors import InputError
from lotbench.kinds.registry import KINDS


def sweep_of(folder: Path, task: str, more: str = "") -> SweepConfig:
    path = folder / "file.yaml"
    path.write_text(f"name: x\nbackbone: a/b\ntasks:\n  {task}\nmethods: {{dense: {{}}}}\n{more}")
    return load_sweep(path)[0]


MINE = "mine: {source: ./x, "
RANKING = f"{MINE}kind: ranking, text: [a, b], group: a"


@pytest.mark.parametrize(
    ("task", "fault"),
    [
        (
            "rte: {kind: vectors}",
            "rte.kind: Input should be 'embedding', 'ranking' or ",
        ),
        (
            "a: {source: csv}",
            "a.source: 'csv' is neither a built-in task, a folder here nor a hub ",
        ),
        ("a: {source: a/b/c}", "a.source: 'a/b/c' is neither a built-in task, a folder here nor"),
        ("rte: {pooling: max}", "rte.pooling: Input should be 'mean' or 'cls' (given: "),
        ("rte: {protect: last}", "rte.protect: Input should be 'first' (given: "),
        ("rte: {query: q}", "rte.query: only an embedding has it, and rte is a classification; re"),
        (
            "rte: {pooling: cls}",
            "rte.pooling: only an embedding has it, and rte is a classification"
            "; remove it, or set `kind: embedding`",
        ),
        ("rte: {reduce: both}", "rte.reduce: only an embedding has it, and rte is a classifi"),
        (
            "rte: {group: g}",
            "rte.group: only a ranking has it, and rte is a classification; remove it",
        ),
        ("stsb: {limit: {labelled: 9}}", "stsb.limit.labelled: only a classification has it, and "),
        (f"{MINE}kind: ranking, group: g}}", "mine.text: a ranking needs two columns, the text "),
        (f"{MINE}kind: ranking, text: [a, b]}}", "mine.group: a ranking needs the column that "),
        (f"{RANKING}, query: q}}", "mine.query: only an embedding has it, and "),
        (
            f"{RANKING}, pooling: cls}}",
            "mine.pooling: only an embedding has it, and mine ... ; remove it, or change `kind`",
        ),
        (f"{RANKING}, regression: true}}", "mine.regression: only a classification or a "),
        ("rte: {kind: embedding, regression: true}", "rte.regression: only a classification or "),
        ("rte: {kind: embedding, group: g}", "rte.group: only a ranking has it, and rte is an "),
        ("rte: {kind: embedding, protect: first}", "rte.protect: only a classification, a regr"),
        ("rte: {kind: embedding, reduce: both}", "rte.reduce: it concerns queries; name their "),
        ("rte: {kind: embedding, query: q}", "rte.query: it needs one other column in `text`; "),
        (
            f"{MINE}kind: embedding, text: a, query: a}}",
            "mine.query: it must be another column than `text`",
        ),
        (f"{MINE}kind: embedding, text: a, label: y}}", "mine.label: only pairs have a score; "),
        (f"{MINE}kind: span, text: a}}", "mine.text: a span needs two columns, the question first"),
        (f"{MINE}kind: span, label: a}}", "mine.label: the columns `answer` and `start`, or `ans"),
        (f"{MINE}protect: first}}", "mine.protect: only a pair has a first text; name two colum"),
        (f"{MINE}pooling: cls}}", "mine.pooling: only an embedding has it, and mine is a classifi"),
        ("rte: {windows: true}", "rte.windows: only a single text is read on behind `max_len"),
        (
            "stsb: {windows: true}",
            "stsb.windows: only a classification has it, and stsb is a regr ... ; remove it",
        ),
        ("imdb: {protect: first}", "imdb.protect: imdb has single texts; remove `protect`"),
        ("imdb: {evidence: e}", "imdb.evidence: the columns of imdb are fixed; remove `evidence`"),
        ("rte: {kind: embedding, evidence: e}", "rte.evidence: only a classification, a regres"),
        ("rte: {evidence: [e]}", "rte.evidence: Input should be a valid string"),
        (
            "imdb: {kind: ranking}",
            "imdb.kind: its labels are classes, no relevance; give a folder ",
        ),
        ("qnli: {kind: ranking, group: question}", "qnli.kind: its labels are classes, no relev"),
        (
            f"{MINE}group: g}}",
            "mine.group: only a ra ... ; remove it, or set `kind: ranking`",
        ),
        ("bbc_headlines: {pooling: cls}", "bbc_headlines.pooling: only an  ... ; remove it"),
        ("bbc_known_item: {query: q}", "bbc_known_item.query: the columns  ... ; remove `query`"),
        ("bbc_headlines: {kind: embedding}", "bbc_headlines.kind: bbc_headlines is always a rank"),
        ("bbc_known_item: {regression: true}", "bbc_known_item.regression: only a classificati"),
        ("new: {source: bbc_headlines, group: g}", "new.group: the columns of bbc_headlines are"),
        ("new: {source: imdb, subset: s}", "new.subset: only a hub dataset given as `source` h"),
    ],
)
def test_a_key_that_a_task_cannot_have_is_named(tmp_path, task, fault):
    with pytest.raises(InputError) as caught:
        sweep_of(tmp_path, task)
    message, (start, _, end) = str(caught.value), fault.partition(" ... ")
    assert message.startswith(f"{tmp_path / 'file.yaml'}:4: tasks.{start}") and "\n" not in message
    assert message.endswith(end)


def test_a_source_that_is_a_folder_and_a_built_in_task_is_refused(tmp_path, monkeypatch):
    (tmp_path / "imdb").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"new.source: 'imdb' is a built-in .*; write ./imdb for"):
        sweep_of(tmp_path, "new: {source: imdb}")
    assert sweep_of(tmp_path, "imdb: {source: ./imdb}").tasks["imdb"].source == "./imdb"


@pytest.mark.parametrize(
    ("task", "kind"),
    [
        ("rte:", "classification"),
        ("rte: {protect: first}", "classification"),
        ("stsb:", "regression"),
        ("stsb: {regression: false}", "classification"),
        ("stsb: {kind: embedding, label: score}", "embedding"),
        (f"{RANKING}, protect: first}}", "ranking"),
        ("qnli: {kind: embedding, text: sentence, query: question, reduce: both}", "embedding"),
        ("imdb: {kind: embedding, pooling: cls}", "embedding"),
        ("bbc_256: {source: bbc_known_item, max_length: 256, reduce: both}", "embedding"),
        ("bbc_headlines: {protect: first}", "ranking"),
        (f"{MINE}kind: embedding, query: b}}", "embedding"),
        (f"{MINE}kind: embedding, text: [a, b], label: c}}", "embedding"),
    ],
)
def test_the_kind_of_a_task(tmp_path, task, kind):
    ((name, data),) = sweep_of(tmp_path, task).tasks.items()
    assert kind_of(name, data).name == kind


def test_a_task_may_name_the_kinds_that_labels_do_not_tell():
    annotation = str(TaskConfig.model_fields["kind"].annotation)
    assert [name for name in KINDS if repr(name) in annotation] == ["embedding", "ranking", "span"]
    assert [kind.name for kind in KINDS.values() if kind.named] == ["embedding", "ranking", "span"]


def test_models_may_be_scored_on_longer_texts(tmp_path):
    task, longer = "rte: {max_length: 64}", "evaluate: {max_length: 256}"
    plain, other = sweep_of(tmp_path, task), sweep_of(tmp_path, task, longer)
    assert "evaluate" not in plain.model_dump()
    assert SweepConfig.model_validate(other.model_dump()) == other
    (block,) = expand(*load_sweep(tmp_path / "file.yaml"))
    assert block.config.scored_length == 256
    path = tmp_path / "trial.yaml"
    path.write_text("backbone: a/b\ntask: {name: rte, max_length: 64}\nmethod: {name: dense}\n")
    assert load_trial(path)[0].scored_length == 64
    path.write_text(path.read_text() + longer)
    assert load_trial(path)[0] == block.config
