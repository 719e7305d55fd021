"""What hovering over a point shows."""

from __future__ import annotations

from lotbench.report import words
from lotbench.report.bootstrap import Estimate
from lotbench.report.reference import Reference
from lotbench.report.rows import Point, is_missing, number, setting_of


def tip(point: Point, labels: list[str], reference: Reference) -> dict[str, str]:
    """The point's configuration, scores and speed-ups with intervals, by their names."""
    metric = point["score_name"]
    found = {
        "title": str(point["method"]),
        "configuration": setting_of(point) or "defaults",
        words.metric(metric): words.score_with_interval(_estimate(point, "score"), metric),
        f"against {reference.name}": words.with_interval(_estimate(point, "gain")),
        "FLOPs speed-up": f"{number(point['flops_speedup'])}{words.TIMES}",
    }
    for label in labels:
        if not is_missing(point[f"real.{label}"]):
            value = words.with_interval(_estimate(point, f"real.{label}"), words.TIMES)
            noise = ", noisy" if point[f"real.{label}.noisy"] is True else ""
            name = words.timing_setting(label)
            if f"real.{label}.backend" in point:
                same = words.with_interval(_estimate(point, f"real.{label}.same"), words.TIMES)
                found[f"{name}, x best"] = f"{value}{noise}, in {point[f'real.{label}.backend']}"
                found[f"{name}, x same"] = same
            else:
                found[name] = f"{value}{noise}"
    if not is_missing(point["keep_ratio"]):
        found["tokens kept"] = f"{100 * point['keep_ratio']:.0f}%"
    return found | {"seeds": str(point["seeds"])}


def _estimate(point: Point, name: str) -> Estimate:
    return Estimate(point[name], point[f"{name}.low"], point[f"{name}.high"])
