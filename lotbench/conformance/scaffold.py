"""A new method's file, made from the working example beside this one."""

from __future__ import annotations

import re
from pathlib import Path

from lotbench import registry
from lotbench.errors import InputError

EXAMPLE = Path(__file__).with_name("template.py")


def write(name: str, folder: Path) -> Path:
    """The file of a new method called ``name``, written to ``folder``.

    Raises
    ------
    InputError
        If the name is unfit or in use, or the file exists.
    """
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name):
        raise InputError(
            f"{name!r} is no method name: small letters, digits and single hyphens, as in my-method"
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
    except FileExistsError:
        raise InputError(f"{path} exists and is left as it is; choose another name") from None
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}") from error
    return path
