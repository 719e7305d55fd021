"""The file of a new method, made from a working example in ``templates/``."""

from __future__ import annotations

import re
from pathlib import Path

from lotbench import registry
from lotbench.errors import InputError


def write_method(name: str, folder: Path, kind: str = "fixed") -> Path:
    """The path of a new method's file, written to ``folder`` from the example of this kind."""
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name):
        raise InputError(
            f"{name!r} is not a valid method name; use lower-case letters, digits and "
            "single hyphens, such as my-method"
        )
    if name in registry.names():
        raise InputError(f"the method name {name!r} is in use; choose another")
    path = folder / f"{name.replace('-', '_')}.py"
    example = Path(__file__).parent / "templates" / f"{kind}.py"
    text = example.read_text(encoding="utf-8").replace("my-method", name)
    text = text.replace("MyMethod", "".join(part.capitalize() for part in name.split("-")))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        why = f"cannot be written: {error.strerror}"
        if isinstance(error, FileExistsError):
            why = "exists and was not changed; choose another name"
        raise InputError(f"{path} {why}") from error
    return path
