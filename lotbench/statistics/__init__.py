"""What the records of a store say together: scored and timed models, intervals, choices.

Nothing here draws.  `StoreView` reads a store once.  docs/statistics.md has the rules; they are in
`drawn` (bootstrap draws), `reference`, `evidence` (choices, areas, ranks), `timed`.
"""
