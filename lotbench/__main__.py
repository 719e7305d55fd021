"""``python -m lotbench`` is the command line."""

from lotbench.cli import main

main()
