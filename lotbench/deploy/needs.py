"""The packages of the extra ``deploy``."""

from __future__ import annotations

import importlib.util

from lotbench.errors import InputError


def need(*packages: str) -> None:
    """Refuse to go on without these packages.

    Raises
    ------
    InputError
        If one is not installed.
    """
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(
            f"{', '.join(missing)} is not installed; install it with: "
            "pip install 'lotbench[deploy]'"
        )
