"""Real images that a run was not trained on."""

from dataclasses import replace
from pathlib import Path

from genprior.config import RunConfig
from genprior.data import Dataset, load_data
from genprior.data.spec import parse_spec
from genprior.data.toy import draw_points
from genprior.errors import GenpriorError
from genprior.jobs.judge import split_specs
from genprior.seeding import derived_generator

POINTS = 10_000


def held_out_of(config: RunConfig, data: Dataset, seed: int) -> Dataset | None:
    """Returns images like those of a run that it has not seen; None where there are none.

    They are the test images of the run's data set, unless it was trained on them; of 2-D points, whose distribution is
    known, new ones.

    Arguments:
        config: Of the run.
        data: What it was trained on.
        seed: Of new points.
    """
    if data.is_points:
        return _new_points(data, seed)
    specs = None if _saw_test(config.data) else split_specs(config.data)
    if specs is None:
        return None
    root = None if config.data_root is None else Path(config.data_root)
    try:
        return load_data(specs[1], root=root, size=config.size, channels=config.channels, fit=config.fit)
    except GenpriorError:  # a source without such a split
        return None


def _saw_test(spec: str) -> bool:
    words = {word.strip().removeprefix("split=") for word in parse_spec(spec).rest.split(",")}
    return bool(words & {"test", "all"})


def _new_points(data: Dataset, seed: int) -> Dataset | None:
    if data.modes is None or data.modes.centres is None or data.modes.sigma is None:
        return None
    draws = derived_generator(seed, "new points")
    points, labels = draw_points(data.modes.centres, data.modes.sigma, POINTS, draws)
    return replace(data, name=f"new points like {data.name}", images=points, labels=labels)
