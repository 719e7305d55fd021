"""A sweep on a Ray cluster of several nodes, some of which are killed."""

import subprocess
from pathlib import Path

import pytest
from commands import LOTBENCH
from test_kills import wait

from lotbench.store.store import Store

pytestmark = [pytest.mark.slow, pytest.mark.long]

CAUGHT = '''
import time
from pathlib import Path

import ray

from lotbench.reducer import Drop, Params, TokenReducer

ROOM = Path("{room}")

class Number(Params):
    number: int

class Caught(TokenReducer):
    """Logs each training; number 1 waits for the end of its node, until a node is safe."""
    name = "caught"
    Params = Number

    def __init__(self, params, n_layers, width):
        super().__init__(params, n_layers, width)
        self.begun = False

    def before_layer(self, layer, tokens):
        if self.training and not self.begun:
            self.begun = True
            node = ray.get_runtime_context().get_node_id()
            with (ROOM / str(self.params.number)).open("a") as file:
                print(node, file=file)
            while self.params.number == 1 and not (ROOM / "safe").exists():
                time.sleep(0.1)
        return Drop(tokens.position % 2 == 0)
'''


@pytest.fixture
def cluster():
    """A Ray cluster whose head, the driver's node, runs no trials."""
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    yield made
    made.shutdown()


def test_killed_nodes_lose_nothing_and_nothing_is_done_twice(cluster, sweep_file, tmp_path):
    room = tmp_path / "room"
    room.mkdir()
    (tmp_path / "caught.py").write_text(CAUGHT.format(room=room))
    methods = {"dense": {}, "caught": {"number": {"grid": [1, 2, 3, 4]}}}
    path = sweep_file(plugins=["caught.py"], methods=methods, measure=None)
    store, log = Store(tmp_path / "results/small"), tmp_path / "log"
    nodes = [cluster.add_node(num_cpus=1), cluster.add_node(num_cpus=1)]
    kept: dict[Path, int] = {}

    def begun_on(number: str) -> list[str]:
        """The node of each training of a number."""
        file = room / number
        return file.read_text().split() if file.exists() else []

    with (
        log.open("w") as file,
        subprocess.Popen(
            [*LOTBENCH, "sweep", str(path), "--address", cluster.address],
            cwd=tmp_path,
            stdout=file,
            stderr=file,
        ) as process,
    ):
        try:
            # Number 1 takes down three nodes: its workers may not die so often by themselves.
            for count in (1, 2, 3):
                wait(lambda count=count: len(begun_on("1")) == count, f"not begun: {log}", process)
                wait(store.done, f"nothing done: {log}", process)
                kept |= {row: row.stat().st_mtime_ns for row in store.folder.glob("trials/*.json")}
                (lost,) = [node for node in nodes if node.node_id in begun_on("1")]
                cluster.remove_node(lost, allow_graceful=False)
                nodes.remove(lost)
                if not nodes:  # the first time, the other node goes on
                    nodes.append(cluster.add_node(num_cpus=1))
            (room / "safe").touch()
            assert process.wait() == 0, log.read_text()
        finally:
            process.kill()
    trials = store.trials()
    assert len(trials) == 5 and {own.status for own in trials} == {"done"}
    assert {row: row.stat().st_mtime_ns for row in kept} == kept
    assert {own: len(begun_on(own)) for own in "1234"} == {"1": 4, "2": 1, "3": 1, "4": 1}
    text = log.read_text()
    for attempt in (2, 3, 4):
        assert f"number=1 seed=0: its node was lost, attempt {attempt} follows" in text
    assert "Traceback" not in text and "raylet" not in text
