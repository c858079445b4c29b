"""Damaging many images, to have something to restore."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from genprior.errors import GenpriorError
from genprior.images import to_uint8, write_image
from genprior.restoration.noise import NOISES, measure
from genprior.restoration.operators import OPERATORS, Operator
from genprior.restoring.fitting_items import Item
from genprior.restoring.job_settings import DegradeSettings
from genprior.restoring.ledger import MASKS, Output, Prepared, write_summary
from genprior.restoring.measurements import Reading, ReadItem, Refused, kernel_facts, read_all
from genprior.restoring.records import (
    IMAGES,
    MEASUREMENTS,
    RECORD,
    Degradation,
    DegradeSummary,
    ImageRow,
    JobRecord,
    JobSummary,
    Tally,
    write_model,
)
from genprior.restoring.sized_work import SIZES_KEPT, measured_shape
from genprior.restoring.sources import Shape, Source, channels_first, check_values, fitted, is_picture, open_source
from genprior.writing import save_tensors, write_numbers

if TYPE_CHECKING:
    from deepinv.physics import NoiseModel

HINT = "--size and --channels convert images"


def prepare_degrading(settings: DegradeSettings) -> Prepared[DegradeSummary]:
    """Returns the job of damaging images.

    Raises:
        GenpriorError: Bad input.
    """
    noise: NoiseModel = settings.noise.build(NOISES, "noise")
    source = open_source(settings.images, data_root=settings.data_root, white=settings.white)
    shape = image_shape(source, settings)
    operators = Operators(settings)
    operators.of(shape)  # what is wrong with it is told before anything is read
    read = _reader(source, shape, operators, noise, settings)
    work = Degrading(source, read, settings.batch_size, operators, settings)
    files = kernel_facts(settings.operator)
    record = JobRecord(
        genprior="degrade", settings=settings.deciding(), source=source.identity, files=files, listing=source.listing
    )
    first = "" if _converts(settings) or len(source) == 1 else ", the first"
    note = f"{len(source):,} images{first} of {'x'.join(map(str, shape))} from {settings.images}"
    return Prepared(work, record, len(source), settings, note)


def _converts(settings: DegradeSettings) -> bool:
    return settings.size is not None or settings.channels is not None


class Operators:
    """The operator for images of each shape; the latest few are kept.

    Arguments:
        settings: What damages images.
    """

    def __init__(self, settings: DegradeSettings) -> None:
        self._settings = settings
        self._kept: dict[tuple[int, int, int], tuple[Operator, Shape]] = {}

    def of(self, shape: tuple[int, int, int]) -> tuple[Operator, Shape]:
        """Returns the operator for images (C, H, W), and the shape of a measurement.

        Raises:
            GenpriorError: It does not go with images of that shape.
        """
        if shape not in self._kept:
            told = self._settings
            made: Operator = told.operator.build(OPERATORS, "operator", image_shape=shape, seed=told.seed)
            while len(self._kept) >= SIZES_KEPT:
                self._kept.pop(next(iter(self._kept)))
            self._kept[shape] = made, measured_shape(made, shape)
        return self._kept[shape]


def image_shape(source: Source, settings: DegradeSettings) -> tuple[int, int, int]:
    """Returns what the first readable image is, but for the size and channels in the settings.

    Raises:
        GenpriorError: None of the first part can be read, or items are no images.
    """
    shape = first_shape(source, settings.batch_size)
    if len(shape) != 3:
        found = "x".join(map(str, shape))
        raise GenpriorError(f"expected images (C, H, W), got items of shape {found}", argument="images")
    return (settings.channels or shape[0], settings.size or shape[1], settings.size or shape[2])


def first_shape(source: Source, count: int) -> tuple[int, ...]:
    """Returns the shape of the first readable one of `count` items, channels first.

    Raises:
        GenpriorError: None of them can be read.
    """
    problem = ""
    for place in range(min(count, len(source))):
        try:
            return tuple(channels_first(source.read(place)).shape)
        except (GenpriorError, OSError) as error:
            problem = problem or (error.message if isinstance(error, GenpriorError) else str(error))
    many = min(count, len(source))
    raise GenpriorError(f"none of the first {many} images can be read; {problem}", argument="images")


def _reader(
    source: Source, shape: tuple[int, int, int], operators: Operators, noise: "NoiseModel", settings: DegradeSettings
) -> ReadItem:
    convert, are_pictures = _converts(settings), is_picture(operators.of(shape)[1])

    def read(place: int) -> Item:
        label, number, stored = source.labels[place], source.numbers[place], source.read(place)
        own = shape if convert else _own_shape(stored, shape, are_pictures)
        x = fitted(stored, label, own, resize=convert, hint=HINT)
        check_values(x, label, is_image=is_picture(own))
        operator, _ = operators.of(own)
        y = measure(x[None], operator, noise, seed=settings.seed, first=number)[0]
        return Item(place, number, y, operator.parameters(number), x)

    return read


def _own_shape(stored: Tensor, first: tuple[int, int, int], are_pictures: bool) -> tuple[int, int, int]:
    """The shape of an image where it may be damaged as it is, in a picture of its own; else that of the first."""
    shape = tuple(channels_first(stored).shape)
    if not (are_pictures and is_picture(first) and is_picture(shape)):
        return first
    return (shape[0], shape[1], shape[2])


@dataclass(frozen=True)
class Degrading(Reading):
    """Damages the images of a part, and puts the measurements of all into one array, where they have one shape.

    Attributes:
        operators: What damages them.
        settings: What is to be done.
    """

    operators: Operators
    settings: DegradeSettings

    @property
    def summary(self) -> type[DegradeSummary]:
        """The model of what `collect` writes last."""
        return DegradeSummary

    @property
    def keeps_tensors(self) -> bool:
        """The array of all measurements holds them."""
        return False

    def do(self, output: Output, part: int) -> list[ImageRow]:
        """Writes the measurements of a part, and pictures of them; returns its rows."""
        items = read_all(self.source, self.read, output.items(part))
        good = [item for item in items if isinstance(item, Item)]
        for item in items:
            if isinstance(item, Refused):  # nothing stays of an image that could be read before
                for folder in (IMAGES, MASKS):
                    output.picture(self.source.names[item.place], folder).unlink(missing_ok=True)
        if good:
            save_tensors(_by_shape([item.y for item in good]), output.tensors(part))
        else:
            output.tensors(part).unlink(missing_ok=True)  # of images that could be read before
        for item in good:
            self._draw(output, item)
        return [self._row(item) for item in items]

    def files(self, output: Output, part: int) -> list[Path]:
        """Returns the measurements of a part, and the pictures of them."""
        names = [self.source.names[place] for place in output.items(part)]
        return [output.tensors(part), *(output.picture(name, each) for name in names for each in (IMAGES, MASKS))]

    def collect(self, output: Output) -> None:
        """Writes the measurements of all images that could be read, what they are, and the summary last."""
        tally = Tally(output.rows())
        good = list(tally.good())
        _write_measurements(output, len(good))
        names, numbers = tuple(row.name for row in good), tuple(row.number for row in good)
        record = Degradation(**dict(self.settings), names=names, numbers=numbers)
        write_model(record, output.path / RECORD, exclude=("threads", "data_root"))
        summary = tally.summary(DegradeSummary, self.settings, output.seconds(), {"command": "degrade"})
        write_summary(summary, output)

    def tidy(self, output: Output, summary: JobSummary) -> None:
        """Removes the measurements of the parts: the array holds them all, unless images are still to be mended."""
        for part in range(0 if summary.failed else output.parts):
            output.tensors(part).unlink(missing_ok=True)

    def _row(self, item: Item | Refused) -> ImageRow:
        name = self.source.names[item.place]
        if isinstance(item, Refused):
            return ImageRow(number=item.number, name=name, problem=item.problem)
        return ImageRow(number=item.number, name=name)

    def _draw(self, output: Output, item: Item) -> None:
        name = self.source.names[item.place]
        if is_picture(tuple(item.y.shape)):
            write_image(to_uint8(item.y), output.picture(name))
        assert item.truth is not None, "what is damaged is known"
        operator, _ = self.operators.of((item.truth.shape[0], item.truth.shape[1], item.truth.shape[2]))
        if operator.has_masks:
            mask: Tensor = item.parameters.get("mask", operator.physics.mask)
            write_image(to_uint8(mask.view(-1, *mask.shape[-2:])[:1]), output.picture(name, MASKS))


def _by_shape(measurements: Sequence[Tensor]) -> dict[str, Tensor]:
    """Measurements (B, ...) of each shape, by the shape in words."""
    groups: dict[str, list[Tensor]] = {}
    for y in measurements:
        groups.setdefault("x".join(map(str, y.shape)), []).append(y)
    return {shape: torch.stack(group).contiguous() for shape, group in groups.items()}


def _write_measurements(output: Output, count: int) -> None:
    """Puts the measurements of all parts into one .npy file, never holding more than a part in memory.

    There is none where they have several shapes: the pictures of them are all.
    """
    from safetensors import safe_open
    from safetensors.torch import load_file

    files = [file for file in map(output.tensors, range(output.parts)) if file.exists()]
    shapes = set()
    for file in files:
        with safe_open(file, "pt") as stored:
            shapes |= {tuple(stored.get_slice(name).get_shape()[1:]) for name in stored.keys()}  # noqa: SIM118
    if len(shapes) == 1:
        parts = (y.numpy() for file in files for y in load_file(file).values())
        write_numbers(output.path / MEASUREMENTS, (count, *shapes.pop()), parts)
    elif shapes:
        (output.path / MEASUREMENTS).unlink(missing_ok=True)  # of images that had one
