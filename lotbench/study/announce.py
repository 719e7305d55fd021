"""One log line per finished trial of a sweep.  It imports Ray, so import it where Ray runs."""

from __future__ import annotations

import logging
import re
import time
from typing import Any

from ray.exceptions import OutOfMemoryError
from ray.tune import Callback

from lotbench.store.records import Trial
from lotbench.store.store import Store
from lotbench.study.plan import Plan
from lotbench.study.trial import store_lost

log = logging.getLogger(__name__)


class Announcer(Callback):
    """Logs each finished trial.

    Attributes
    ----------
    succeeded : int
        How many succeeded.
    failed : dict of str
        Why the others failed, by trial id.
    """

    def __init__(self, planned: Plan, board: Any) -> None:
        self.planned, self.board = planned, board
        self.store = Store(planned.folder)
        self.before = {trial.trial_id: trial for trial in self.store.trials()}
        self.started = time.perf_counter()
        self.succeeded = 0
        self.failed: dict[str, str] = {}

    def on_trial_complete(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        self._announce(trial.config["trial"])

    def on_trial_error(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        name = trial.config["trial"]
        result = self.store.trial(name)
        if result is None or result == self.before.get(name):
            why = died(trial.get_pickled_error())
            store_lost(self.planned.todo[name], self.planned.folder, why)
        self._announce(name)

    def on_trial_recover(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        label = self.planned.todo[trial.config["trial"]].label
        log.warning("%s: its worker died, tried again", label)

    def _announce(self, name: str) -> None:
        result = self.store.trial(name)
        if result is None:
            outcome = self.failed[name] = "its row is gone"
        elif result.error is not None:
            message = (result.error.message or "").splitlines()[:1]
            outcome = self.failed[name] = f"failed: {result.error.kind}: {''.join(message)}"
        else:
            self.succeeded += 1
            outcome = scores(result) + ("" if result.model else " (its model was not kept)")
        label = self.planned.todo[name].label
        self.board.post.remote(label, None)  # a worker that died could not remove its status
        count = f"{self.succeeded + len(self.failed)}/{len(self.planned.todo)}"
        seconds = time.perf_counter() - self.started
        log.info("[%s, %.0f s] %s: %s", count, seconds, label, outcome)


def died(error: BaseException | None) -> str:
    """Why a worker died, in a line, as far as Ray knows."""
    text = " ".join(str(error or "").split())
    if isinstance(error, OutOfMemoryError) or "low on memory" in text:
        return "the machine ran out of memory, and Ray ended the worker; give trials more of it"
    detail = re.search(r"Worker exit detail: ([^.]*)", text)
    said = f" ({detail[1]})" if detail else ""
    return f"its process was killed, left or crashed{said}; its log is under ray/"


def scores(trial: Trial) -> str:
    """The validation score and FLOPs speed-up at each budget."""
    metric = str(trial.metric)
    points = [each for each in trial.evaluations if each.split == "validation"]
    shown = [f"{each.metrics[metric]:.4f} at {each.flops_speedup:.2f}x" for each in points]
    return f"{metric} {', '.join(shown)}"
