"""Tasks: where their rows come from, splits without leaks, tokens, batches, metrics."""
