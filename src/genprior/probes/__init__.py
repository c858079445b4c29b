"""Experiments on a trained GAN from the literature: saturation, collapse, equilibrium."""
