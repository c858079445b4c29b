"""One item of a restoration: its measurement, what is known of how it came about, and the truth where it is known."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from genprior.errors import GenpriorError
from genprior.restoration.noise import measure
from genprior.restoration.operators import Operator, masked
from genprior.restoring.degradation_record import check_noise, check_record, is_array, read_record
from genprior.restoring.job_settings import RestoreSettings
from genprior.restoring.masks import Masks, open_masks
from genprior.restoring.shapes import Shape, check_values, fitted, is_picture
from genprior.restoring.sources import Source

if TYPE_CHECKING:
    from deepinv.physics import NoiseModel


@dataclass(frozen=True)
class Item:
    """An image to be restored.

    Attributes:
        place: Among the items of the job.
        number: All that is random about it derives from this.
        y: Its measurement, without leading dimension.
        parameters: Of the operator for it, (1, ...) each.
        truth: The image (C, H, W) itself, where it is known.
    """

    place: int
    number: int
    y: Tensor
    parameters: dict[str, Tensor]
    truth: Tensor | None = None


@dataclass(frozen=True)
class Refused:
    """An item that cannot be worked on, and why."""

    place: int
    number: int
    problem: str


ReadItem = Callable[[int], Item]


def read_all(source: Source, read: ReadItem, places: Iterable[int]) -> list[Item | Refused]:
    """Returns items; what is wrong with one of them is told, and does not touch the others."""
    return [_item_or_problem(source, read, place) for place in places]


def _item_or_problem(source: Source, read: ReadItem, place: int) -> Item | Refused:
    try:
        return read(place)
    except (GenpriorError, OSError) as error:
        message = error.message if isinstance(error, GenpriorError) else str(error)
        return Refused(place, source.numbers[place], " ".join(message.split()))


def is_readable(source: Source, read: ReadItem, place: int) -> bool:
    """Returns whether an item can be worked on."""
    return isinstance(_item_or_problem(source, read, place), Item)


def refuse_unfit(source: Source, read: ReadItem, count: int) -> None:
    """Raises `GenpriorError` for a readable one of the first `count` items that does not fit, or if all are unreadable.

    What is wrong with later ones is told when their turn comes, and does not end the work on the others.
    """
    problems = []
    for place in range(min(count, len(source))):
        try:
            source.read(place)
        except (GenpriorError, OSError) as error:
            problems.append(error.message if isinstance(error, GenpriorError) else str(error))
            continue
        read(place)
    if len(problems) == len(source):
        raise GenpriorError(f"none of {len(source)} images can be read; {problems[0]}", argument="images")


def joined_parameters(items: Sequence[Item]) -> dict[str, Tensor]:
    """Returns the parameters (B, ...) of the operator for items."""
    return {name: torch.cat([item.parameters[name] for item in items]) for name in items[0].parameters}


def consecutive(items: Iterable[Item]) -> list[list[Item]]:
    """Returns items in groups whose numbers follow one another."""
    groups: list[list[Item]] = []
    for item in items:
        if groups and groups[-1][-1].number + 1 == item.number:
            groups[-1].append(item)
        else:
            groups.append([item])
    return groups


def whole_images(source: Source, shape: Shape, resize: bool) -> ReadItem:
    """Returns a reader of images to be inverted: the image is its own measurement."""
    image = _image_reader(source, shape, resize)

    def read(place: int) -> Item:
        x = image(place)
        return Item(place, source.numbers[place], x, {}, x)

    return read


def damaged_here(
    source: Source, shape: Shape, resize: bool, operator: Operator, noise: "NoiseModel", seed: int
) -> ReadItem:
    """Returns a reader that damages images."""
    image = _image_reader(source, shape, resize)

    def read(place: int) -> Item:
        x, number = image(place), source.numbers[place]
        y = measure(x[None], operator, noise, seed=seed, first=number)[0]
        return Item(place, number, y, operator.parameters(number), x)

    return read


def damaged_before(source: Source, shape: Shape, resize: bool, operator: Operator, masks: Masks | None) -> ReadItem:
    """Returns a reader of measurements; with masks, what the missing pixels hold does not matter."""
    expected = measured_shape(operator, shape)

    def read(place: int) -> Item:
        number, label = source.numbers[place], source.labels[place]
        y = fitted(source.read(place), label, expected, resize=resize)
        parameters = operator.parameters(number)
        if masks is not None:
            mask = masks(place)
            y = torch.where(mask > 0, y, 0.0)
            parameters = {"mask": mask[None]}
        check_values(y, label, is_image=False)
        return Item(place, number, y, parameters)

    return read


@torch.no_grad()
def measured_shape(operator: Operator, shape: Shape) -> Shape:
    """Returns the shape of a measurement of one image (C, H, W)."""
    return tuple(operator.physics.A(torch.zeros(1, *shape), **operator.parameters(0)).shape[1:])


def with_recorded_noise(settings: RestoreSettings, source: Source) -> RestoreSettings:
    """Returns settings with the noise that `degrade` recorded, where they tell of none.

    Raises:
        GenpriorError: They tell of another noise.
    """
    record = _record(settings, source)
    if record is None or settings.noise_level is not None:
        return settings
    if settings.noise is not None:
        check_noise(record, settings.noise)
    return replace(settings, noise=str(record["noise"]))


def _record(settings: RestoreSettings, source: Source) -> dict[str, Any] | None:
    """What `degrade` tells of images that are damaged already."""
    is_damaged = settings.operator is not None and not settings.simulate
    return read_record(source.path) if is_damaged and source.path is not None else None


def operator_and_masks(
    settings: RestoreSettings, source: Source, shape: tuple[int, int, int], build: Callable[[str], Operator]
) -> tuple[Operator, Masks | None]:
    """Returns what damaged the images, and their masks where the user gave some.

    Raises:
        GenpriorError: Bad masks, or images that are damaged in ways that nobody tells.
    """
    assert settings.operator is not None
    record = _record(settings, source)
    if record is not None:
        check_record(record, settings.operator, settings.seed, has_mask=settings.mask is not None)
    if settings.mask is not None:
        masks = open_masks(Path(settings.mask).expanduser(), source.names, shape, resize=settings.resize)
        anything = torch.ones(1, 1, *shape[1:], dtype=torch.bool)
        anything[..., 0, 0] = False
        return masked(anything, shape), masks
    operator = build(settings.operator)
    if not settings.simulate and operator.parameters(0) and not (record and is_array(source.path)):
        raise GenpriorError(
            f"{settings.operator} is another one for each image: give the masks with --operator inpaint --mask FOLDER",
            argument="operator",
        )
    return operator, None


def _image_reader(source: Source, shape: Shape, resize: bool) -> Callable[[int], Tensor]:
    def read(place: int) -> Tensor:
        label = source.labels[place]
        x = fitted(source.read(place), label, shape, resize=resize)
        check_values(x, label, is_image=is_picture(shape))  # points have units of their own
        return x.clamp(0, 1) if is_picture(shape) else x

    return read
