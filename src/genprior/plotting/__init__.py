"""Figures from tensors and records, each drawn by one function, for files and for the page."""
