"""Counting the modes of a few samples, where what counts them can be had."""

from collections.abc import Generator

from genprior.data import Dataset
from genprior.diagnosis.minmax_problems import CountModes
from genprior.errors import GenpriorError
from genprior.evaluation.histogram import class_counts, modes_found
from genprior.families import RunConfig
from genprior.judges.mode_finder import run_finder


def mode_counter(
    config: RunConfig, data: Dataset, judge: str | None, notes: list[str]
) -> Generator[float, None, CountModes | None]:
    """Yields the share that is done of finding what counts modes, and returns it.

    A mode counts if it holds a tenth of its share of the samples, points being those of the nearest centre.

    Arguments:
        config: Of the run.
        data: Of the run.
        judge: Spec of labelled images whose classifier judges; None: the run's data set.
        notes: Gets a line where modes are not known, which returns None.

    Raises:
        GenpriorError: A judge that was asked for cannot be had.
    """
    try:
        finder = yield from run_finder(config, data, judge)
    except GenpriorError as error:
        if judge is not None:
            raise
        notes.append(f"how many modes there are is not known: {error.message}")
        return None
    return lambda x: modes_found(class_counts(finder.modes(x), len(finder.spread)), finder.spread)[0]
