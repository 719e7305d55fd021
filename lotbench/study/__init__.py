"""Configuration, data, training, trials and sweeps."""
