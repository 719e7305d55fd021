"""The area of a method: the score of its best model at every speed-up, over doublings of speed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

# Heights are counted from the reference's score minus this many points; see `Trial.floor`.
FLOOR, FLOOR_OF_VECTORS = 10.0, 30.0
# Methods whose scored speed-ups end below this have no common range to compare areas in.
LEAST_END = 1.2
# Speed-ups per doubling at which the height is read.
AREA_STEPS = 50


def area(
    speedups: np.ndarray,
    deciding: np.ndarray,
    margins: np.ndarray,
    settings: Sequence[str | None],
    end: float,
    floor: float,
) -> np.ndarray:
    """The area from speed-up 1 to ``end``, in points times doublings of speed, shape (draws,).

    ``speedups``, ``deciding`` and ``margins`` have shape (models, draws).  The last two are scores
    minus the reference's, in points: on the split by which the best model is chosen, and on the one
    that is read.  The height is a margin plus ``floor``, at least 0.

    At every speed-up the method is as good as its best model there.  A budget can be set between
    two scored ones of a setting; its score is then taken from the straight line between these.  The
    first line starts at the reference, and a setting with one model has none.  A scored model that
    is faster than asked for counts, too.  Beyond the fastest model the height is 0.
    """
    if end <= 1:
        return np.zeros(speedups.shape[1])
    count = max(1, round(AREA_STEPS * np.log2(end)))
    width = np.log2(end) / count
    places = width * (np.arange(count) + 0.5)
    best = np.full((count, speedups.shape[1]), -np.inf)
    height = np.zeros_like(best)
    for setting in dict.fromkeys(settings):
        own = [row for row, other in enumerate(settings) if other == setting]
        for chosen, read in _available(speedups[own], deciding[own], margins[own], places):
            better = chosen > best
            best = np.where(better, chosen, best)
            height = np.where(better, np.maximum(read + floor, 0), height)
    return width * height.sum(axis=0)


def _available(
    speedups: np.ndarray, deciding: np.ndarray, margins: np.ndarray, places: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """What one setting offers at each place: on its line, and of its models from there on.

    Each is a pair of arrays (places, draws): ``deciding``, -inf where there is none, and
    ``margins``.
    """
    # Of equal speed-ups the best is last, where the line to the next one starts.
    order = np.lexsort((deciding, speedups), axis=0)
    reference = np.zeros_like(speedups[:1])
    place, *scores = (
        np.vstack([reference, np.take_along_axis(own, order, axis=0)])
        for own in (np.log2(np.maximum(speedups, 1)), deciding, margins)
    )
    # No line starts at a model that is no faster than the reference.
    scores = [np.where(place > 0, own, 0) for own in scores]
    # The row of the next model that is faster than each place.
    after = (place[None] <= places[:, None, None]).sum(axis=1)
    reached = after < len(place)
    after = np.minimum(after, len(place) - 1)
    if len(speedups) > 1:
        start, stop = _rows(place, after - 1), _rows(place, after)
        share = (places[:, None] - start) / np.where(stop > start, stop - start, 1)
        chosen, read = (
            _rows(own, after - 1) * (1 - share) + _rows(own, after) * share for own in scores
        )
        yield np.where(reached, chosen, -np.inf), read
    best = _rows(_best_from(scores[0]), after)
    yield np.where(reached, _rows(scores[0], best), -np.inf), _rows(scores[1], best)


def _best_from(values: np.ndarray) -> np.ndarray:
    """For each row the row of the largest value from there on, the last of equals; same shape."""
    backwards = values[::-1]
    peak = np.maximum.accumulate(backwards, axis=0)
    first = np.vstack([np.ones_like(values[:1], bool), backwards[1:] > peak[:-1]])
    row = np.maximum.accumulate(np.arange(len(values))[:, None] * first, axis=0)
    return (len(values) - 1 - row)[::-1]


def _rows(values: np.ndarray, rows: np.ndarray) -> np.ndarray:
    return np.take_along_axis(values, rows, axis=0)
