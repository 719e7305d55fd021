"""The cache of what trials share: each file or folder is made once, and checked when it is read.

It is written to a temporary folder first, so that no file in the cache is incomplete.  What is
damaged later is named and rebuilt.  With a cache in a bucket, what is missing here is pulled, and
what is made here is pushed.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import numpy as np

from lotbench.store import bucket

log = logging.getLogger(__name__)

DIGEST = 16
"""Bytes of the checksum behind an array."""


def cache_folder() -> Path:
    """The folder of shared artefacts: that of ``LOTBENCH_CACHE``, or ``~/.cache/lotbench``."""
    return bucket.mirror(os.environ.get("LOTBENCH_CACHE") or bucket.local_cache())


def once(path: Path, make: Callable[[Path], None], check: Callable[[Path], object]) -> None:
    """Makes a file or folder, unless it exists and is whole.

    Only one process makes it, and the others never see a part of it.  ``make`` writes it to the
    given place, and ``check`` raises if what is there is damaged.
    """
    from filelock import FileLock

    if path.exists() and _fault(path, check) is None:
        bucket.push(path)  # if that failed when it was made
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{path}.lock"):
        bucket.pull(path)
        if path.exists():
            fault = _fault(path, check)  # another process may have rebuilt it
            if fault is not None and bucket.place_of(path):  # the bucket's may be whole
                _remove(path)
                bucket.pull(path)
                fault = _fault(path, check)
            if fault is None:
                return
            log.warning("%s: damaged (%s), so it is rebuilt", path, fault)
        # Under the lock, a folder that exists was left by a process that was killed.
        temporary = path.parent / f".making-{path.name}"
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        try:
            make(temporary / path.name)
            if path.is_dir():  # a folder is not replaced by a rename
                _remove(path)
            os.replace(temporary / path.name, path)
            bucket.push(path)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def hashed(text: str) -> str:
    """A short hash of a text, for a name in the cache."""
    return sha256(text.encode()).hexdigest()[:16]


@contextmanager
def scratch(kind: str, owner: str, name: str) -> Iterator[Path]:
    """A folder for large files of this process, removed at the end of the block.

    It stays if the block raises, for the next process that asks for it.  Folders of other owners
    that such processes left are removed first.
    """
    from filelock import FileLock

    cache = cache_folder()
    cache.mkdir(parents=True, exist_ok=True)
    folder = cache / f"{kind}-{owner}-{name}"
    with FileLock(cache / f"{kind}.lock"):
        for left in cache.glob(f"{kind}-*"):
            if left.name.startswith(f"{kind}-{owner}-"):
                continue
            try:
                with FileLock(left / "lock", timeout=0):
                    shutil.rmtree(left, ignore_errors=True)
            except OSError:  # its process lives, or it is another user's
                continue
    folder.mkdir(exist_ok=True)
    with FileLock(folder / "lock"):
        folder.mkdir(exist_ok=True)  # a process that was waited for has removed it
        yield folder
        shutil.rmtree(folder, ignore_errors=True)


def stored_array(
    path: Path, shape: tuple[int, ...], compute: Callable[[], np.ndarray]
) -> np.ndarray:
    """The float32 array of a file, computed and stored if the file is missing or damaged."""

    def make(place: Path) -> None:
        array = np.ascontiguousarray(compute(), dtype=np.float32)
        with place.open("wb") as file:
            np.save(file, array)
            file.write(_digest(array))  # numpy reads no further than the array

    once(path, make, lambda place: _read(place, shape))
    return _read(path, shape)


def _read(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """The array of a file, refused if it has another shape or is not what was written.

    Older files have no checksum.
    """
    with path.open("rb") as file:
        array = np.load(file, allow_pickle=False)
        digest = file.read(DIGEST + 1)
    if array.dtype != np.float32 or array.shape != shape:
        raise ValueError(f"{array.dtype} of shape {array.shape}, not float32 of shape {shape}")
    if digest and digest != _digest(array):
        raise ValueError("its checksum does not fit")
    return array


def _digest(array: np.ndarray) -> bytes:
    import xxhash

    return xxhash.xxh3_128_digest(np.ascontiguousarray(array).view(np.uint8).data)


def _remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def _fault(path: Path, check: Callable[[Path], object]) -> str | None:
    """The fault of a file or folder of the cache, or None."""
    try:
        check(path)
    except Exception as error:  # damaged files raise whatever their readers raise
        first = (str(error).splitlines() or [type(error).__name__])[0]
        # Without path and advice: the caller prints the path and rebuilds the file.
        return first.removeprefix(str(path)).lstrip("/: ").partition("; ")[0]
    return None
