"""A sweep that is killed again and again ends with what an undisturbed one has."""

import os
import random
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from commands import LOTBENCH, process

import lotbench
from lotbench.store.store import Store

pytestmark = [pytest.mark.slow, pytest.mark.long]

TRAINING, TIMING = r"teacher 1/1: ", r"contenders and \d+ dense"
"""What a sweep logs when its trials, and its timing pass, begin."""
METHODS = {"dense": {}, "lot": {"top_p": {"grid": [0.2, 0.4, 0.6, 0.8]}, "thresholds": [0.3, 0.7]}}


def wait(until: Callable[[], object], what: str, process: subprocess.Popen | None = None) -> None:
    """Waits without limit, since a busy machine is slow, but no longer than the process runs."""
    while not until():
        assert process is None or process.poll() is None, what
        time.sleep(0.1)


def processes(folder: Path) -> list[str]:
    """The names of all processes that work in the folder."""
    every = psutil.process_iter(["cwd", "name"])  # None for what another user runs
    return [each.info["name"] for each in every if each.info["cwd"] == str(folder)]


class Attacked:
    """A sweep that is started, and stopped a while after a line of its log."""

    def __init__(self, path: Path, room: Path) -> None:
        self.path, self.room, self.log = path, room, room / "log"
        self.store = Store(room / "results" / "attacked")

    def stop(self, line: str, delay: float, send: Callable[[subprocess.Popen], None]) -> int:
        """The exit code; what was stored before is still there."""
        before = self._files()
        with (
            self.log.open("w") as log,
            subprocess.Popen(
                [*LOTBENCH, "sweep", str(self.path)], cwd=self.room, stdout=log, stderr=log
            ) as process,
        ):
            missing = f"no {line!r} in {self.log}"
            wait(lambda: re.search(line, self.log.read_text()), missing, process)
            time.sleep(delay)
            send(process)
            code = process.wait()
        after = self._files()
        assert before.items() <= after.items()
        assert len(self.store.trials()) == sum(path.parent.name == "trials" for path in after)
        return code

    def leaves_nothing_running(self) -> None:
        """Fails if a process goes on; Ray's own need half a minute to notice that it is over."""
        wait(lambda: not processes(self.room), f"still running in {self.room}")

    def _files(self) -> dict[Path, int]:
        paths = [*self.store.folder.glob("trials/*.json"), *self.store.folder.glob("timings/*")]
        return {path: path.stat().st_mtime_ns for path in paths}


def test_kills_at_random_moments_lose_nothing_and_change_nothing(sweep_file, reviews, tmp_path):
    # The folder is given relative to where the sweep is started; workers find it all the same.
    task = {"source": os.path.relpath(reviews, tmp_path), "max_length": 32}
    shared: dict[str, Any] = {"tasks": {"reviews": task}, "methods": METHODS}
    draw = random.Random(20)
    attacked = Attacked(sweep_file(name="attacked", **shared), tmp_path)
    for _ in range(7):
        # An empty line is there at once; when few trials are left, they might end before the kill.
        late = len(attacked.store.done()) < 3 and draw.random() < 2 / 3
        code = attacked.stop(TRAINING * late, draw.uniform(0, 4), subprocess.Popen.kill)
        assert code == -signal.SIGKILL
    for _ in range(3):  # the first one trains what is missing
        code = attacked.stop(TIMING, draw.uniform(0, 2.5), subprocess.Popen.kill)
        assert code == -signal.SIGKILL
    assert not attacked.store.timings()
    attacked.leaves_nothing_running()
    done = process("sweep", attacked.path, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    timed = lotbench.timings(attacked.store.folder)
    # Dense models are timed as references, without a trial.
    reduced = {name for name in attacked.store.done() if "-dense-" not in name}
    assert set(timed["trial_id"].dropna()) == reduced
    assert "dense" in set(timed["model"])
    quiet = sweep_file(name="quiet", measure=None, **shared)
    assert process("sweep", quiet, cwd=tmp_path).returncode == 0
    wanted = Store(tmp_path / "results/quiet").done()
    assert len(wanted) == 5
    assert {name: trial.evaluations for name, trial in attacked.store.done().items()} == {
        name: trial.evaluations for name, trial in wanted.items()
    }


def kill_ray(process: subprocess.Popen) -> None:
    """Kills the raylet, the process of Ray that starts workers."""
    (raylet,) = (
        child for child in psutil.Process(process.pid).children() if child.name() == "raylet"
    )
    raylet.kill()


@pytest.mark.parametrize(
    ("send", "code", "words"),
    [
        (subprocess.Popen.terminate, 143, "terminated; finished trials and timing passes are kept"),
        (kill_ray, 1, ""),  # Ray may end the process before it can say a sentence
    ],
)
def test_sigterm_and_the_death_of_ray_keep_what_is_done(send, code, words, sweep_file, tmp_path):
    methods = {"dense": {}, "lot": {"top_p": {"grid": [0.2, 0.4, 0.6, 0.8]}}}
    attacked = Attacked(sweep_file(name="attacked", methods=methods, measure=None), tmp_path)
    assert attacked.stop(r"\[1/5", 0.5, send) == code
    log = attacked.log.read_text()
    assert words in log and "Traceback" not in log
    assert attacked.store.done()
    attacked.leaves_nothing_running()
