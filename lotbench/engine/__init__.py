"""Ragged encoders: attention kernels, backbone adapters, the reduced encoder."""
