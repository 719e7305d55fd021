"""The clock: wall-clock, memory, FLOPs and the break-even map.

`launch` starts a fresh process for `worker` or `breakeven`.  `calls` turns a model in a backend
into a list of calls, `protocol` says how calls are timed and compared, `breakdown` and `memory`
observe them, and `spec` defines what travels between the processes.
"""
