"""Samples of a run: new ones, latents of files, rows between latents, maps around one; what images are nearest."""
