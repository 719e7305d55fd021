"""Points over seeds on the validation split, and their Pareto fronts.

To choose a model, use the selection split; `lotbench.report.statistics` does.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from lotbench.report.reference import references
from lotbench.store.frame import timed_labels
from lotbench.store.timed import without_backend

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import ArrayLike

DENSE = ("dense", "dense-packed")
KEY = ["task", "method", "setting", "point"]


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


def scored(table: pd.DataFrame) -> pd.DataFrame:
    """The newest evaluation of every task, method, setting, point, split and seed.

    ``point`` is ``target=4`` if the budget was searched for a FLOPs speed-up, since the budget then
    differs by seed; else it is the budget.
    """
    done = table[(table["status"] == "done") & table["split"].notna()]
    targets = ["" if target != target else f"target={target:g}" for target in done["target"]]
    done = done.assign(point=done["budget"].where(done["target"].isna(), targets))
    # A new version of a method leaves its older trials in the store; the newest trial counts.
    done = done.sort_values("created", kind="stable", na_position="first")
    newest = done.drop_duplicates(["task", "method", "setting", "seed"], keep="last")
    done = done[done["trial_id"].isin(newest["trial_id"])]
    return done.drop_duplicates([*KEY, "split", "seed"], keep="last")


def points(table: pd.DataFrame) -> pd.DataFrame:
    """One row per task, method, setting and point: means over seeds on the validation split.

    FLOPs speed-ups have ``.low`` and ``.high``: the smallest and largest over the seeds.  For
    wall-clock speed-ups, they are the lowest and highest ends of the seeds' intervals.  For scores
    and gains they are missing; `lotbench.report.statistics.with_intervals` gives them.
    ``reference`` is the score of the reference with the same seeds.  ``gain`` is the score minus
    ``reference``, in points.  ``name`` has the parameters in which a point differs from others of
    its method.  ``seeds`` counts trials, and ``real.<label>.seeds`` counts the timed ones.
    """
    every = scored(table)
    done = every[every["split"] == "validation"]
    done = done.assign(reference=_reference_of_seed(done, every))
    columns: dict[str, tuple[str, Any]] = {
        "seeds": ("seed", "nunique"),
        "score_name": ("score_name", "first"),
        "reference": ("reference", "mean"),
        "score": ("score", "mean"),
        "flops_speedup": ("flops_speedup", "mean"),
        "flops_speedup.low": ("flops_speedup", "min"),
        "flops_speedup.high": ("flops_speedup", "max"),
    }
    for name in (f"real.{label}" for label in timed_labels(table)):
        # Some passes have no FLOPs of their texts; the FLOPs of the split are used instead.
        flops = f"{name}.flops"
        done[flops] = done[flops].fillna(done["flops_speedup"]).where(done[name].notna())
        kinds = (name, f"{name}.same", f"{name}.best")
        means = (*kinds, f"{name}.padded", flops, f"{name}.score", f"{name}.seconds")
        columns |= {each: (each, "mean") for each in means if each in done}
        for each in kinds:
            if each in done:
                columns |= {f"{each}.low": (f"{each}.low", "min")}
                columns |= {f"{each}.high": (f"{each}.high", "max")}
        columns[f"{name}.seeds"] = (name, "count")
        columns |= {f"{flops}.low": (flops, "min"), f"{flops}.high": (flops, "max")}
        columns |= {f"{name}{end}": (f"{name}{end}", "max") for end in (".flagged", ".noisy")}
    for name in (c for c in table.columns if c.startswith("real.") and c.endswith(".backend")):
        columns[name] = (name, _listed)
    for name in (c for c in table.columns if c.startswith("keep_ratio") or ".share." in c):
        columns[name] = (name, "mean")
    # A copy joins the columns, else pandas warns of fragments.
    result = done.groupby(KEY, sort=True).agg(**columns).copy().reset_index()
    result["gain"] = 100 * (result["score"] - result["reference"])
    intervals = [f"{name}{end}" for name in ("score", "gain") for end in (".low", ".high")]
    result[intervals] = np.nan
    names = _setting_names(done)
    result.insert(4, "name", [names.get(setting, "") for setting in result["setting"]])
    return result


def settings_of(points: pd.DataFrame) -> list[str]:
    """The timing settings with at least one point."""
    return [label for label in labels_of(points) if without_backend(label) == label]


def backends_of(points: pd.DataFrame) -> list[str]:
    """The labels of timing settings and backends with at least one point."""
    return [label for label in labels_of(points) if without_backend(label) != label]


def labels_of(points: pd.DataFrame) -> list[str]:
    """The timing labels, with and without backend, with at least one point."""
    return [label for label in timed_labels(points) if points[f"real.{label}"].notna().any()]


def _listed(names: pd.Series) -> str:
    """The backends of the seeds, each once."""
    return " or ".join(sorted(set(names.dropna())))


def reduced_points(points: pd.DataFrame) -> pd.DataFrame:
    """The points of methods other than dense with keep ratio, FLOPs speed-up and score."""
    known = points[["keep_ratio", "flops_speedup", "score"]].notna().all(axis=1)
    return points[~points["method"].isin(DENSE) & known]


def along_front(points: pd.DataFrame, method: str, count: int) -> pd.DataFrame:
    """At most ``count`` points of a method's front, evenly chosen, slowest first."""
    own = points[points["method"] == method]
    own = own[front(own["flops_speedup"], own["gain"])].sort_values("flops_speedup")
    return own.iloc[np.linspace(0, len(own) - 1, min(len(own), count)).round().astype(int)]


def _reference_of_seed(done: pd.DataFrame, every: pd.DataFrame) -> list[float]:
    """The score of the reference with each row's seed, or its mean score if it lacks that seed."""
    found = references(every)
    return [
        found[task].score_beside(seed) if task in found else np.nan
        for task, seed in zip(done["task"], done["seed"], strict=True)
    ]


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
