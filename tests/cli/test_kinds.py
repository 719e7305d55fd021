"""Sweeps, trials and a search over sentence vectors and rankings, from files to report."""

import math
import random
from pathlib import Path
from typing import Any

import pytest
from commands import app, call
from test_searches import content

import lotbench
from lotbench.engine.checkpoint import read_card
from lotbench.plan.resolve import resolve
from lotbench.store.rows import Trial
from lotbench.store.store import Store
from lotbench.trial.checks import stored_config
from lotbench.trial.trial import run_alone

# Each trains.
pytestmark = pytest.mark.slow

WORDS = ["plot", "cast", "film", "scene", "camera", "music", "story", "actor", "script", "ending"]
METHODS: dict[str, Any] = {"dense": {}, "lot": {"decision_every": 2}, "bag": {}}
# Nothing is timed: that is the same for every kind of task.
SHORT = {"measure": None, "targets": [1.5]}


@pytest.fixture(scope="module")
def backbone(wide_backbone) -> Path:
    return wide_backbone


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """Folders of CSV files: documents with queries, scored pairs, and groups of three."""
    folder, draw = tmp_path_factory.mktemp("kinds"), random.Random(0)

    def words(least: int, most: int) -> list[str]:
        return draw.choices(WORDS, k=draw.randint(least, most))

    for split, count in (("train", 60), ("validation", 20)):
        rows: dict[str, list[str]] = {
            "items": ["body,question"],
            "pairs": ["one,other,score"],
            "ranks": ["ask,answer,relevance"],
        }
        for number in range(count):
            body = [*words(8, 30), f"{number}"]
            rows["items"].append(f"{' '.join(body)},{' '.join(body[:3])} {number}")
            own, other = words(3, 8), words(3, 8)
            shared = len({*own} & {*other})
            rows["pairs"].append(f"{' '.join(own)} {number},{' '.join(other)} {number},{shared}")
            ask = f"{' '.join(words(3, 4))} {number}"
            rows["ranks"] += [f"{ask},{ask} {' '.join(words(3, 9))},1"]
            rows["ranks"] += [f"{ask},{' '.join(words(8, 14))} {place},0" for place in "ab"]
        for name, lines in rows.items():
            (folder / name).mkdir(exist_ok=True)
            (folder / name / f"{split}.csv").write_text("\n".join(lines))
    return folder


@pytest.fixture
def tasks(data) -> dict[str, dict[str, Any]]:
    vectors = {"kind": "embedding", "pooling": "mean", "max_length": 24}
    pair = {"text": ["ask", "answer"], "label": "relevance", "kind": "ranking", "group": "ask"}
    return {
        "items": vectors | {"source": f"{data}/items", "text": "body", "query": "question"},
        "pairs": vectors | {"source": f"{data}/pairs", "text": ["one", "other"], "label": "score"},
        "ranks": pair | {"source": f"{data}/ranks", "max_length": 24, "protect": "first"},
    }


def swept(path: Path, folder: Path) -> list[Trial]:
    """The rows of a sweep whose trials are all done."""
    done = call("sweep", path, "--workers", "1", "--results", folder)
    assert done.returncode == 0, done.stderr
    (store,) = folder.iterdir()
    trials = Store(store).trials()
    assert {trial.status for trial in trials} == {"done"}
    return trials


def metrics(trials: list[Trial], task: str) -> set[tuple[str, ...]]:
    return {tuple(own.metrics) for each in trials if each.task == task for own in each.evaluations}


def repeats(trials: list[Trial], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each trial gives the same row in another store, in this process, with another teacher."""
    monkeypatch.setenv("LOTBENCH_CACHE", str(folder / "cache"))
    for trial in trials:
        again = run_alone(resolve(stored_config(trial)), Store(folder / "again"))
        assert content(again) == content(trial)


def read(store: Path) -> None:
    """The commands that read a store have nothing to complain of."""
    for command in ("plot", "report", "validate"):
        assert not app(command, store), command
    assert list(store.glob("figures/*-score-vs-flops.png")) and (store / "report.html").exists()


def test_a_sweep_over_vectors_and_a_ranking(sweep_file, tasks, tmp_path, monkeypatch):
    path = sweep_file(name="kinds", tasks=tasks, methods=METHODS, **SHORT)
    trials = swept(path, tmp_path / "results")
    assert len(trials) == 9
    assert metrics(trials, "items") == {("mrr", "overlap", "cosine")}
    assert metrics(trials, "pairs") == {("spearman", "overlap", "cosine")}
    assert metrics(trials, "ranks") == {("ndcg", "mrr", "agreement")}
    bags = [own for trial in trials if trial.method == "bag" for own in trial.evaluations]
    assert {tuple(own.keep_ratio) for own in bags} == {(0.0, 0.0)}
    read(tmp_path / "results/kinds")
    repeats(trials[::4], tmp_path, monkeypatch)  # one of each task, and of each method


def test_a_model_is_scored_on_longer_texts_than_it_was_trained_on(trial_file, tasks, tmp_path):
    task = tasks["items"] | {"name": "items", "max_length": 12}
    path = trial_file("lot", task=task, evaluate={"max_length": 40})
    done = call("run", path, "--results", tmp_path / "long")
    assert done.returncode == 0, done.stderr
    assert "validation: threshold=0.5 mrr " in done.stdout
    (long,) = Store(tmp_path / "long").trials()
    short = lotbench.run(trial_file("lot", task=task), tmp_path / "short")
    for trial, name, length in ((long, "long", 40), (short, "short", 12)):
        assert read_card(tmp_path / name / str(trial.model)).max_length == length
    # The texts have ten tokens or more, and twenty in the mean.
    assert long.evaluations[0].dense_flops > 1.4 * short.evaluations[0].dense_flops


@pytest.mark.long
def test_a_search_over_vectors(sweep_file, tasks, tmp_path):
    methods = {"dense": {}, "lot": {"top_p": {"uniform": [0.2, 0.8]}, "decision_every": 2}}
    path = sweep_file(
        name="search",
        tasks={"items": tasks["items"]},
        methods=methods,
        search={"trials": 2},
        confirm={"seeds": [0]},
        **SHORT,
    )
    trials = swept(path, tmp_path / "results")
    marks = [trial.search for trial in trials if trial.search and trial.method == "lot"]
    assert [mark.part for mark in marks].count("confirmation") == 1
    areas = [mark.area or 0 for mark in marks if mark.part == "search"]
    # `lotbench validate` makes them again from the rows.
    assert len(areas) == 2 and all(0 < area < 30 * math.log2(1.5) for area in areas)
    read(tmp_path / "results/search")
