"""What a timed model keeps in float32 where its weights are bf16."""

import torch
from tiny_models import random_model, save

from baselines.dense import Dense
from lotbench.engine.backbone import Backbone
from lotbench.engine.encoder import ReducedEncoder
from lotbench.measure.calls import Padded, load_entry
from lotbench.measure.spec import Entry


def test_rotations_stay_in_float32(tmp_path):
    encoder = ReducedEncoder(Backbone(random_model("modernbert")), Dense(Dense.Params(), 3, 32))
    save(tmp_path / "m", encoder)
    own = Entry("dense", None, str(tmp_path / "m"), backend="torch-bf16")
    loaded = load_entry(own, torch.device("cpu"), 1)
    assert isinstance(loaded, Padded)
    model = loaded.encoder.backbone.model
    kinds = {name: each.dtype for name, each in model.named_buffers() if "inv_freq" in name}
    assert kinds and {*kinds.values()} == {torch.float32}
    assert {each.dtype for each in model.parameters()} == {torch.bfloat16}
