"""Sweep and trial files: strict YAML, sections, grids, overrides, the trials of a sweep."""
