"""Atomic writes of files, reading of JSON files, and the lock of a store.

Many processes write at once, and any of them may be killed.  So a file is written under a temporary
name and then renamed.  Only names that end in ``.json`` are read.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lotbench.errors import InputError


def as_json(value: Any) -> str:
    """The text of a JSON file; a ValueError or TypeError for what JSON does not have."""
    json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    return json.dumps(value, indent=1, allow_nan=False)


def write_json(path: Path, value: Any) -> Path:
    """Write ``value`` to the path, which is returned."""
    return write_file(path, as_json(value))


def write_file(path: Path, content: str | bytes) -> Path:
    """Write a file to the path, which is returned.

    A reader sees the old file or the new one, never a part.  A link is replaced, not followed.
    """
    with replacing(path) as temporary, temporary.open("xb") as file:
        file.write(content.encode() if isinstance(content, str) else content)
        file.flush()
        os.fsync(file.fileno())
    return path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path for a new file, which takes the place of the old one at the end of the block."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # In the same folder, because a rename is atomic only within one file system.
    temporary = path.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def subfolder(store: Path, name: str) -> Path:
    """The folder of this name in a store, created if it is missing; a link is refused."""
    _refuse_link(store / name)
    (store / name).mkdir(parents=True, exist_ok=True)
    return store / name


def read_json(path: Path) -> Any:
    """The value of a JSON file; a ValueError says why it is none."""
    if path.exists() and not path.is_file():  # a pipe or a device may never end
        raise ValueError("not a regular file")
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        # Python also reads NaN, 1e999 and half of a surrogate pair, which no file can hold.
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return value


@contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Locks a store against other sweeps and measurements while the block runs."""
    from filelock import FileLock, Timeout

    folder.mkdir(parents=True, exist_ok=True)
    _refuse_link(folder / "sweep.lock")
    try:
        held = FileLock(folder / "sweep.lock").acquire(timeout=0)
    except Timeout:
        raise InputError(
            f"{folder}: another process is using this store; wait for it, or rename your sweep"
        ) from None
    with held:
        yield


def _refuse_link(path: Path) -> None:
    if path.is_symlink():
        raise InputError(f"{path}: a link, which may lead out of the store; remove it")
