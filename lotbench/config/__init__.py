"""Sweep and trial files: their sections, strict YAML, grids."""
