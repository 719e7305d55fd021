"""What a fuzz allows of a damaged input: success, or one message, in time."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from lotbench.errors import InputError

SECONDS = 60
"""A damaged input that takes longer hangs; of the processor, which other work does not slow."""


class Hangs(BaseException):
    """Raised where an input takes too long; no reader of files catches it."""


@dataclass
class Verdicts:
    """How often inputs were accepted and refused, and what went wrong."""

    accepted: int = 0
    refused: int = 0
    slowest: float = 0.0
    faults: list[str] = field(default_factory=list)

    def judge(self, label: str, work: Callable[[], object], says_where: Callable[[str], bool]):
        """Runs the work; each line of its message must say where."""
        started = time.process_time()
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        try:
            work()
            self.accepted += 1
        except InputError as error:
            self.refused += 1
            lines = str(error).split("\n")
            self.faults += [f"{label}: no place: {x[:200]}" for x in lines if not says_where(x)]
        except BaseException as error:
            self.faults.append(f"{label}: {type(error).__name__}: {str(error)[:200]}")
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            self.slowest = max(self.slowest, time.process_time() - started)


@pytest.fixture
def verdicts(capsys: pytest.CaptureFixture[str]) -> Iterator[Verdicts]:
    """Fails the test with every fault; prints the counts with ``-s``."""

    def ring(*_: object) -> None:
        raise Hangs(f"not done in {SECONDS} s")

    found, before = Verdicts(), signal.signal(signal.SIGPROF, ring)
    yield found
    signal.signal(signal.SIGPROF, before)
    with capsys.disabled():
        print(
            f"\n{found.accepted} accepted, {found.refused} refused, {len(found.faults)} faults, "
            f"slowest {found.slowest:.1f} s"
        )
    assert found.faults == []


@pytest.fixture
def times() -> int:
    """Factor on the number of inputs: ``LOTBENCH_FUZZ=10 pytest tests/fuzz -m slow``."""
    return int(os.environ.get("LOTBENCH_FUZZ", "1"))
