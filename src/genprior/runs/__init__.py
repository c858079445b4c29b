"""A run is a folder: its config, steps, checkpoints and what is made of them. No other room knows its files."""
