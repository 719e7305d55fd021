"""Ragged encoders: attention kernels, backbone adapters, the reduced encoder."""

VERSION = 10
"""Version of the packed code; every timing pass records it.  Raise it when speed changes."""
