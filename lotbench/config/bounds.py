"""The most that a file may ask for; each bound is far above what a study needs.

All are checked before any work, so that a slip (``seeds`` of ten thousand numbers, an alias of
aliases) ends in a message and not in hours or gigabytes.
"""

from __future__ import annotations

import math

FILE_BYTES = 1_000_000
"""Size of a configuration file."""
VALUES = 10_000
"""Values of a file, each alias counted as what it stands for."""
DEPTH = 50
"""Levels of mappings and lists inside each other."""
TRIALS = 2_000
"""Trials of a sweep."""
TRIAL_VALUES = 1_000
"""Values among the parameters of one trial."""
SEEDS = 1_000
LAYERS = 1_000
BUDGETS = 200
"""Budgets or targets at which one model is scored."""
ENTRIES = 50
"""Entries of any other list, such as plugins or batch sizes."""
WIDTH = 65_536
"""Width of a layer, or tokens of a text."""
MINUTES = 100_000
"""Longest time limit, more than two months."""


def written(number: int) -> str:
    """A count as a person reads it: ``20,000``, or ``about 1e38``."""
    return f"{number:,}" if number < 10**15 else f"about 1e{round(math.log10(number))}"
