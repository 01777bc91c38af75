"""Trained models as files that need no project: a `state_dict`, a program of torch's, ONNX."""
