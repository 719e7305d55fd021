"""The cache makes each thing once, and rebuilds what is damaged."""

import re

import numpy as np
import pytest

from lotbench.trial.cache import once, scratch, stored_array

WANTED = np.arange(6, dtype=np.float32).reshape(3, 2)


def nothing() -> np.ndarray:
    raise AssertionError("it is there already")


def test_an_array_is_computed_once(tmp_path):
    path = tmp_path / "a" / "logits.npy"
    assert stored_array(path, (3, 2), lambda: WANTED).tolist() == WANTED.tolist()
    assert stored_array(path, (3, 2), nothing).tolist() == WANTED.tolist()
    # A reader without checksums finds the same array.
    assert np.load(path).tolist() == WANTED.tolist()


def test_an_array_without_checksum_is_read(tmp_path):
    np.save(tmp_path / "old.npy", WANTED)
    assert stored_array(tmp_path / "old.npy", (3, 2), nothing).tolist() == WANTED.tolist()


def shifted(path) -> None:
    """The same length, with every value at another place."""
    content = path.read_bytes()
    head = len(content) - WANTED.nbytes - 16
    body = content[head : head + WANTED.nbytes]
    path.write_bytes(content[:head] + body[4:] + body[:4] + content[head + WANTED.nbytes :])


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (shifted, "its checksum does not fit"),
        (lambda path: path.write_bytes(path.read_bytes()[:-20]), "damaged"),
        (lambda path: path.write_bytes(path.read_bytes() + b"x"), "its checksum does not fit"),
        (lambda path: path.write_bytes(b""), "damaged"),
        (lambda path: path.write_bytes(b"\x93NUMPY" + b"\xff" * 200), "damaged"),
        (lambda path: np.save(path, WANTED.T), r"float32 of shape \(2, 3\), not .*\(3, 2\)"),
        (lambda path: np.save(path, WANTED.astype(float)), "float64 of shape"),
        (lambda path: np.save(path, np.array([{}]), allow_pickle=True), "damaged"),
    ],
)
def test_a_damaged_array_is_named_and_rebuilt(tmp_path, caplog, damage, words):
    path = tmp_path / "saliency.npy"
    stored_array(path, (3, 2), lambda: WANTED)
    whole = path.read_bytes()
    damage(path)
    assert path.read_bytes() != whole
    assert stored_array(path, (3, 2), lambda: WANTED).tolist() == WANTED.tolist()
    assert path.read_bytes() == whole
    (note,) = caplog.messages
    assert note.startswith(f"{path}: damaged (") and note.endswith("so it is rebuilt")
    assert re.search(words, note)


def test_a_damaged_folder_is_replaced_as_a_whole(tmp_path, caplog):
    folder = tmp_path / "model"

    def make(place) -> None:
        place.mkdir()
        (place / "weights").write_text("whole")

    def check(place) -> None:
        if (place / "weights").read_text() != "whole":
            raise ValueError("no weights")

    once(folder, make, check)
    (folder / "weights").write_text("half")
    (folder / "left over").touch()
    once(folder, make, check)
    assert [path.name for path in folder.iterdir()] == ["weights"]
    check(folder)
    assert caplog.messages == [f"{folder}: damaged (no weights), so it is rebuilt"]


def test_what_cannot_be_made_leaves_the_old_file(tmp_path):
    path = tmp_path / "logits.npy"
    np.save(path, WANTED.T)
    with pytest.raises(AssertionError, match="there already"):
        stored_array(path, (3, 2), nothing)
    assert np.load(path).shape == (2, 3)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["logits.npy", "logits.npy.lock"]


def test_a_folder_stays_for_the_process_that_goes_on(tmp_path, monkeypatch):
    monkeypatch.setenv("LOTBENCH_CACHE", str(tmp_path))
    with pytest.raises(KeyboardInterrupt), scratch("graphs", "store", "a") as first:
        (first / "0.onnx").touch()
        with scratch("graphs", "other", "b") as second:  # that of another pass, which runs
            assert {path.name for path in tmp_path.glob("graphs-*")} == {first.name, second.name}
        raise KeyboardInterrupt
    with scratch("graphs", "store", "c"):  # the pass before it, which is run again
        assert (first / "0.onnx").exists()
    with scratch("graphs", "store", "a") as again:
        assert again == first and (again / "0.onnx").exists()
    assert not list(tmp_path.glob("graphs-*"))


def test_what_another_killed_process_left_is_removed(tmp_path, monkeypatch):
    monkeypatch.setenv("LOTBENCH_CACHE", str(tmp_path))
    (tmp_path / "graphs-left").mkdir()
    (tmp_path / "graphs-left" / "0.onnx").touch()
    with scratch("graphs", "store", "a") as first:
        assert list(tmp_path.glob("graphs-*")) == [first]
