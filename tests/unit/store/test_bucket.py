"""A bucket and its mirrors: what is pulled, pushed, kept and refused."""

import os
from contextlib import contextmanager
from pathlib import Path

import pytest
from stores import evaluation, failed, timing, trial

from lotbench.errors import InputError
from lotbench.store import bucket
from lotbench.store.passes import TimingPass
from lotbench.store.rows import Searched, Trial
from lotbench.store.store import Store

pytestmark = pytest.mark.slow  # a local S3 server


@pytest.fixture
def on(s3, tmp_path, monkeypatch):
    """Goes to a machine, and returns its mirror of this test's folder in a bucket."""
    uri = s3("bucket").replace("?", f"/{tmp_path.name}?")

    def machine(name: str) -> Path:
        monkeypatch.setenv("LOTBENCH_CACHE", str(tmp_path / name))
        return bucket.mirror(uri)

    return machine


def row(status: str = "done", score: float = 0.9, **more) -> Trial:
    made = trial("a", "lot", [evaluation(score, 2.0)]) if status == "done" else failed("a")
    return Trial.model_validate({**made, **more})


@pytest.mark.parametrize("place", ["results", "/a@b", "../c", "file:///a/b%20c", "file:///a"])
def test_a_path_is_no_mirror(place):
    path = bucket.mirror(place)
    assert str(path) == place.removeprefix("file://").replace("%20", " ")
    assert bucket.place_of(path) is None
    assert bucket.address(path) == str(path.absolute())


@pytest.mark.parametrize(
    "uri",
    [
        "s3://bucket",
        "s3://bucket/a/b",
        "gs://bucket/a%20b%40c",
        "s3://bucket/results?endpoint_override=127.0.0.1:5000&scheme=http",
    ],
)
def test_a_mirror_knows_its_uri(uri, tmp_path, monkeypatch):
    monkeypatch.setenv("LOTBENCH_CACHE", str(tmp_path))
    folder = bucket.mirror(uri)
    assert folder.is_relative_to(tmp_path / "buckets")
    assert bucket.address(folder) == uri
    head, mark, query = uri.partition("?")
    assert bucket.address(folder / "name") == f"{head}/name{mark}{query}"


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("s3://", "no folder of a bucket"),
        ("s3:///results", "no folder of a bucket"),
        ("s3://bucket/../../other", "no folder of a bucket"),
        ("s3://KEY:SECRET@bucket/results", "AWS_SECRET_ACCESS_KEY"),
        ("s3://KEY:SEC/RET@bucket/results", "AWS_SECRET_ACCESS_KEY"),
        ("s3://KEY:SECRET@/results", "AWS_SECRET_ACCESS_KEY"),
        ("file://KEY:SECRET@host/results", "AWS_SECRET_ACCESS_KEY"),
        ("file://results/x", "write file:///FOLDER"),
    ],
)
def test_a_wrong_uri_is_refused(uri, words):
    with pytest.raises(InputError, match=words) as error:
        bucket.mirror(uri)
    assert "KEY:" not in str(error.value) and "RET@" not in str(error.value)


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("foo://bucket/results", "Unrecognized filesystem"),
        ("s3://bucket/results?colour=red", "'colour'"),
        ("s3://absent-bucket/results?{query}", "there is no bucket absent-bucket"),
    ],
)
def test_a_bucket_that_does_not_answer_is_named(uri, words, s3, tmp_path, monkeypatch):
    monkeypatch.setenv("LOTBENCH_CACHE", str(tmp_path))
    folder = bucket.mirror(uri.format(query=s3("present").partition("?")[2]))
    with pytest.raises(InputError, match=words) as error:
        bucket.pull(folder)
    assert str(error.value).startswith(uri.partition("?")[0])
    assert "check URI, credentials and network" in str(error.value)


LOST = "When listing: AWS Error NETWORK_CONNECTION during ListObjectsV2: curlCode: 7"


@pytest.mark.parametrize(
    ("error", "raised", "tries"),
    [
        (OSError(LOST), InputError, 3),
        (OSError("AWS Error ACCESS_DENIED during PutObject"), InputError, 1),
        (OSError(28, "No space left on device"), OSError, 1),
        (PermissionError(13, "Permission denied", "file"), PermissionError, 1),
    ],
)
def test_only_a_fault_of_the_network_is_tried_again(on, monkeypatch, error, raised, tries):
    found, own = [], bucket._system

    def system(place: bucket.Place):
        found.append(place)
        if len(found) <= passing:
            raise error
        return own(place)

    monkeypatch.setattr(bucket, "_system", system)
    monkeypatch.setattr(bucket, "WAITS", (0, 0))
    file = on("first") / "file"
    file.parent.mkdir(parents=True)
    for work in (bucket.push, bucket.pull, bucket.read):
        passing = 9
        file.touch()
        found.clear()
        with pytest.raises(raised) as seen:
            work(file)
        assert len(found) == tries and (raised is InputError or seen.value is error)
        if tries > 1:
            passing = 2
            found.clear()
            work(file)
            assert len(found) == 3


def test_what_one_machine_pushes_another_pulls(on):
    first = on("first")
    (first / "sub").mkdir(parents=True)
    for name in ("top", "sub/one", "sub/two.lock", ".half.tmp"):
        (first / name).write_text(name)
    bucket.push(first)
    second = on("second")
    bucket.pull(second, "sub")
    assert [path.name for path in second.rglob("*") if path.is_file()] == ["one"]
    bucket.pull(second)
    files = {path.name: path.read_text() for path in second.rglob("*") if path.is_file()}
    assert files == {"top": "top", "one": "sub/one"}
    assert bucket.read(second / "top") == b"top"
    assert bucket.read(second / "absent") is None


@pytest.fixture(params=[-3600, 0, 3600], ids=["behind", "right", "ahead"])
def clock(request, monkeypatch):
    """The clock of the server, in seconds from that of this machine."""
    own = bucket._time
    monkeypatch.setattr(bucket, "_time", lambda info: own(info) + request.param * bucket.SECOND)


def test_only_what_changed_is_copied_and_no_change_is_lost(on, clock):
    first = on("first")
    first.mkdir(parents=True)
    (first / "page").write_text("old")
    bucket.push(first)
    assert bucket.unpushed(first) == []
    second = on("second")
    bucket.pull(second)
    inode = (second / "page").stat().st_ino
    bucket.pull(second)
    assert (second / "page").stat().st_ino == inode and bucket.unpushed(second) == []
    # A change on the second machine, which the first gets.
    (second / "page").write_text("new and longer")
    assert bucket.unpushed(second) == [second / "page"]
    bucket.pull(second)
    assert (second / "page").read_text() == "new and longer"
    bucket.push(second)
    on("first")
    bucket.pull(first)
    assert (first / "page").read_text() == "new and longer"


def test_a_copy_whose_file_was_deleted_in_the_bucket_is_removed(on):
    first = on("first")
    for name in ("models/a/weights", "models/b/weights", "models/b/own", "models/c/weights"):
        (first / name).parent.mkdir(parents=True, exist_ok=True)
        (first / name).write_text(name)
    bucket.push(first)
    (first / "models/c/weights").write_text("changed here")
    (first / "models/b/own").touch()
    place = bucket.place_of(first)
    bucket._system(place).delete_dir(f"{place.path}/models")
    bucket.push(first / "models/a")
    assert bucket.read(first / "models/a/weights") is None
    bucket.pull(first, "models")
    left = {str(path.relative_to(first)) for path in first.rglob("*")}
    assert left == {"models", *(f"models/{own}" for own in ("b", "b/own", "c", "c/weights"))}
    assert (first / "models/c/weights").read_text() == "changed here"


def test_a_key_that_leads_out_of_the_mirror_is_left(on):
    from moto.backends import get_backend

    folder = on("first")
    place = bucket.place_of(folder)
    name, _, prefix = place.path.partition("/")
    # Behind the server's back, since clients tidy paths up.
    held = get_backend("s3")["123456789012"]["global"]
    for key in (f"{prefix}/../../escaped", f"{prefix}/inside"):
        held.put_object(name, key, b"x")
    bucket.pull(folder)
    assert [path.name for path in folder.parents[2].rglob("*") if path.is_file()] == ["inside"]


def test_a_finished_row_is_never_overwritten_a_failed_one_is(on):
    def stored(machine: str, record: Trial) -> Store:
        store = Store(on(machine))
        model = store.folder / "models/a"
        model.mkdir(parents=True, exist_ok=True)
        (model / "weights").write_text(machine)
        store.write(record)
        return store

    stored("first", row("failed"))
    stored("second", row(score=0.8, model="models/a"))
    late = stored("third", row(score=0.7, model="models/a"))
    assert late.done()["a"] == row(score=0.8, model="models/a")
    bucket.pull(late.folder, "models")
    assert (late.folder / "models/a/weights").read_text() == "second"
    stored("fourth", row("failed"))
    reader = Store(on("fifth"))
    reader.pull()
    assert reader.trials() == [row(score=0.8, model="models/a")]
    assert not (reader.folder / "models").exists()
    # A mark is no other training.
    mark = Searched(
        part="superseded", key="h", algorithm="random", index=1, space={}, end=4.0, chosen="a"
    )
    reader.write(reader.trials()[0].model_copy(update={"search": mark}))
    on("third")
    late.pull()
    assert [own.search for own in late.trials()] == [mark]


@pytest.fixture
def down(monkeypatch):
    """A block in which nothing can be pushed."""

    def refuse(*_):
        raise OSError("no network")

    @contextmanager
    def block():
        with monkeypatch.context() as patch:
            patch.setattr(bucket, "_upload", refuse)
            yield

    return block


def test_a_finished_row_that_was_not_pushed_replaces_a_failed_one(on, clock, down):
    Store(on("first")).write(row("failed"))
    worker = Store(on("second"))
    worker.pull()
    with down(), pytest.raises(InputError, match="no network"):
        worker.write(row())
    Store(on("first")).write(row("failed", seconds=2.0))
    on("second")
    bucket.pull(worker.folder)
    assert worker.trials() == [row()]
    worker.pull()
    reader = Store(on("third"))
    reader.pull()
    assert reader.trials() == worker.trials() == [row()]


def test_what_could_not_be_pushed_is_pushed_later(on, down):
    store = Store(on("first"))
    model = store.folder / "models/a"
    model.mkdir(parents=True)
    (model / "weights").touch()
    with down():
        with pytest.raises(InputError, match="no network"):
            store.write(row(model="models/a"))
        with pytest.raises(InputError, match="no network"):
            store.write(TimingPass.model_validate(timing("p", "2026-01-01T00:00:00+00:00", [])))
    (store.folder / "ray").mkdir()
    (store.folder / "ray/log").touch()
    (store.folder / "README.md").touch()
    store.push()
    other = on("second")
    bucket.pull(other)
    files = {str(path.relative_to(other)) for path in other.rglob("*") if path.is_file()}
    (own,) = Store(other).timings()
    timed = f"timings/{own.pass_id}.json"
    assert files == {"README.md", "models/a/weights", timed, "trials/a.json"}


def test_the_cache_takes_what_another_machine_made(on, down, tmp_path, monkeypatch):
    from lotbench.trial.cache import cache_folder, once

    def nothing(_) -> None:
        raise AssertionError("it is there already")

    uri = bucket.address(on("anywhere"))
    monkeypatch.setenv("LOTBENCH_CACHE", uri)

    def make(place: Path) -> None:
        place.mkdir()
        (place / "weights").write_text(os.environ["HOME"])

    def check(place: Path) -> None:
        if not (place / "weights").read_text().endswith("first"):
            raise ValueError("no weights")

    for home in ("first", "second"):
        monkeypatch.setenv("HOME", str(tmp_path / home))
        folder = cache_folder() / "teachers/model"
        assert folder.is_relative_to(tmp_path / home / ".cache/lotbench/buckets")
        once(folder, make, check)
    assert (folder / "weights").read_text().endswith("first")
    # What is damaged here is taken from the bucket; what is not there is made, and pushed later.
    (folder / "weights").write_text("damaged")
    once(folder, make, check)
    assert (folder / "weights").read_text().endswith("first")
    monkeypatch.setenv("HOME", str(tmp_path / "other first"))
    folder = cache_folder() / "teachers/other"
    with down(), pytest.raises(InputError, match="no network"):
        once(folder, make, check)
    once(folder, nothing, check)
    made = str(tmp_path / "other first").encode()
    assert bucket.read(folder / "weights") == made
    # With both damaged, it is made again.
    (folder / "weights").write_text("damaged")
    bucket.push(folder)
    once(folder, make, check)
    assert bucket.read(folder / "weights") == made
    for _ in range(2):
        bucket.remove(folder / "weights")
    assert bucket.read(folder / "weights") is None and not (folder / "weights").exists()
