"""What the records of a store say together: scored and timed models, intervals, choices.

Nothing here draws.  `study.Study` reads a store once; rules 44 to 53 of the protocol are
`drawn` (bootstrap draws), `reference`, `evidence` (choices, areas, ranks), `timed` and `latency`.
"""
