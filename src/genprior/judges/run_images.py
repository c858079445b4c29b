"""Images of a run: those that it was trained on, and others that it has not seen."""

from dataclasses import replace
from pathlib import Path

from genprior.data import Dataset, load_data
from genprior.data.spec import Spec, parse_spec
from genprior.data.toy import draw_points
from genprior.errors import GenpriorError
from genprior.families import RunConfig
from genprior.judges.classifier_judge import split_specs
from genprior.runs.run_folder import Run, read_environment
from genprior.seeding import derived_generator

POINTS = 10_000
FAR = 10**9  # more images than there are
Shape = tuple[int, int, int]


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


def may_share(trained: Spec, held_out: Spec) -> bool:
    """Whether two specs may name the same images: the same source, splits that overlap, and windows that do."""
    if (trained.source, trained.source or trained.rest) != (held_out.source, held_out.source or held_out.rest):
        return False
    splits = [set(spec.rest.split(",")) & {"train", "test", "all"} or {"train"} for spec in (trained, held_out)]
    if splits[0] != splits[1]:
        return {"all"} in splits
    windows = [spec.window.indices(FAR) for spec in (trained, held_out)]
    return max(start for start, _, _ in windows) < min(stop for _, stop, _ in windows)


def load_images(config: RunConfig, shape: Shape, spec: str) -> Dataset:
    """Returns the images of a spec in the shape of a run's; raises `GenpriorError` where they have another."""
    data = load_data(spec, root=config.data_root, size=shape[1], channels=shape[0], fit=config.fit)
    if data.image_shape != shape:
        expected, got = ("x".join(map(str, each)) for each in (shape, data.image_shape))
        raise GenpriorError(f"expected images of {expected}, those of {spec} are {got}", argument="data")
    return data


def training_images(run: Run, config: RunConfig) -> Dataset:
    data = config.load_data()
    if not read_environment(run).is_of(data):
        raise GenpriorError(f"{data.name} is no longer what {run.path} was trained on", argument="run")
    return data


def _saw_test(spec: str) -> bool:
    words = {word.strip().removeprefix("split=") for word in parse_spec(spec).rest.split(",")}
    return bool(words & {"test", "all"})


def _new_points(data: Dataset, seed: int) -> Dataset | None:
    if data.modes is None or data.modes.centres is None or data.modes.sigma is None:
        return None
    draws = derived_generator(seed, "new points")
    points, labels = draw_points(data.modes.centres, data.modes.sigma, POINTS, draws)
    return replace(data, name=f"new points like {data.name}", images=points, labels=labels)
