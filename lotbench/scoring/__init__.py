"""Scores of outputs: metrics, resamples, areas, stored predictions."""
