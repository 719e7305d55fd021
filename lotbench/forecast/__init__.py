"""How many hours a plan takes."""
