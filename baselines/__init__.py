"""Token-removal baselines and controls, one file per method, registered by entry point."""
