"""FLOPs, wall-clock, memory and machine records."""
