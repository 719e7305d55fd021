"""The break-even map: masks, rounds, record and command."""

import logging

import pytest
import torch
from stores import map_record
from typer.testing import CliRunner

from lotbench import cli, registry
from lotbench.engine.encoder import ReducedEncoder
from lotbench.errors import InputError
from lotbench.measure import breakeven, launch, protocol
from lotbench.measure.breakeven import FixedLeaps, random_mask
from lotbench.measure.spec import DeviceSetting, MapSpec
from lotbench.store.files import write_json
from lotbench.store.maps import Map, MapBackbone
from lotbench.store.store import Store


@pytest.fixture
def routed():
    lot = registry.get("lot")
    return lot(lot.Params(router_width=4), 3, 32).double().eval()


def test_a_mask_keeps_the_first_token_and_its_share_of_each_text():
    generator = torch.Generator().manual_seed(0)
    mask = random_mask(0.25, 1000, 20, generator).view(1000, 20)
    counts = mask.sum(1)
    # 1 + 19 * p is 5 on average with p = 4 / 19, and its standard deviation sqrt(19 p (1 - p)) is
    # 1.8, of the mean of 1,000 texts 0.06.
    assert counts.double().mean() == pytest.approx(5, abs=0.2)
    assert len(set(counts.tolist())) > 5
    assert mask[:, 0].all()
    assert random_mask(0.01, 1, 20, generator).tolist() == [True] + [False] * 19
    assert random_mask(1.0, 1, 20, generator).all()


def test_decisions_are_fixed_and_the_routers_and_the_context_token_run(tiny, make_batch, routed):
    counts = ((5, 5), (10, 10), (1, 1))
    masks = [torch.cat([torch.arange(10) < n for n in pair]) for pair in counts]
    calls = []
    for router in routed.routers:
        router.register_forward_hook(lambda *_: calls.append(1))
    encoder = ReducedEncoder(tiny, FixedLeaps(routed, masks)).eval()
    with torch.inference_mode():
        trace = encoder(make_batch([10, 10])).trace
    assert [queries.tolist() for queries in trace.queries] == [[5, 5], [10, 10], [1, 1]]
    assert [keys.tolist() for keys in trace.keys] == [[6, 6], [10, 10], [2, 2]]
    assert len(calls) == 3


@pytest.mark.parametrize(("seconds", "rounds"), [(0.0, 5), (1e9, 7)])
def test_a_long_cell_gets_fewer_rounds(make_backbone, routed, monkeypatch, seconds, rounds):
    monkeypatch.setattr(breakeven, "CELL_SECONDS", seconds)
    spec = MapSpec(DeviceSetting("cpu", 1), "fp32", "tiny", None, max_rounds=7, keeps=[0.5])
    with torch.inference_mode():
        cell = breakeven._cell(spec, make_backbone(), routed, 6, 2)
    assert cell.rounds == rounds
    assert {len(samples) for samples in cell.samples.values()} == {rounds}


@pytest.mark.slow
def test_a_map_end_to_end(make_backbone, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(launch, "LOCK", tmp_path / "lock")
    make_backbone(num_labels=2).float().model.save_pretrained(tmp_path / "tiny")
    caplog.set_level(logging.INFO)
    setting, backbone = DeviceSetting("cpu", 1), str(tmp_path / "tiny")
    spec = MapSpec(setting, "bf16", backbone, 2, 5, [8, 16, 512], [1, 2], [0.25, 0.5])
    record = launch.run_worker(breakeven.__name__, spec, Map, "map")
    # The backbone has 64 positions.
    places = [(cell.batch_size, cell.length) for cell in record.cells]
    assert places == [(1, 8), (1, 16), (2, 8), (2, 16)]
    tiny = MapBackbone(name=str(tmp_path / "tiny"), layers=2, width=32)
    assert record.backbone == tiny
    assert record.setting.router_width == 32 and record.setting.dtype == "bf16"
    assert record.map_id.split("-")[1:4] == ["cpu", "1t", "bf16"]
    assert record.machine.cpu and record.allocator is not None
    for cell in record.cells:
        assert list(cell.samples) == [protocol.DENSE_NAME, protocol.PACKED, "0.25", "0.5"]
        assert [speed.keep for speed in cell.speedups] == [0.25, 0.5]
        for speed in cell.speedups:
            assert 0 < speed.low <= speed.median <= speed.high
    assert "length 16, batch 2" in caplog.text
    store = Store(tmp_path)
    store.write(record)
    assert store.maps() == [record]
    with pytest.raises(FileExistsError, match="never overwritten"):
        store.write(record)


@pytest.mark.slow
def test_the_command_maps_the_backbone_of_the_sweep(tmp_path, monkeypatch):
    sweep = {"name": "toy", "backbone": "./tiny", "layers": 2, "tasks": {"sst2": None}}
    write_json(tmp_path / "sweep.json", sweep | {"methods": {"lot": None}})
    given = []

    def mapped(module, spec, *_):
        given.append(spec)
        return Map.model_validate(map_record("m", "2025", {(1, 64): [2.0]}))

    monkeypatch.setattr(launch, "run_worker", mapped)
    monkeypatch.setattr(breakeven, "read_config", lambda name: None)
    command = ["measure", str(tmp_path), "--map"]
    done = CliRunner().invoke(cli.app, [*command, "--set", "threads=[2]", "--set", "rounds=9"])
    assert done.exit_code == 0, done.output
    assert "1 map added" in done.output
    assert (tmp_path / "figures" / "break-even-cpu-1t-fp32.png").is_file()
    assert given == [MapSpec(DeviceSetting("cpu", 2), "fp32", "./tiny", 2, max_rounds=9)]
    assert len(Store(tmp_path).maps()) == 1
    for wrong, words in (
        (["--strict"], "--strict"),
        (["--set", "batch_sizes=[4]"], "--set batch_sizes=[4]: cannot be combined with --map"),
        (["--plugin", "mine.py"], "--plugin: cannot be combined"),
        (["--set", "backends=[onnx-fp32]"], "measure.backends: a map runs PyTorch alone; add"),
    ):
        refused = CliRunner().invoke(cli.app, [*command, *wrong])
        assert words in str(refused.exception)
    monkeypatch.undo()
    refused = CliRunner().invoke(cli.app, command)
    assert isinstance(refused.exception, InputError) and "no such folder: ./tiny" in str(
        refused.exception
    )
