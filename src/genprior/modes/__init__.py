"""The benchmark of mode counts."""
