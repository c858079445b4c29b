"""Priors: what a solver may know of a generative model."""
