"""The rules of the contract as code: what `lotbench check` and the test suite ask of a method."""
