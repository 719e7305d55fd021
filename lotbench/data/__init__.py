"""Tasks: sources, splits without leaks, tokens, batches, metrics."""
