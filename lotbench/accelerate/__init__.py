"""Your own model in, a faster one out: the work behind ``lotbench accelerate``."""
