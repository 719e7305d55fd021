"""How a rule says that it is broken."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from lotbench import registry
from lotbench.errors import InputError
from lotbench.reducer import TokenReducer


class Broken(Exception):
    """A rule is broken: says on which input, and how far off."""


class NotSeen(Exception):
    """The case that the rule is about did not occur."""


@contextmanager
def on(cls: type[TokenReducer], where: str) -> Iterator[None]:
    """Turns what is raised inside into `Broken`, with the input it happened on.

    An `InputError` stays one: it speaks of hyper-parameters that were given.
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
    """An exception in one line."""
    return f"{type(error).__name__}: {registry.explain(error, cls)}"
