"""The area under a method's front: its score against the doublings of its speed."""

from __future__ import annotations

import numpy as np

# Heights are counted from the reference's score minus this many points.
FLOOR = 10.0
# Methods whose scored speed-ups end below this have no common range to compare areas in.
LEAST_END = 1.2


def area(speedups: np.ndarray, margins: np.ndarray, chosen: np.ndarray, end: float) -> np.ndarray:
    """The area from speed-up 1 to ``end``, in points times doublings of speed, shape (draws,).

    The curve starts at the reference (speed-up 1, height ``FLOOR``) and has straight lines between
    the chosen points, since a budget can be set anywhere between two scored ones.  So it depends
    little on how many points were scored.  Beyond its last point it is 0.

    Parameters
    ----------
    speedups : ndarray, shape (points, draws)
    margins : ndarray, shape (points, draws)
        Score minus the reference's, in points.  Below ``-FLOOR`` the height is 0.
    chosen : ndarray of bool, shape (points, draws)
        The points on the front.
    end : float
    """
    order = np.argsort(speedups, axis=0, kind="stable")
    place, height, used = (
        np.take_along_axis(own, order, axis=0)
        for own in (np.log2(np.maximum(speedups, 1)), np.maximum(margins + FLOOR, 0), chosen)
    )
    start = np.ones_like(used[:1])
    place = np.vstack([0.0 * start, place])
    height = np.vstack([FLOOR * start, height])
    # A point that is not chosen repeats the one before it, which adds a line of no length.
    rows = np.arange(len(place))[:, None] * np.vstack([start, used])
    last = np.maximum.accumulate(rows, axis=0)
    place, height = (np.take_along_axis(own, last, axis=0) for own in (place, height))
    width = np.diff(place, axis=0)
    inside = np.clip(np.log2(end) - place[:-1], 0, width)
    slope = np.diff(height, axis=0) / np.where(width > 0, width, 1)
    return (inside * (height[:-1] + slope * inside / 2)).sum(axis=0)


def on_front(speedups: np.ndarray, margins: np.ndarray) -> np.ndarray:
    """True where no other point of the draw is as fast and as good; shape (points, draws)."""
    order = np.lexsort((-margins, -speedups), axis=0)
    ordered = np.take_along_axis(margins, order, axis=0)
    before = np.maximum.accumulate(ordered)[:-1]
    above = np.vstack([np.ones_like(ordered[:1], bool), ordered[1:] > before])
    found = np.empty_like(above)
    np.put_along_axis(found, order, above, axis=0)
    return found
