"""Points over seeds, Pareto fronts, hypervolume, and the largest speed-up close to dense.

All functions describe the validation split.  To choose a model to deploy, use the selection split.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from lotbench.store.frame import timed_settings

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import ArrayLike

DENSE = ("dense", "dense-packed")
KEY = ["task", "method", "setting", "budget"]
DROPS = (0.5, 1.0, 2.0)
# The hypervolume counts the area above dense minus this many points.
FLOOR = 10.0
# Scores are means of floats: 0.85 - 0.01 must still count as "within one point" of 0.85.
SLACK = 1e-9


def front(speedup: ArrayLike, score: ArrayLike) -> np.ndarray:
    """True for points on the Pareto front, shape (N,).

    No other point is at least as fast and as good as these, and better in one of the two.  Of equal
    points, one is on the front.  A point with a missing coordinate is not.
    """
    import moocore

    values = np.column_stack([np.asarray(speedup, float), np.asarray(score, float)])
    mask: np.ndarray = np.all(np.isfinite(values), axis=1)
    if mask.any():
        mask[mask] = moocore.is_nondominated(values[mask], maximise=True)
    return mask


def hypervolume(speedup: ArrayLike, score: ArrayLike, floor: float) -> float:
    """The area under the front, in points of score times doublings of speed.

    The area is bounded by speed-up 1 and by the score ``floor``.  Points outside add nothing.
    """
    import moocore

    speed, points = np.asarray(speedup, float), 100 * np.asarray(score, float)
    usable = np.isfinite(speed) & np.isfinite(points) & (speed > 0)
    if not usable.any():
        return 0.0
    values = np.column_stack([np.log2(speed[usable]), points[usable]])
    return float(moocore.hypervolume(values, ref=[0.0, 100 * floor], maximise=True))


def points(table: pd.DataFrame) -> pd.DataFrame:
    """One row per task, method, setting and budget: means over seeds on the validation split.

    Scores and speed-ups have ``.low`` and ``.high``: the smallest and largest over the seeds.  For
    wall-clock speed-ups, they are the lowest and highest ends of the seeds' intervals.  ``dense``
    is the score of dense with the same seeds.  ``gain`` is the score minus ``dense``, in points.
    ``name`` has the parameters in which a point differs from others of its method.  ``seeds``
    counts trials, and ``real.<label>.seeds`` counts the timed ones.
    """
    done = table[(table["status"] == "done") & (table["split"] == "validation")]
    # A new version of a method leaves its older rows in the store; the newest row counts.
    done = done.sort_values("created", kind="stable").drop_duplicates([*KEY, "seed"], keep="last")
    done = done.assign(dense=_dense_of_seed(done))
    columns: dict[str, tuple[str, str]] = {
        "seeds": ("seed", "nunique"),
        "score_name": ("score_name", "first"),
        "dense": ("dense", "mean"),
    }
    for name in ("score", "flops_speedup"):
        columns |= {
            name: (name, "mean"),
            f"{name}.low": (name, "min"),
            f"{name}.high": (name, "max"),
        }
    for name in (f"real.{label}" for label in timed_settings(table)):
        # Older passes have no FLOPs of their texts; the FLOPs of the split are used instead.
        flops = f"{name}.flops"
        done[flops] = done[flops].fillna(done["flops_speedup"]).where(done[name].notna())
        columns |= {each: (each, "mean") for each in (name, f"{name}.padded", flops)}
        columns |= {f"{name}.low": (f"{name}.low", "min"), f"{name}.high": (f"{name}.high", "max")}
        columns[f"{name}.seeds"] = (name, "count")
        columns |= {f"{flops}.low": (flops, "min"), f"{flops}.high": (flops, "max")}
        columns |= {f"{name}{end}": (f"{name}{end}", "max") for end in (".flagged", ".noisy")}
    for name in (c for c in table.columns if c.startswith("keep_ratio") or ".share." in c):
        columns[name] = (name, "mean")
    result = done.groupby(KEY, sort=True).agg(**columns).reset_index()
    for end in ("", ".low", ".high"):
        result[f"gain{end}"] = 100 * (result[f"score{end}"] - result["dense"])
    names = _setting_names(done)
    result.insert(4, "name", [names.get(setting, "") for setting in result["setting"]])
    return result


def settings_of(points: pd.DataFrame) -> list[str]:
    """The timing settings with at least one point."""
    return [label for label in timed_settings(points) if points[f"real.{label}"].notna().any()]


def reduced_points(points: pd.DataFrame) -> pd.DataFrame:
    """The points of methods other than dense with keep ratio, FLOPs speed-up and score."""
    known = points[["keep_ratio", "flops_speedup", "score"]].notna().all(axis=1)
    return points[~points["method"].isin(DENSE) & known]


def along_front(points: pd.DataFrame, method: str, count: int) -> pd.DataFrame:
    """At most ``count`` points of a method's front, evenly chosen, slowest first."""
    own = points[points["method"] == method]
    own = own[front(own["flops_speedup"], own["gain"])].sort_values("flops_speedup")
    return own.iloc[np.linspace(0, len(own) - 1, min(len(own), count)).round().astype(int)]


def dense_scores(table: pd.DataFrame) -> dict[str, float]:
    """The reference score of every task: the method ``dense``, else the dense teacher."""
    scores: dict[str, float] = {}
    done = table[(table["status"] == "done") & (table["split"] == "validation")]
    for task, rows in done.groupby("task"):
        dense = rows.loc[rows["method"] == "dense", "score"].dropna()
        score = dense if len(dense) else rows["teacher_score"]
        scores[str(task)] = float(score.astype(float).mean())
    return scores


def largest_speedups(table: pd.DataFrame, speedup: str = "flops_speedup") -> pd.DataFrame:
    """The fastest point of every task and method within 0.5, 1 and 2 points of dense.

    There is one row per task, method and ``drop``.  ``speedup`` and later columns are missing if
    no point is good enough.  A point is compared with dense of its own seeds.  The argument
    ``speedup`` is the column to maximise: ``flops_speedup`` or a ``real.<label>``.
    """
    import pandas as pd

    records = []
    for (task, method), rows in points(table).groupby(["task", "method"]):
        if method in DENSE:
            continue
        for drop in DROPS:
            record = {"task": task, "method": method, "drop": drop, "speedup": np.nan}
            good = rows[rows["score"] >= rows["dense"] - drop / 100 - SLACK]
            good = good.dropna(subset=[speedup])
            if len(good):
                best = good.loc[good[speedup].idxmax()]
                record |= {"speedup": best[speedup], **best[["score", "name", "budget", "seeds"]]}
            records.append(record)
    columns = ["task", "method", "drop", "speedup", "score", "name", "budget", "seeds"]
    return pd.DataFrame(records, columns=columns)


def ranking(table: pd.DataFrame, speedup: str = "flops_speedup") -> pd.DataFrame:
    """The hypervolume of every task and method, with its rank in the task (1 is best)."""
    import pandas as pd

    dense = dense_scores(table)
    records = [
        (task, method, hypervolume(rows[speedup], rows["score"], dense[str(task)] - FLOOR / 100))
        for (task, method), rows in points(table).groupby(["task", "method"])
        if method not in DENSE
    ]
    result = pd.DataFrame(records, columns=["task", "method", "hypervolume"])
    rank = result.groupby("task")["hypervolume"].rank(ascending=False, method="min")
    return result.assign(rank=rank.astype(int))


def _dense_of_seed(done: pd.DataFrame) -> pd.Series:
    """The score of dense with each row's seed, or its mean score if it lacks that seed."""
    import pandas as pd

    dense = done[done["method"] == "dense"].groupby(["task", "seed"])["score"].mean()
    own = dense.reindex(pd.MultiIndex.from_frame(done[["task", "seed"]])).to_numpy(float)
    return done["task"].map(dense_scores(done)).astype(float).where(np.isnan(own), own)


def _setting_names(done: pd.DataFrame) -> dict[str, str]:
    """For each setting, the parameters in which it differs from other settings of its method."""
    names: dict[str, str] = {}
    for _, rows in done.groupby(["task", "method"]):
        settings = rows.drop_duplicates("setting").set_index("setting")
        params = settings.loc[:, [name for name in map(str, settings) if name.startswith("param.")]]
        varying = params.loc[:, params.nunique(dropna=False) > 1]
        own = {
            setting: " ".join(
                f"{name.removeprefix('param.')}={_short(value)}"
                for name, value in varying.loc[setting].dropna().items()
            )
            for setting in settings.index
        }
        # Settings may also differ outside the method, such as in the number of epochs.
        shared = Counter(own.values())
        for setting, text in own.items():
            names[setting] = text if shared[text] == 1 else f"{text} #{setting}".strip()
    return names


def _short(value: object) -> str:
    """A parameter as text; an integer that pandas made a float is written as an integer."""
    return f"{value:g}" if isinstance(value, float) else str(value)
