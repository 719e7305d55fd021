"""The break-even map: the lengths, batch sizes and keep ratios at which reduction is faster.

No trained model is needed.  Every layer computes a fixed random choice of tokens, and the routers
of Leap-of-Thought also run, so the cost is that of a trained model.  Each device setting has one
fresh, exclusive process (``python -m lotbench.measure.breakeven SPEC OUT LOCK``), so an interval
includes only the variation within a process.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from lotbench import backends, registry
from lotbench.config.sections import MeasureConfig, SweepConfig
from lotbench.engine.backbone import Backbone
from lotbench.engine.config_of_backbone import max_tokens, read_config
from lotbench.engine.encoder import ReducedEncoder
from lotbench.engine.loading import load_backbone
from lotbench.errors import InputError
from lotbench.measure import launch, protocol
from lotbench.measure.calls import packed, packed_dense, padded
from lotbench.measure.devices import DTYPES, device_name, occupy, timer_for
from lotbench.measure.spec import Example, MapSpec, sums
from lotbench.reducer import Leap, Params, TokenReducer, Tokens
from lotbench.store.maps import Cell, KeepSpeedup, Map, MapBackbone, MapSetting
from lotbench.store.store import Store

log = logging.getLogger(__name__)

ROUTER_WIDTH = 32
MIN_ROUNDS, CELL_SECONDS = 5, 4.0
"""A cell gets as many rounds as fit into its seconds, and never fewer than five."""


class FixedLeaps(TokenReducer):
    """A method of Leaps that runs in full, with fixed decisions in place of its own.

    The masks, each of shape (T,), bool, are the tokens that each layer computes.
    """

    def __init__(self, method: TokenReducer, masks: Sequence[Tensor]) -> None:
        super().__init__(Params(), method.n_layers, method.width)
        self.method, self.masks = method, masks

    def before_layer(self, layer: int, tokens: Tokens) -> Leap:
        decision = self.method.before_layer(layer, tokens)
        assert isinstance(decision, Leap)
        return replace(decision, keep=self.masks[layer])


def run(spec: MapSpec) -> Map:
    """The map of one setting, one cell per length and batch size."""
    device, dtype = occupy(spec.setting), DTYPES[spec.dtype]
    backbone = load_backbone(spec.backbone, 2, spec.layers, spec.seed)
    backbone = backbone.eval().to(device, dtype)
    config, depth = backbone.config, len(backbone.layers)
    lot = registry.get("lot")
    params = lot.Params.model_validate({"router_width": ROUTER_WIDTH})
    routed = lot(params, depth, backbone.width).eval().to(device, dtype)
    with torch.inference_mode():
        cells = [
            _cell(spec, backbone, routed, length, size)
            for size in spec.batch_sizes
            for length in spec.lengths
            if length <= max_tokens(config)
        ]
    return Map(
        **launch.origin("map_id", *spec.setting.parts, spec.dtype),
        setting=MapSetting(
            device=spec.setting.device,
            device_name=device_name(spec.setting.device),
            threads=spec.setting.threads,
            dtype=spec.dtype,
            rounds=spec.max_rounds,
            seed=spec.seed,
            attention=config._attn_implementation,
            router_width=ROUTER_WIDTH,
        ),
        backbone=MapBackbone(name=spec.backbone, layers=depth, width=backbone.width),
        cells=cells,
    )


def _cell(spec: MapSpec, backbone: Backbone, routed: TokenReducer, length: int, size: int) -> Cell:
    """Speed-ups over the fastest dense at each keep ratio, for batches of full-length texts."""
    device = backbone.model.device
    generator = torch.Generator().manual_seed(spec.seed)
    ids = torch.randint(1, backbone.vocabulary, (size, length), generator=generator)
    batches = [[Example(row, [0] * length) for row in ids.tolist()]]
    dense = packed_dense(backbone)
    calls = {
        protocol.DENSE_NAME: padded(dense).calls(batches),
        protocol.PACKED: packed(dense).calls(batches),
    }
    for keep in spec.keeps:
        masks = [random_mask(keep, size, length, generator).to(device) for _ in backbone.layers]
        encoder = ReducedEncoder(backbone, FixedLeaps(routed, masks)).eval()
        calls[str(keep)] = packed(encoder).calls(batches)
    start, timer = time.perf_counter(), timer_for(device)
    passes = protocol.warm_up(calls, timer_for(device))
    fitting = int(CELL_SECONDS * passes / (time.perf_counter() - start))
    rounds = max(MIN_ROUNDS, min(spec.max_rounds, fitting))
    protocol.run_rounds(calls, rounds, 0.0, spec.seed, timer)
    seconds = time.perf_counter() - start
    timed = sums(timer.encoder)
    samples = {name: timed[name] for name in calls}
    log.info("length %d, batch %d: %d rounds, %.1f s", length, size, rounds, seconds)
    fastest = protocol.fastest_dense(samples)
    speedups = [
        KeepSpeedup(
            keep=keep, **dict(protocol.speedup(samples[fastest], samples[str(keep)], spec.seed))
        )
        for keep in spec.keeps
    ]
    return Cell(
        length=length,
        batch_size=size,
        rounds=rounds,
        fastest_dense=fastest,
        speedups=speedups,
        samples=samples,
    )


def map_break_even(store: Store, sweep: SweepConfig) -> int:
    """The number of break-even maps added to the store, one per setting.

    A map shows at which lengths and keep ratios the sweep's backbone is faster with reduction, on
    this machine.
    """
    config = sweep.measure or MeasureConfig()
    chosen = [backends.BY_NAME[name] for name in config.backends or [backends.TORCH]]
    precisions = {each.precision: None for each in chosen if each.runtime == "torch"}
    if not precisions:
        raise InputError("measure.backends: a map runs PyTorch alone; add torch-fp32 or torch-bf16")
    read_config(sweep.backbone)  # what is wrong with it is not for a worker to say
    specs = [
        MapSpec(setting, precision, sweep.backbone, sweep.layers, config.rounds)
        for setting in launch.settings(config.devices, config.threads)
        for precision in precisions
    ]
    for spec in specs:
        label = f"map on {spec.setting}, {spec.dtype}"
        store.write(launch.run_worker("lotbench.measure.breakeven", spec, Map, label))
    return len(specs)


def random_mask(keep: float, size: int, length: int, generator: torch.Generator) -> Tensor:
    """The first token and random others, a share ``keep`` on average; (size * length,), bool.

    Each of the others is drawn independently, so that texts keep different numbers of tokens, as
    they do under a trained model.  With equal numbers the engine needs no ragged attention.
    """
    others = (keep * length - 1) / max(1, length - 1)
    chosen = torch.rand(size, length, generator=generator) < others
    chosen[:, 0] = True
    return chosen.flatten()


if __name__ == "__main__":
    launch.work(MapSpec, run)
