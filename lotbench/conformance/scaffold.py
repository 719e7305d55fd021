"""The file of a new method, made from the working example ``template.py``."""

from __future__ import annotations

import re
from pathlib import Path

from lotbench import registry
from lotbench.errors import InputError

EXAMPLE = Path(__file__).with_name("template.py")


def write_method(name: str, folder: Path) -> Path:
    """The path of a new method's file, written to ``folder``."""
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name):
        raise InputError(
            f"{name!r} is not a valid method name; use lower-case letters, digits and "
            "single hyphens, such as my-method"
        )
    if name in registry.names():
        raise InputError(f"the method name {name!r} is in use; choose another")
    path = folder / f"{name.replace('-', '_')}.py"
    text = EXAMPLE.read_text(encoding="utf-8").replace("my-method", name)
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
