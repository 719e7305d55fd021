"""The results store: typed records in JSON files.

Layout of a store ``results/<sweep>``::

    sweep.json              the resolved sweep
    trials/<trial_id>.json  one trial, replaced when it runs again
    timings/<pass_id>.json  one timing pass of one setting, never overwritten
    maps/<map_id>.json      one break-even map of one setting, never overwritten

`rows`, `passes` and `maps` define the contents; `store` reads and writes the files.
"""
