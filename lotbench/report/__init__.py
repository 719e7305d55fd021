"""Figures and tables from stored results; never needs torch or ray."""
