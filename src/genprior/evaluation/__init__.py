"""Scores of generated images. Knows data and models, never training."""
