"""What a trial gets of a Ray cluster, and clusters that are too small for one."""

import pytest

from lotbench.cluster.resources import share
from lotbench.errors import InputError


def node(name: str, cpus: float | None, gpus: float | None = None, alive: bool = True) -> dict:
    resources = {"CPU": cpus, "GPU": gpus, "memory": 1e9}
    return {
        "NodeManagerAddress": f"10.0.0.{name}",
        "NodeID": name * 56,
        "Alive": alive,
        "Resources": {kind: own for kind, own in resources.items() if own is not None},
    }


@pytest.mark.parametrize(
    ("nodes", "threads", "cpus", "gpus"),
    [
        ([node("1", 2)], 1, 1, 0),
        ([node("1", 16)], 4, 4, 0),
        ([node("1", 2)], 4, 2, 0),  # a small cluster of a large machine
        ([node("1", 16, 1)], 4, 4, 1 / 4),
        ([node("1", 64, 1)], 4, 4, 1 / 8),  # no less than an eighth
        ([node("1", 8, 8)], 4, 4, 1),  # no more than one
        ([node("1", 16, 1), node("2", 16, 3)], 4, 4, 1 / 2),
        ([node("1", 16, 1), node("2", 16, 7, alive=False)], 4, 4, 1 / 4),
    ],
)
def test_a_trial_gets_its_share_of_a_cluster(nodes, threads, cpus, gpus, caplog):
    assert share(nodes, threads) == (cpus, gpus)
    assert not caplog.messages


def test_nodes_that_are_too_small_are_named(caplog):
    nodes = [node("1", None), node("2", 2, 1), node("3", 14, 3)]
    assert share(nodes, 4) == (4, 1)
    (line,) = caplog.messages  # not the first, which is a head without cores
    assert line == "too small for a trial, so not used: 10.0.0.2 (22222222) has 2 of 4 CPU"


@pytest.mark.parametrize(
    ("nodes", "words"),
    [
        ([node("1", None)], ["10.0.0.1 (11111111) has 0 of 1 CPU"]),
        # The GPU stands beside too few cores, the cores beside no GPU.
        (
            [node("1", 14), node("2", 2, 8)],
            ["10.0.0.1 (11111111) has 0 of 1 GPU", "10.0.0.2 (22222222) has 2 of 4 CPU"],
        ),
    ],
)
def test_a_cluster_without_a_large_enough_node_is_refused(nodes, words):
    with pytest.raises(InputError, match="no node of this Ray cluster is large enough") as error:
        share(nodes, 4)
    for own in words:
        assert own in str(error.value)
