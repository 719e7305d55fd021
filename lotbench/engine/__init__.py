"""Ragged encoders: attention kernels, backbone adapters, the reduced encoder."""

VERSION = 1
"""Every timing pass records it.  Raise it when packed code gets faster or slower."""
