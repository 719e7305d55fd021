"""Break-even maps of a sweep's backbone."""

from __future__ import annotations

from lotbench import backends
from lotbench.config.sections import MeasureConfig, SweepConfig
from lotbench.engine.config_of_backbone import read_config
from lotbench.errors import InputError
from lotbench.measure import launch
from lotbench.measure.spec import MapSpec
from lotbench.store.maps import Map
from lotbench.store.store import Store


def map_break_even(store: Store, sweep: SweepConfig) -> int:
    """The number of break-even maps added to the store, one per setting.

    A map shows at which lengths and keep ratios the sweep's backbone is faster with reduction, on
    this machine.

    Raises
    ------
    InputError
        If the backbone cannot be read, or no backend of the sweep is PyTorch.
    PassFailed
        If a worker dies.
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
