"""Ragged encoders: attention kernels, backbone adapters, the reduced encoder."""

VERSION = 9
"""Version of the packed code; every timing pass records it.  Raise it when speed changes."""
