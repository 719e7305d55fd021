"""The exceptions by which a rule reports that it is broken or was not tested."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from lotbench import registry
from lotbench.errors import InputError
from lotbench.reducer import TokenReducer


class Broken(Exception):
    """The rule is broken; the message says on which input, and by how much."""


class NotSeen(Exception):
    """The case that the rule tests did not occur."""


@contextmanager
def on(cls: type[TokenReducer], where: str) -> Iterator[None]:
    """Turns an exception inside the block into `Broken` and adds the input.

    An `InputError` is not changed: it is about the given hyper-parameters.
    """
    try:
        yield
    except InputError:
        raise
    except Broken as error:
        raise Broken(f"{error}; {where}") from None
    except Exception as error:
        raise Broken(f"{crash(error, cls)}; {where}") from error


def crash(error: Exception, cls: type[TokenReducer]) -> str:
    """An exception in one line, with the line of the method that raised it and its empty tables."""
    hint = ""
    if isinstance(error, IndexError | RuntimeError):  # what torch raises where a size is wrong
        for frame, _ in traceback.walk_tb(error.__traceback__):
            method = frame.f_locals.get("self")
            buffers = method.named_buffers() if isinstance(method, cls) else ()
            empty = [repr(name) for name, buffer in buffers if not buffer.numel()]
            if empty:
                hint = f"; {', '.join(empty)} is empty: a model that is not trained decides, too"
    return f"{type(error).__name__}: {registry.located(error, cls)}{hint}"
