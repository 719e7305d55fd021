"""Stores and caches in a bucket: every machine works in a mirror, a local folder.

The path of a mirror contains the URI, so code passes paths on as it does without a bucket.  A file
that was copied has the time of the bucket's file, and `COPIED`.  Any other file was changed here:
`push` copies it, and `pull` leaves it as it is.  The two clocks are never compared.
"""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar
from urllib.parse import quote, unquote, urlsplit

from lotbench.errors import InputError
from lotbench.store.files import replacing

if TYPE_CHECKING:
    from pyarrow.fs import FileInfo, FileSystem

log = logging.getLogger(__name__)

Result = TypeVar("Result")

WAITS = (2, 5, 10, 20, 40, 80)
"""Seconds before each new try; a try itself takes about 6 s."""
PASSING = re.compile(
    "NETWORK_CONNECTION|TIMEOUT|UNAVAILABLE|SLOW_DOWN|THROTTLING|INTERNAL_FAILURE"
    "|DEADLINE_EXCEEDED|HTTP status 5|curlCode"
)
"""Faults that pass by themselves, as S3 and GCS name them."""
COPIES = 8
"""Files that are copied at once."""
SECOND = 1_000_000_000
COPIED = 654_321_000
"""Nanoseconds in the time of a copied file: S3 has whole seconds, and no clock hits these."""


class Place(NamedTuple):
    """A folder or file of a bucket."""

    scheme: str
    query: str
    path: str
    """With the bucket's name."""

    @property
    def uri(self) -> str:
        return f"{self.scheme}://{quote(self.path)}" + (f"?{self.query}" if self.query else "")


def local_cache() -> Path:
    """The folder of this machine's cache: ``LOTBENCH_CACHE`` if that is a folder, else the default.

    It holds the mirrors.
    """
    given = os.environ.get("LOTBENCH_CACHE", "")
    return Path("~/.cache/lotbench" if "://" in given or not given else given).expanduser()


def mirror(place: str | Path) -> Path:
    """The local folder for a URI; a path is returned as it is, and ``file:`` is a path."""
    if "://" not in str(place):
        return Path(place).expanduser()
    if "@" in str(place):  # first, since any other message shows the URI
        raise InputError(
            "a URI with an @ may contain a key, and it is stored and shown: give the key as "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; in a folder's name, write %40"
        )
    parts = urlsplit(str(place))
    if parts.scheme == "file" and parts.netloc in ("", "localhost"):
        return Path(unquote(parts.path))
    path = f"{parts.netloc}{unquote(parts.path)}".strip("/")
    if parts.scheme == "file" or not parts.netloc or ".." in path.split("/"):
        mend = "write file:///FOLDER or s3://BUCKET/FOLDER"
        raise InputError(f"{place}: no folder of a bucket or of this machine; {mend}")
    return _mirrors() / quote(f"{parts.scheme}?{parts.query}", safe="") / path


def place_of(path: Path) -> Place | None:
    """What a path in a mirror is a copy of; None for other paths."""
    path = path.absolute()
    if not path.is_relative_to(_mirrors()):
        return None
    first, *rest = path.relative_to(_mirrors()).parts
    scheme, _, query = unquote(first).partition("?")
    return Place(scheme, query, "/".join(rest))


def address(path: Path) -> str:
    """The URI of a path in a mirror, else the full path: what `mirror` finds on any machine."""
    place = place_of(path)
    return place.uri if place else str(path.absolute())


def pull(path: Path, *names: str) -> None:
    """Make a mirror like the bucket, except for what was changed here; nothing outside a mirror.

    With ``names``, only these files and folders of the folder ``path``.
    """

    def work(place: Place) -> None:
        system, wanted = _system(place), []
        for name in names or [""]:
            # Before the bucket is listed: what another process pushes meanwhile is not gone.
            copied = [file for file in _files(path / name) if not _changed(file)]
            found = _listed(system, _remote(path, place, path / name))
            theirs = {_local(path, place, info): info for info in found}
            for file in copied:
                if file not in theirs and not _changed(file):
                    file.unlink(missing_ok=True)
                    with suppress(OSError):  # others are in it
                        file.parent.rmdir()
            wanted += [
                (info, local)
                for local, info in theirs.items()
                if not _changed(local) and _state(local) != (_time(info), info.size)
            ]
        with ThreadPoolExecutor(COPIES) as pool:
            list(pool.map(lambda pair: _download(system, *pair), wanted))

    _reach(path, work)


def push(path: Path) -> None:
    """Copy what was changed here to the bucket; nothing outside a mirror."""

    def work(place: Place) -> None:
        files = unpushed(path)
        if not files:
            return
        system = _system(place)
        with ThreadPoolExecutor(COPIES) as pool:
            list(pool.map(lambda file: _upload(system, file, _remote(path, place, file)), files))

    kept = f"; {path} keeps what was not pushed, and the next command on this machine pushes it"
    _reach(path, work, kept)


def unpushed(path: Path) -> list[Path]:
    """The files that `push` would copy; temporary files and locks stay here."""
    return [] if place_of(path) is None else [file for file in _files(path) if _changed(file)]


def read(path: Path) -> bytes | None:
    """The content of a file in the bucket, whatever the mirror has; None if there is none."""

    def work(place: Place) -> bytes | None:
        system = _system(place)
        if not _listed(system, place.path):
            return None
        with system.open_input_stream(place.path) as file:
            return file.read()

    return _reach(path, work)


def remove(path: Path) -> None:
    """Remove a file, if it is there, and from its bucket."""
    path.unlink(missing_ok=True)

    def work(place: Place) -> None:
        system = _system(place)
        if _listed(system, place.path):
            system.delete_file(place.path)

    _reach(path, work)


def _mirrors() -> Path:
    return local_cache().resolve() / "buckets"


@cache
def _opened(scheme: str, query: str, bucket: str) -> FileSystem:
    """The file system of a bucket, which exists."""
    from pyarrow.fs import FileSystem, FileType

    system, _ = FileSystem.from_uri(Place(scheme, query, bucket).uri)
    if system.get_file_info(bucket).type == FileType.NotFound:
        raise OSError(f"there is no bucket {bucket}")
    return system


def _system(place: Place) -> FileSystem:
    return _opened(place.scheme, place.query, place.path.partition("/")[0])


def _reach(path: Path, work: Callable[[Place], Result], kept: str = "") -> Result | None:
    """The result of work on a bucket, done again after faults of the network.

    Nothing is done for a path outside a mirror.
    """
    place = place_of(path)
    if place is None:
        return None
    for wait in (*WAITS, None):
        try:
            return work(place)
        except (OSError, ValueError) as error:  # pyarrow raises both
            gone = isinstance(error, FileNotFoundError)  # another process removed it meanwhile
            if isinstance(error, OSError) and error.errno is not None and not gone:
                raise  # a fault of this machine's disk: those of a bucket have no number
            why = (str(error).splitlines() or [type(error).__name__])[0]
            if wait is None or not (gone or PASSING.search(why)):
                raise InputError(
                    f"{place.uri}: {why:.300}; check URI, credentials and network{kept}"
                ) from error
            log.warning("%s: %.300s; tried again in %g s", place.uri, why, wait)
            time.sleep(wait)
    raise AssertionError("the last try returns or raises")


def _listed(system: FileSystem, path: str) -> list[FileInfo]:
    """The files below a path, or the file of that path."""
    from pyarrow.fs import FileSelector, FileType

    own = system.get_file_info(path)
    if own.type == FileType.File:
        return [own]
    if own.type == FileType.NotFound:
        return []
    found = system.get_file_info(FileSelector(path, recursive=True))
    # What would lie outside of the mirror is left where it is.
    return [each for each in found if each.is_file and ".." not in each.path.split("/")]


def _local(path: Path, place: Place, info: FileInfo) -> Path:
    return path / info.path[len(place.path) :].lstrip("/")


def _remote(path: Path, place: Place, local: Path) -> str:
    return "/".join([place.path, *local.relative_to(path).parts])


def _files(path: Path) -> list[Path]:
    """A file, or the files below a folder that are whole."""
    found = [path] if path.is_file() else sorted(path.rglob("*"))
    return [
        each
        for each in found
        if each.is_file() and each.suffix != ".lock" and not each.name.startswith(".")
    ]


def _time(info: FileInfo) -> int:
    """The time of a file that is as in the bucket."""
    return info.mtime_ns // SECOND * SECOND + COPIED


def _state(local: Path) -> tuple[int, int]:
    """Time and size of a file; one that is missing differs from all, and was not changed."""
    try:
        own = local.stat()
    except FileNotFoundError:
        return COPIED, -1
    return own.st_mtime_ns, own.st_size


def _changed(local: Path) -> bool:
    return _state(local)[0] % SECOND != COPIED


def _download(system: FileSystem, info: FileInfo, local: Path) -> None:
    from pyarrow.fs import LocalFileSystem, copy_files

    with replacing(local) as temporary:
        copy_files(info.path, str(temporary), system, LocalFileSystem())
        os.utime(temporary, ns=(time.time_ns(), _time(info)))


def _upload(system: FileSystem, local: Path, path: str) -> None:
    from pyarrow.fs import LocalFileSystem, copy_files

    with local.open("rb") as file:  # not a newer one that takes its place meanwhile
        copy_files(str(local), path, LocalFileSystem(), system)
        os.utime(file.fileno(), ns=(time.time_ns(), _time(system.get_file_info(path))))
