"""JSON files that appear only when complete, and the lock of a store.

Many processes write at once and any of them may be killed at any moment, so a file is written
under a temporary name and renamed.  Only names that end in ``.json`` are ever read.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from lotbench.errors import InputError


def as_json(value: Any) -> str:
    """The text of a JSON file.

    Raises
    ------
    ValueError, TypeError
        If the value holds a NaN, an infinity or a type that JSON does not have.
    """
    return json.dumps(value, indent=1, allow_nan=False)


def write_json(path: Path, value: Any) -> Path:
    """The path, now holding ``value``; a reader sees the old file or the new one, never a part."""
    # Serialised before any file exists, so that a value without a JSON form leaves nothing behind.
    text = as_json(value)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Next to its target, because a rename is atomic only within one file system.
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("x", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def read_json(path: Path) -> Any:
    """The value of a JSON file.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is not JSON; the message says why.
    """
    text = path.read_text(encoding="utf-8")
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
        # A lone surrogate is valid JSON, but a data frame cannot hold it.
        if "\\ud" in text.lower():
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return value


@contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Keeps other sweeps and measurements out of a store while the block runs.

    Raises
    ------
    InputError
        If another process holds the lock, or the folder cannot be made.
    """
    from filelock import FileLock, Timeout

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: cannot be made ({error.strerror})") from error
    held = FileLock(folder / "sweep.lock")
    try:
        held.acquire(timeout=0)
    except Timeout:
        raise InputError(
            f"{folder}: another process is at work in this store; wait for it, or rename your sweep"
        ) from None
    try:
        yield
    finally:
        held.release()


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")
