"""Small hand-made stores for tests of the store and the report."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lotbench.store.maps import Map
from lotbench.store.passes import TimingPass
from lotbench.store.rows import Trial
from lotbench.store.store import Store

TEXTS = 1000
"""Texts of a split, all of class 1."""

LOOKS: dict[str, dict[str, Any]] = {
    "lot": {"label": "LoT (ours)", "colour": "#D55E00", "marker": "o", "role": "main", "order": 0},
    "ltp": {"label": "LTP", "colour": "#009E73", "marker": "^", "order": 1},
    "tr-bert": {"label": "TR-BERT", "colour": "#CC79A7", "marker": "D", "order": 2},
    **{name: {"label": name, "role": "dense"} for name in ("dense", "dense-packed")},
    **{name: {"label": name, "role": "control"} for name in ("random-drop", "static", "truncated")},
    "first-k": {"label": "first-k", "colour": "#56B4E9", "marker": "P", "role": "control"},
}
"""As the methods bring them, in short."""


def write(folder: Path, record: dict) -> Path:
    """The file of a trial, timing pass or map, told apart by the name of its id."""
    kinds = {"pass_id": TimingPass, "map_id": Map, "trial_id": Trial}
    kind = next(kind for key, kind in kinds.items() if key in record)
    return Store(folder).write(kind.model_validate(record))


def evaluation(
    score: float | None, speedup: float, budget: dict | None = None, **more: Any
) -> dict:
    """An evaluation of two layers that keep 1 and 1 / speedup of the tokens; see `labels`."""
    right = round(TEXTS * score) if isinstance(score, float) and 0 <= score <= 1 else 0
    return {
        "budget": budget or {},
        "split": "validation",
        "examples": TEXTS,
        "metrics": {"accuracy": score},
        "predictions": "1" * right + "0" * (TEXTS - right),
        "flops": 600.0 / speedup,
        "dense_flops": 600.0,
        "flops_speedup": speedup,
        **{name: [1.0, 1 / speedup] for name in ("keep_ratio", "key_ratio", "ffn_ratio")},
        **more,
    }


def trial(name: str, method: str, evaluations: list[dict], seed: int = 0, **more: Any) -> dict:
    """A row of the task ``toy``; ``params`` and everything else can be replaced."""
    look = LOOKS.get(method, {"label": method})
    if more.get("params", {}).get("routing") == "drop":
        look = look | {"label": "LoT (ours, drop)", "colour": "#FFA983", "marker": "v", "order": 2}
    return {
        "trial_id": name,
        "status": "done",
        "error": None,
        "task": "toy",
        "method": method,
        "look": look,
        "seed": seed,
        "backbone": "package:tiny_bert/model",
        "params": {},
        "config": {"seed": seed, "plugins": []},
        "metric": "accuracy",
        "teacher": {"key": "k", "metrics": {"validation": {"accuracy": 0.89}}},
        "data": {"labels": {split: "1" * TEXTS for split in ("selection", "validation")}},
        "training": {"steps": 10, "seconds": 2.5, "precision": "fp32", "threads": 1},
        "evaluations": evaluations,
        "machine": {"cpu": "Abacus 9000"},
        "versions": {},
        "created": "2025-01-01T00:00:00Z",
        **more,
    }


def failed(name: str, method: str = "ltp") -> dict:
    error = {"kind": "NonFiniteLoss", "message": "task loss is nan", "step": 37}
    return trial(name, method, [], status="failed", error=error)


def contender(name: str, speedup: float, trial_id: str | None = None, **more: Any) -> dict:
    """A contender in torch-fp32, which is the best backend of its pass."""
    flags = {name: more.get(name, False) for name in ("flagged", "noisy")}
    interval = {"median": speedup, "low": speedup - 0.1, "high": speedup + 0.1}
    padded = {"median": 2 * speedup, "low": speedup, "high": 3 * speedup}
    score = {"score": 0.9, "change": 0.0, "flips": 0}
    return {
        "name": name,
        "backend": "torch-fp32",
        "trial_id": trial_id,
        "budget": {},
        "seconds_per_example": 0.01 / speedup,
        "samples": [1.0 / speedup] * 4,
        "speedup": interval,
        "speedup_padded": padded,
        "speedup_best": interval | flags,
        "scores": {"selection": score, "validation": score},
        "call_seconds": {name: 0.3 / speedup for name in ("p50", "p90", "p95", "p99")}
        | {"calls": 100},
        "time_shares": shares(),
        **flags,
        **more,
    }


def in_backend(
    name: str, backend: str, same: float, best: float | None, change: float, seconds: float, **more
) -> dict:
    """A contender of a pass over backends; its score is 0.9 plus the change in both splits."""
    score = {"score": 0.9 + change, "change": change, "flips": round(abs(100 * change))}
    found = contender(name, same, more.pop("trial_id", None), backend=backend, **more)
    found |= {"seconds_per_example": seconds}
    found |= {"scores": {"selection": dict(score), "validation": dict(score)}}
    ends = best and {"median": best, "low": best - 0.2, "high": best + 0.2}
    return found | {"speedup_best": ends and ends | {"flagged": False, "noisy": True}}


def with_call(own: dict, best: float | None, seconds: float, p95: float = 0.4) -> dict:
    """A contender with the times of its calls; the interval of ``best`` is 0.3 either way."""
    call = {name: own[name] for name in ("speedup", "speedup_padded", "flagged", "noisy")}
    ends = best and {"median": best, "low": best - 0.3, "high": best + 0.3}
    call |= {"seconds_per_example": seconds, "samples": [100 * seconds] * 4}
    call |= {"speedup_best": ends and ends | {"flagged": False, "noisy": False}}
    call |= {"call_seconds": {name: p95 for name in ("p50", "p90", "p95", "p99")} | {"calls": 100}}
    return own | {"call": call}


def over_backends(name: str, created: str, contenders: list[dict], **setting: Any) -> dict:
    """A pass over the backends of its contenders, whose best dense is in openvino-bf16."""
    names = sorted({own["backend"] for own in contenders})
    found = timing(name, created, contenders, **{"backends": names, **setting})
    return found | {"best": "openvino-bf16"}


def shares() -> dict:
    return {
        "decisions": 0.05,
        "received_attention": 0.04,
        "gather_scatter": 0.1,
        "attention": 0.26,
        "feed_forward": 0.5,
        "rest": 0.05,
    }


def timing(name: str, created: str, contenders: list[dict], **setting: Any) -> dict:
    where = {"device": "cpu", "device_name": "Abacus 9000", "threads": 1}
    return {
        "pass_id": name,
        "created": created,
        "machine": {},
        "versions": {},
        "task": "toy",
        "metric": "accuracy",
        "protocol": 1,
        "engine": 1,
        "fastest": {},
        "best": "torch-fp32",
        "groups": [],
        "setting": {
            **where,
            "backends": ["torch-fp32"],
            "batch_size": 32,
            "processes": 2,
            "seed": 0,
            **setting,
        },
        "noise_floor": {"ratio": 0.01},
        "contenders": contenders,
    }


def map_record(name: str, created: str, cells: dict[tuple[int, int], list], **setting: Any) -> dict:
    """A break-even map: speed-ups at 10% and 50% by (batch size, length), 0.15 either way."""
    where = {"device": "cpu", "device_name": "Abacus 9000", "threads": 1, "dtype": "fp32"}
    return {
        "map_id": name,
        "created": created,
        "machine": {},
        "versions": {},
        "setting": {**where, "router_width": 32, **setting},
        "backbone": {"name": "tiny", "layers": 2, "width": 32},
        "cells": [
            {
                "length": length,
                "batch_size": size,
                "rounds": 5,
                "speedups": [
                    {"keep": keep, "median": value, "low": value - 0.15, "high": value + 0.15}
                    for keep, value in zip((0.1, 0.5), speedups, strict=False)
                ],
            }
            for (size, length), speedups in cells.items()
        ],
    }


def fill(folder: Path, batch_sizes: Iterable[int] = (32, 1)) -> Path:
    """A timed store of dense, lot with two seeds and budgets, a plugin and a failed trial."""
    for seed in (0, 1):
        curve = [
            evaluation(0.89 + seed / 100, 2.0, {"threshold": 0.3}),
            evaluation(0.85, 4.0, {"threshold": 0.7}),
        ]
        write(folder, trial(f"l{seed}", "lot", curve, seed=seed))
    write(folder, trial("d", "dense", [evaluation(0.90, 1.0)]))
    write(folder, trial("m", "mine", [evaluation(0.80, 3.0)], params={"note": "[red]"}))
    write(folder, failed("toy-ltp-s0-bad"))
    rows = [
        contender("dense", 1.0, "d"),
        contender("mine", 1.02, "m", flagged=True),
        contender("lot", 1.8, "l0", budget={"threshold": 0.3}),
        contender("lot", 3.1, "l0", budget={"threshold": 0.7}, flagged=True, noisy=True),
    ]
    for size in batch_sizes:
        write(folder, timing(f"p{size}", "2025", rows, batch_size=size))
    return folder


def predicted(right: dict[str, int], speedup: float, **more: Any) -> list[dict]:
    """Evaluations on both splits of 200 texts, of which so many are right; see `labels`."""
    return [
        evaluation(
            count / 200,
            speedup,
            split=split,
            examples=200,
            predictions="1" * count + "0" * (200 - count),
            **more,
        )
        for split, count in right.items()
    ]


def fill_predicted(folder: Path, task: str = "toy") -> Path:
    """A store with predictions of a task: dense, ltp at two targets, tr-bert at one of two."""

    def both(selection: int, validation: int) -> dict[str, int]:
        return {"selection": selection, "validation": validation}

    labels = {split: "1" * 200 for split in ("selection", "validation")}
    own = {"task": task, "data": {"labels": labels}}
    mark = "" if task == "toy" else f"-{task}"
    write(folder, trial(f"d{mark}", "dense", predicted(both(180, 180), 1.0), **own))
    ltp = predicted(both(180, 179), 2.0, budget={"scale": 1.0}, target=2.0)
    ltp += predicted(both(178, 178), 4.0, budget={"scale": 2.0}, target=4.0)
    write(folder, trial(f"l{mark}", "ltp", ltp, **own, unreached=[]))
    slow = predicted(both(180, 181), 2.0, budget={"threshold": 0.1}, target=2.0)
    missed = [{"target": 4.0, "nearest": 2.3}]
    write(folder, trial(f"t{mark}", "tr-bert", slow, **own, unreached=missed))
    return folder


def ranks(first: int, second: int, texts: int = 200) -> str:
    """The ranks of so many queries: some find their document first, some second, the rest not."""
    return "1" * first + "2" * second + "0" * (texts - first - second)


def vectors(first: int, speedup: float, cosine: float, **more: Any) -> list[dict]:
    """Evaluations of an embedding on 200 texts: so many documents first, 20 second; the cosines.

    Of the cosines, half are 0.1 higher and half 0.1 lower; each text has four of its ten
    neighbours.
    """
    cosines = [round(cosine + shift, 4) for shift in (0.1, -0.1)] * 100
    metrics = {"mrr": (first + 10) / 200, "overlap": 0.4, "cosine": cosine}
    own = {"metrics": metrics, "predictions": ranks(first, 20), "examples": 200}
    own |= {"answers": {"overlap": "4" * 200, "cosine": cosines}}
    return [
        evaluation(None, speedup, split=split, **own | more)
        for split in ("selection", "validation")
    ]


def fill_vectors(folder: Path, task: str = "toy") -> Path:
    """A store of an embedding task: dense, and leaping and dropping at two targets."""
    own = {"task": task, "metric": "mrr", "data": {"fingerprint": "f"}, "teacher": None}
    write(folder, trial("whole", "dense", vectors(170, 1.0, 0.9), **own))
    for routing, worse in (("leap", 0), ("drop", 10)):
        rows = vectors(160 - worse, 2.0, 0.8, budget={"threshold": 0.3}, target=2.0)
        rows += vectors(150 - 3 * worse, 4.0, 0.7, budget={"threshold": 0.6}, target=4.0)
        config = {"seed": 0, "plugins": [], "params": {"routing": routing}}
        params = {"routing": routing}
        write(
            folder, trial(routing, "lot", rows, **own, params=params, config=config, unreached=[])
        )
    return folder


def copied(source: Path, folder: Path, trials: int) -> Path:
    """A store with so many trials: those of another store, again and again with other seeds."""
    rows = [trial.content() for trial in Store(source).trials()]
    for place in range(trials):
        row = dict(rows[place % len(rows)])
        row["seed"] += 100 * (place // len(rows))
        row["trial_id"] = f"{row['trial_id']}-{place}"
        write(folder, row)
    return folder
