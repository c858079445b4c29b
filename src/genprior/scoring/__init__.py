"""Experiments on trained runs: scores, comparison, diagnosis."""
