"""Timing the stored models of a sweep: select what is still to time, prepare it, run the passes.

`run.time_models` takes these three steps.  The clock, and break-even maps, are in
`lotbench.measure`.
"""
