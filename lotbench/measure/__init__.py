"""FLOPs, wall-clock, memory and the break-even map.

A timing pass starts in `passes`, which launches worker processes (`launch`, `worker`) and merges
what they measured (`merge`).  `contenders` turns a model into a list of calls, `protocol` says how
calls are timed and compared, and `spec` defines what travels between the processes.
"""
