"""Trials and sweeps: plan, teacher, training, evaluation, timing."""
