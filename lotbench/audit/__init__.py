"""Re-checks the numbers of a store."""
