"""Devices of a timing pass: their names, and the timer of a GPU."""

import torch

from lotbench import machine
from lotbench.measure import devices, protocol
from lotbench.measure.spec import sums


def test_a_gpu_is_named_by_its_driver(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"GPU of {device}")
    assert devices.device_name("cuda:1") == "GPU of cuda:1"
    assert devices.device_name("cpu") == machine.cpu_model()


def test_a_gpu_is_waited_for_around_every_call(monkeypatch):
    log = []

    class Event:
        def __init__(self, enable_timing):
            assert enable_timing

        def record(self):
            log.append("event")

        def elapsed_time(self, end):
            return 5.0  # milliseconds

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: log.append(f"wait {device}"))
    timer = devices.CudaTimer(torch.device("cuda:1"))
    call = protocol.Call(lambda _: log.append("run"), lambda: log.append("prepare"))
    seconds = timer("lot", [call] * 2)
    wait = "wait cuda:1"
    assert log == [wait, "prepare", wait, "event", "run", "event", wait] * 2
    assert sums(timer.call)["lot"] == [seconds]
    assert sums(timer.encoder)["lot"][0] < seconds and len(timer.encoder["lot"][0]) == 2
    assert timer.events == {"lot": [[0.005, 0.005]]}
