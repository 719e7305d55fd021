"""Who runs the trials of a sweep: this process, or Ray."""
