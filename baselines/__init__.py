"""Baselines and controls: one file per method, each registered by an entry point."""
