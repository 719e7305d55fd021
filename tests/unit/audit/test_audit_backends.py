"""`lotbench validate` on a pass over backends."""

import pytest
from stores import evaluation, in_backend, over_backends, trial, write

from lotbench.audit.store import audit
from lotbench.store.passes import TimingPass


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda own: own.update(best="onnx-int8"), "best: dense in onnx-int8 does not hold"),
        (lambda own: own.update(best="compile-fp32"), "best: compile-fp32 has no dense model"),
        (
            lambda own: own["contenders"][1].update(
                speedup_best={"median": 3.0, "low": 2.9, "high": 3.1, "flagged": False}
                | {"noisy": False}
            ),
            "contenders.1.speedup_best.median: 3, but the samples give 2",
        ),
        (
            lambda own: own["contenders"][1]["scores"]["validation"].update(score=0.91),
            "contenders.1.scores.validation.score: less change 0.91, the row has 0.75",
        ),
        (
            lambda own: own["contenders"][3]["scores"]["validation"].update(flips=0),
            "contenders.3.scores.validation.flips: 0 texts, but 1 changed the score",
        ),
    ],
)
def test_validate_finds_what_does_not_add_up_in_a_pass_over_backends(tmp_path, change, fault):
    row = evaluation(0.75, 2.0, predictions="0110", examples=4)
    write(tmp_path, trial("a", "lot", [row], data={"labels": {"validation": "0111"}}))
    rows = []
    for backend, seconds, lost in (("torch-fp32", 4.0, 0.0), ("onnx-int8", 1.0, 0.25)):
        dense = in_backend("dense", backend, 1.0, None, 0.0, seconds, samples=[seconds] * 2)
        own = in_backend("a", backend, 2.0, None, 0.0, 2 * seconds, trial_id="a")
        own["samples"] = [seconds / 2] * 2
        for each in (dense, own):
            score = {"score": 0.75 - lost, "change": -lost, "flips": round(4 * lost)}
            each["scores"] = {"selection": dict(score), "validation": dict(score)}
            ratio = 4.0 / each["samples"][0]
            if each["backend"] == "torch-fp32":
                each["speedup_best"] = {"median": ratio, "low": ratio, "high": ratio}
                each["speedup_best"] |= {"flagged": False, "noisy": False}
            each["speedup_padded"] = each["speedup"]
        rows += [dense, own]
    names = {"torch-fp32": "dense", "onnx-int8": "dense"}
    record = over_backends("t", "2025-01-01", rows, examples=None)
    record |= {"fastest": names, "best": "torch-fp32"}
    record["setting"]["backends"] = list(names)

    def found():
        return [
            f"{own.key}: {own.message}"
            for own in audit(tmp_path).faults
            if own.file == "timings/t.json" and own.key.startswith(("best", "contenders"))
        ]

    TimingPass.model_validate(record)
    write(tmp_path, record)
    assert found() == []
    change(record)
    (tmp_path / "timings" / "t.json").unlink()
    write(tmp_path, record)
    assert any(each.startswith(fault) for each in found()), found()
