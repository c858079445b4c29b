"""Counting the modes of samples: by the nearest centre where the distribution is known, else by a classifier."""

from collections.abc import Callable, Generator

import torch
from torch import Tensor

from genprior.config import RunConfig
from genprior.data import Dataset
from genprior.data.request import data_root as root_of
from genprior.diagnosis.collapse import CountModes
from genprior.errors import GenpriorError
from genprior.evaluation.features import features_and_classes
from genprior.evaluation.histogram import class_counts, modes_found
from genprior.jobs.evaluation_inputs import load_images
from genprior.jobs.judge import FOLDER, judge_data, judge_of


def mode_counter(
    config: RunConfig, data: Dataset, real: Tensor, judge: str | None, notes: list[str]
) -> Generator[float, None, CountModes | None]:
    """Yields the share that is done of finding what counts modes, and returns it.

    Arguments:
        config: Of the run.
        data: Of the run.
        real: Images (N, C, H, W) of it, which tell how the modes are spread.
        judge: Spec of labelled images whose classifier judges; None: the run's data set.
        notes: Gets a line where modes are not known, which returns None.

    Raises:
        GenpriorError: A judge that was asked for cannot be had.
    """
    if data.modes is not None and data.modes.centres is not None:
        return _counter(nearest(data.modes.centres), data.modes.count, real)
    try:
        return (yield from _judged(config, data, real, judge))
    except GenpriorError as error:
        if judge is not None:
            raise
        notes.append(f"how many modes there are is not known: {error.message}")
        return None


def nearest(centres: Tensor) -> Callable[[Tensor], Tensor]:
    """Returns a function from points x (N, 2, 1, 1) to the index (N,) of the nearest of the centres (modes, 2)."""
    return lambda x: torch.cdist(x.flatten(1), centres.to(x.dtype)).argmin(1)


def _judged(
    config: RunConfig, data: Dataset, real: Tensor, judge: str | None
) -> Generator[float, None, CountModes | None]:
    if data.is_points:
        raise GenpriorError(f"{data.name} are points, which no classifier sees", argument="judge")
    images = judge_data(judge or config.data, lambda spec: load_images(config, data.image_shape, spec))
    found = yield from judge_of(*images, root_of(config.data_root) / FOLDER)
    classifier = found.classifier
    return _counter(lambda x: features_and_classes(classifier, x)[1], classifier.out.out_features, real)


def _counter(mode_of: Callable[[Tensor], Tensor], count: int, real: Tensor) -> CountModes:
    expected = class_counts(mode_of(real), count)
    return lambda x: modes_found(class_counts(mode_of(x), count), expected)[0]
