"""The report of stores as one HTML file."""
