"""Sweeps whose results and cache are in a bucket, on machines that share nothing else."""

from pathlib import Path

import pytest
from commands import call, process

from lotbench.store import bucket
from lotbench.store.store import Store

pytestmark = pytest.mark.slow


@pytest.fixture
def uris(s3, tmp_path, monkeypatch) -> tuple[str, str]:
    """The URIs of results and cache; the cache is in use."""
    results, cache = (s3("sweeps").replace("?", f"/{tmp_path.name}/{n}?") for n in ("r", "cache"))
    monkeypatch.setenv("LOTBENCH_CACHE", cache)
    return results, cache


def listed(uri: str) -> dict[str, int]:
    """The files of a folder of the bucket, and when they were written."""
    folder = bucket.mirror(uri)
    place = bucket.place_of(folder)
    found = bucket._listed(bucket._system(place), place.path)
    return {each.path.removeprefix(place.path + "/"): each.mtime_ns for each in found}


@pytest.mark.long
def test_machines_that_share_a_bucket_alone_share_a_sweep(uris, sweep_file, tmp_path, monkeypatch):
    results, cache = uris
    store = results.replace("/r?", "/r/small?")

    def on(machine: str, *command: str | Path):
        monkeypatch.setenv("HOME", str(tmp_path / machine))
        return process(*command, cwd=tmp_path)

    path = sweep_file(measure=None)
    done = on("first", "sweep", path, "--results", results)
    assert done.returncode == 0, done.stderr
    held = listed(store)
    rows = [name for name in held if name.startswith("trials/")]
    assert len(rows) == 3 and {"sweep.json", "README.md"} <= held.keys()
    for name in rows:
        assert f"models/{Path(name).stem}/model.safetensors" in held
    assert any(name.endswith("logits.npy") for name in listed(cache))
    teacher = {name: at for name, at in listed(cache).items() if name.startswith("teachers/")}
    assert not [name for name in [*held, *teacher] if name.endswith((".lock", ".tmp"))]

    # Another machine finds all rows; what it adds starts from the same teacher.
    again = on("second", "sweep", path, "--results", results)
    assert again.returncode == 0 and "all 3 trials are done" in again.stderr, again.stderr
    more = sweep_file(methods={"dense": {}, "random-drop": {}}, measure=None)
    added = on("second", "sweep", more, "--results", results)
    assert added.returncode == 0, added.stderr
    assert "1 trial ran, 1 done before, 0 failed" in added.stdout
    assert len(added.stdout.splitlines()) <= 25
    assert {name: at for name, at in listed(cache).items() if name in teacher} == teacher
    assert {name: at for name, at in listed(store).items() if name in rows} == {
        name: held[name] for name in rows
    }
    for command in ("plot", "validate", "report"):
        shown = on("third", command, store)
        assert shown.returncode == 0, shown.stderr
    assert {"report.html", "figures/reviews-score-vs-flops.png"} <= listed(store).keys()
    # The third machine has no models yet, and gets those that it times and shows.
    small = ("rounds=4", "backends=[torch-fp32]", "batch_sizes=[4]", "examples=8", "min_seconds=0")
    timed = on("third", "measure", store, *(part for own in small for part in ("--set", own)))
    assert timed.returncode == 0, timed.stderr
    assert any(name.startswith("timings/") for name in listed(store))
    mirrored = next((tmp_path / "third").rglob("small/models"))
    (model, *_) = (own for own in sorted(mirrored.iterdir()) if "-lot-" in own.name)
    of_model = store.replace("/small?", f"/small/models/{model.name}?")
    seen = on("fourth", "inspect", of_model, "--text", "a superb film")
    assert seen.returncode == 0 and "superb" in seen.stdout, seen.stderr


def test_a_bucket_that_is_not_there_is_bad_input(uris, sweep_file, tmp_path, monkeypatch):
    absent = uris[0].replace("sweeps", "absent")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for command in (("sweep", sweep_file(), "--results", absent), ("plot", absent)):
        done = call(*command, cwd=tmp_path)
        assert done.returncode == 2 and "there is no bucket absent" in done.stderr
        assert "Traceback" not in done.stderr
    assert not Store(bucket.mirror(absent.replace("/r?", "/r/small?"))).trials()
