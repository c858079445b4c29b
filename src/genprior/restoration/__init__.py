"""Priors and, through them, restoration. Knows tensors and models, never training."""
