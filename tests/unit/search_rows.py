"""Rows of a search, scored without training."""

from __future__ import annotations

from typing import Any

from lotbench.store.rows import Trial


def row_of(trial: Any, failed: bool = False) -> Trial:
    """A row at speed-ups 2 and 4 that is better the nearer its setting is to a hidden one."""
    params = trial.config.params
    score = 0.9 - abs(params.get("top_p", 0.5) - 0.7) / 2 - params.get("k", 0) / 100
    content: dict[str, Any] = {
        "trial_id": trial.id,
        "status": "done",
        "task": trial.config.task,
        "method": trial.config.method,
        "seed": trial.config.seed,
        "backbone": "b",
        "params": trial.params.model_dump(mode="json", by_alias=True),
        "config": trial.config.model_dump(mode="json"),
        "created": "2026",
        "machine": {},
        "versions": {},
        "metric": "accuracy",
        "teacher": {"metrics": {"selection": {"accuracy": 0.9}}},
        "data": {"labels": {"selection": "1", "validation": "1"}},
        "evaluations": [
            {
                "budget": {},
                "split": split,
                "target": target,
                "examples": 10,
                "metrics": {"accuracy": score if split == "selection" else 1 - score},
                "flops": 1,
                "dense_flops": 1,
                "flops_speedup": target,
                "predictions": "1",
                **{name: [1.0] for name in ("keep_ratio", "key_ratio", "ffn_ratio")},
            }
            for target in (2.0, 4.0)
            for split in ("selection", "validation")
        ],
    }
    if failed:
        content |= {"status": "failed", "error": {"kind": "x"}, "evaluations": []}
    return Trial.model_validate(content)
