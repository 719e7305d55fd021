"""The results store: typed records in JSON files, and the tidy frame made of them.

Layout of a store ``results/<sweep>``::

    sweep.json              the resolved sweep
    trials/<trial_id>.json  one trial, replaced when it is run again
    timings/<pass_id>.json  one timing pass of one setting, never overwritten
    maps/<map_id>.json      one break-even map of one setting, never overwritten

`lotbench.store.records` defines what the files hold, `lotbench.store.store` reads and writes them.
"""
