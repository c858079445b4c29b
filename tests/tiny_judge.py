"""A judge of digits of 8 x 8 pixels, trained in about a second."""

from pathlib import Path

from genprior.data import Dataset, load_data
from genprior.evaluation.features import Classifier
from genprior.judges.trained_judge import CLASSIFIER, Judge, judge_data, judge_of
from genprior.progress import result_of


def load_tiny(spec: str) -> Dataset:
    """The images of a spec at 8 x 8 pixels."""
    return load_data(spec, size=8)


def make_tiny_judge(root: Path) -> Judge[Classifier]:
    """The judge, from the cache in a data root or trained into it."""
    return result_of(judge_of(CLASSIFIER, *judge_data("digits", load_tiny), root))
