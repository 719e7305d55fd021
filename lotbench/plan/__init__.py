"""What a sweep has to do: trials, searches and choices; the only place that checks."""
