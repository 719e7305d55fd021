"""Trained models as files: export to ONNX, and the sessions that run the file."""
