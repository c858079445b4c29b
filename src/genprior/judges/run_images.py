"""Images of a run: those that it learned from, and others that it has not seen."""

from dataclasses import replace
from pathlib import Path

from genprior.data import Dataset, load_data
from genprior.data.held_out import Split, split_specs
from genprior.data.spec import parse_spec, takes_white
from genprior.data.toy import draw_points
from genprior.errors import GenpriorError
from genprior.families import RunConfig
from genprior.runs.run_folder import Run, refuse_other_data
from genprior.seeding import derived_generator

POINTS = 10_000
Shape = tuple[int, int, int]


def run_split(run: Run, data_root: Path | None = None) -> Split:
    """Returns what a run has learned from, and what it has not.

    Arguments:
        run: The run.
        data_root: Of named data sets; None: as the run's config has it.

    Raises:
        GenpriorError: The data cannot be had, or have changed since.
    """
    split = with_data_root(run.config, data_root).load_split()
    refuse_other_data(run, split.learned, "run")
    return split


def unseen_images(split: Split, seed: int) -> Dataset | None:
    """Returns images like those that a run learned from; of 2-D points new ones; None where there are none.

    Arguments:
        split: Of the run's data.
        seed: Of new points.
    """
    return _new_points(split.learned, seed) if split.learned.is_points else split.load_held_out()


def held_out_images(config: RunConfig, shape: Shape, given: str | None, split: Split | None) -> Dataset:
    """Returns the images that a run is judged on, in the shape of its own.

    They are those that it holds out. A run that has learned from the test images of its data set too is judged on
    these: `learned_note` says so.

    Arguments:
        config: Of the run.
        shape: Of its images (C, H, W).
        given: Spec of other images; None: its own.
        split: Of the run's data; not needed where others are given.

    Raises:
        GenpriorError: About `held_out`: the run has held none out, or images cannot be had in this shape.
    """
    own = split.load_held_out() if given is None and split is not None else None
    if own is not None:
        return own
    specs = split_specs(config.data)
    spec = given or (specs[1] if specs else None)
    if spec is None:
        raise GenpriorError(
            f"the run has learned from all images of {config.data}, and these have no test images of their own; name "
            "images that were not trained on, such as --held-out other_folder",
            argument="held_out",
        )
    try:
        return load_images(config, shape, spec)
    except GenpriorError as error:
        raise GenpriorError(error.message, argument="held_out") from error


def learned_note(name: str, count: int, images: Dataset) -> list[str]:
    """Returns a line about how many of the images a run has learned; none where it is none of them."""
    what = f"{name} has learned {count:,} of these {len(images):,} images"
    return [f"{what}: what is measured on them is not held-out"] if count else []


def load_images(config: RunConfig, shape: Shape, spec: str) -> Dataset:
    """Returns the images of a spec in the shape of a run's; raises `GenpriorError` where they have another."""
    white = config.white if takes_white(parse_spec(spec)) else None  # named data sets know theirs
    data = load_data(spec, root=config.data_root, size=shape[1:], channels=shape[0], fit=config.fit, white=white)
    if data.image_shape != shape:
        expected, got = ("x".join(map(str, each)) for each in (shape, data.image_shape))
        raise GenpriorError(f"expected images of {expected}, those of {spec} are {got}", argument="data")
    return data


def with_data_root(config: RunConfig, data_root: Path | None) -> RunConfig:
    """Returns a config that finds named data sets in another folder; None: where it did."""
    return config if data_root is None else config.model_copy(update={"data_root": str(data_root)})


def _new_points(data: Dataset, seed: int) -> Dataset | None:
    if data.modes is None or data.modes.centres is None or data.modes.sigma is None:
        return None
    draws = derived_generator(seed, "new points")
    points, labels = draw_points(data.modes.centres, data.modes.sigma, POINTS, draws)
    return replace(data, name=f"new points like {data.name}", images=points, labels=labels)
