"""A spec in, a `Dataset` out: names, folders, arrays, hub data sets and toy distributions."""

from genprior.data.dataset import Dataset, Modes
from genprior.data.load import load_data

__all__ = ["Dataset", "Modes", "load_data"]
