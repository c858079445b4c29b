"""Training: losses, algorithms and the one loop. Knows data and models, never names or files."""
