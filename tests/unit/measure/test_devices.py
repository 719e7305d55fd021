"""Devices of a timing pass: names, the timer of a GPU, peak memory by hand, and bf16."""

import torch
from tiny_models import random_model, save

from baselines.dense import Dense
from lotbench import machine
from lotbench.engine.backbone import Backbone
from lotbench.engine.encoder import ReducedEncoder
from lotbench.measure import devices, protocol
from lotbench.measure.calls import load_entry
from lotbench.measure.memory import highest, peak_bytes
from lotbench.measure.spec import Entry, sums


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


def test_rotations_stay_in_float32(tmp_path):
    encoder = ReducedEncoder(Backbone(random_model("modernbert")), Dense(Dense.Params(), 3, 32))
    save(tmp_path / "m", encoder)
    own = Entry("dense", None, str(tmp_path / "m"), backend="torch-bf16")
    loaded = load_entry(own, torch.device("cpu"), 1)(None)
    assert loaded.padded and loaded.encoder
    model = loaded.encoder.backbone.model
    kinds = {name: each.dtype for name, each in model.named_buffers() if "inv_freq" in name}
    assert kinds and {*kinds.values()} == {torch.float32}
    assert {each.dtype for each in model.parameters()} == {torch.bfloat16}


CPU = torch.device("cpu")


def test_the_highest_level():
    assert highest([8, 8, -8, 4, -4, -8]) == 16
    assert highest([]) == 0


def test_temporaries_count_and_earlier_memory_does_not():
    x = torch.ones(1000, 25)  # 100,000 bytes

    def call():
        y = x + 1  # one more
        z = y * y  # two
        del y
        return z.exp_().sum()  # one and a scalar

    assert peak_bytes([call], CPU) == 200_000
    # Each call gives its memory back: the largest of several counts, not their sum.
    assert peak_bytes([call, lambda: torch.ones(70_000), call], CPU) == 280_000


def test_a_model_that_keeps_fewer_tokens_needs_less(make_backbone, make_batch):
    from lotbench.engine.encoder import ReducedEncoder
    from lotbench.reducer import Drop, Params, TokenReducer

    class Half(TokenReducer):
        def before_layer(self, layer, tokens):
            return Drop(tokens.position < 10) if layer == 0 else None

    backbone, batch = make_backbone(), make_batch([20, 20])
    peaks = {}
    for cls in (TokenReducer, Half):
        encoder = ReducedEncoder(backbone, cls(Params(), 3, 32))
        with torch.inference_mode():
            peaks[cls] = peak_bytes([lambda encoder=encoder: encoder(batch)], CPU)
    # 40 tokens of 48 float64s, before and after the activation, are in the feed-forward of dense.
    assert peaks[TokenReducer] >= 40 * 2 * 48 * 8
    assert peaks[Half] < 0.7 * peaks[TokenReducer]
