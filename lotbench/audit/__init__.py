"""Re-checks a store that somebody sends: what in it does not add up.

It reads the JSON files alone, and it imports no plugin.  A fault is a contradiction between two
values of the store; that a value is plausible is no proof that it was measured.
"""
