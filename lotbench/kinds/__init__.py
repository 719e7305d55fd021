"""The kinds of task: one file with one object for each, listed in `registry`."""
