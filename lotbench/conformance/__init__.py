"""The rules that every method must keep, as run by `lotbench check` and the test suite."""
