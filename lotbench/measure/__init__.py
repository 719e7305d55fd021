"""FLOPs, wall-clock and machine records."""
