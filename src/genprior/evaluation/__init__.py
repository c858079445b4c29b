"""Scores of generated images. Knows tensors and models, never training."""
