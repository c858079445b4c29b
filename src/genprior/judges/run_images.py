"""Images of a run: those that it was trained on, and others that it has not seen."""

from dataclasses import replace
from pathlib import Path

from genprior.data import Dataset, load_data
from genprior.data.named import SPLITS
from genprior.data.spec import DataSpec, parse_spec
from genprior.data.toy import draw_points
from genprior.errors import GenpriorError
from genprior.families import RunConfig
from genprior.runs.run_folder import Run, refuse_other_data
from genprior.seeding import derived_generator

POINTS = 10_000
FAR = 10**9  # more images than there are
WITHOUT_TEST = {None, "digits", "hub"}  # sources that have no test split, or do not say what they call it
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
    specs = split_specs(config.data) if _split(parse_spec(config.data)) == "train" else None
    if specs is None:
        return None
    try:
        return load_data(specs[1], root=config.data_root, size=config.size, channels=config.channels, fit=config.fit)
    except GenpriorError:  # a source without such a split
        return None


def split_specs(text: str) -> tuple[str, str] | None:
    """Returns the specs of all training and all test images of a named data set; None where it has no test images.

    Example:
        >>> split_specs("emnist:letters,train[:100]")
        ('emnist:train,letters', 'emnist:test,letters')
    """
    spec = parse_spec(text)
    if spec.source in WITHOUT_TEST:
        return None
    words = [word.strip() for word in spec.rest.split(",") if word.strip()]
    options = [word for word in words if word not in SPLITS and not word.startswith("split=")]
    train, test = (f"{spec.source}:{','.join([split, *options])}" for split in ("train", "test"))
    return train, test


def may_share(trained: DataSpec, held_out: DataSpec) -> bool:
    """Whether two specs may name the same images: the same source, splits that overlap, and windows that do."""
    if (trained.source, trained.source or trained.rest) != (held_out.source, held_out.source or held_out.rest):
        return False
    splits = [_split(spec) for spec in (trained, held_out)]
    if splits[0] != splits[1]:
        return "all" in splits
    windows = [spec.window.indices(FAR) for spec in (trained, held_out)]
    return max(start for start, _, _ in windows) < min(stop for _, stop, _ in windows)


def load_images(config: RunConfig, shape: Shape, spec: str) -> Dataset:
    """Returns the images of a spec in the shape of a run's; raises `GenpriorError` where they have another."""
    data = load_data(spec, root=config.data_root, size=shape[1], channels=shape[0], fit=config.fit)
    if data.image_shape != shape:
        expected, got = ("x".join(map(str, each)) for each in (shape, data.image_shape))
        raise GenpriorError(f"expected images of {expected}, those of {spec} are {got}", argument="data")
    return data


def held_out_images(config: RunConfig, shape: Shape, given: str | None) -> Dataset:
    """Returns images that a run has not seen, in the shape of its own.

    Arguments:
        config: Of the run.
        shape: Of its images (C, H, W).
        given: Spec of the images; None: the test images of the run's data set.

    Raises:
        GenpriorError: About `held_out`: the data set has no test images, or images cannot be had in this shape.
    """
    specs = split_specs(config.data)
    spec = given or (specs[1] if specs else None)
    if spec is None:
        raise GenpriorError(
            f"{config.data} has no test images of its own; name images that were not trained on, such as "
            "--held-out other_folder",
            argument="held_out",
        )
    try:
        return load_images(config, shape, spec)
    except GenpriorError as error:
        raise GenpriorError(error.message, argument="held_out") from error


def with_data_root(config: RunConfig, data_root: Path | None) -> RunConfig:
    """Returns a config that finds named data sets in another folder; None: where it did."""
    return config if data_root is None else config.model_copy(update={"data_root": str(data_root)})


def training_images(run: Run, data_root: Path | None = None) -> Dataset:
    """Returns what a run was trained on.

    Arguments:
        run: The run.
        data_root: Of named data sets; None: as the run's config has it.

    Raises:
        GenpriorError: The data cannot be had, or have changed since.
    """
    data = with_data_root(run.config, data_root).load_data()
    refuse_other_data(run, data, "run")
    return data


def _split(spec: DataSpec) -> str:
    words = [word.strip().removeprefix("split=") for word in spec.rest.split(",")]
    return next((word for word in words if word in SPLITS), "train")


def _new_points(data: Dataset, seed: int) -> Dataset | None:
    if data.modes is None or data.modes.centres is None or data.modes.sigma is None:
        return None
    draws = derived_generator(seed, "new points")
    points, labels = draw_points(data.modes.centres, data.modes.sigma, POINTS, draws)
    return replace(data, name=f"new points like {data.name}", images=points, labels=labels)
