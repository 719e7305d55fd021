"""Sweep and trial files: strict YAML, sections, grids, overrides, and the trials of a sweep."""
