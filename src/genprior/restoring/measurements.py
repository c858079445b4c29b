"""Items of a job: a measurement, what is known of how it came about (masks too), and the truth where it is known."""

import hashlib
import math
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from genprior.errors import GenpriorError
from genprior.restoration.noise import measure
from genprior.restoration.operators import OPERATORS, Operator, masked
from genprior.restoration.plausibility import SIGMAS, implausible
from genprior.restoring.fitting_items import Item, joined_notes, opened_item
from genprior.restoring.job_settings import RestoreSettings
from genprior.restoring.masks import Masks, looks_inverted, open_masks
from genprior.restoring.records import MEASUREMENTS, Degradation, Facts, read_degradation
from genprior.restoring.sized_work import Sizes
from genprior.restoring.sources import Source, check_values, is_picture, refuse_inside
from genprior.runs.files import file_sha256
from genprior.specs import Spec

if TYPE_CHECKING:
    from deepinv.physics import NoiseModel


@dataclass(frozen=True)
class KnownNoise:
    """What is known of the noise in measurements.

    Attributes:
        model: None: nothing.
        level: Standard deviation; None: that of the model, or not known.
    """

    model: "NoiseModel | None" = None
    level: float | None = None


INVERTED = "all known pixels are black, and missing ones are not: the mask looks inverted (white is known)"


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


@dataclass(frozen=True)
class Reading:
    """Where the items of a job come from.

    Attributes:
        source: Names, numbers and pixels.
        read: Gives an item.
        batch_size: Items in a part.
        masks: Those that the user gave.
    """

    source: Source
    read: ReadItem
    batch_size: int
    masks: Masks | None = field(default=None, kw_only=True)

    def content(self, place: int) -> str:
        """Returns what changes when an item is another one: its number, name, pixels or mask."""
        try:
            mask = self.masks.digest(place) if self.masks is not None else ""
            digests = f"{self.source.digest(place)} {mask}"
        except OSError:
            digests = "unreadable"
        text = f"{self.source.numbers[place]} {self.source.names[place]}\n{digests}"
        return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()

    def names(self) -> Sequence[str]:
        """Returns the names of all items."""
        return self.source.names

    def is_readable(self, place: int) -> bool:
        """Returns whether an item can be worked on."""
        return isinstance(_item_or_problem(self.source, self.read, place), Item)

    def check(self, out: Path) -> None:
        """Raises `GenpriorError` where a readable item of the first part does not fit, or all items are unreadable.

        So it does where results would become items. What is wrong with later items is told when their turn comes.
        """
        refuse_inside(out, self.source)
        problems = []
        for place in range(min(self.batch_size, len(self.source))):
            try:
                self.source.read(place)
            except (GenpriorError, OSError) as error:
                problems.append(error.message if isinstance(error, GenpriorError) else str(error))
                continue
            self._fits(place)
        if len(problems) == len(self.source):
            raise GenpriorError(f"none of {len(self.source)} images can be read; {problems[0]}", argument="images")

    def _fits(self, place: int) -> None:
        """Raises what is wrong with a readable item, with its name."""
        try:
            self.read(place)
        except GenpriorError as error:
            label = self.source.labels[place]
            if label in error.message:
                raise
            raise GenpriorError(f"{label}: {error.message}", argument=error.argument) from error


def joined_parameters(items: Sequence[Item]) -> dict[str, Tensor]:
    """Returns the parameters (B, ...) of the operator for items."""
    return {name: torch.cat([item.parameters[name] for item in items]) for name in items[0].parameters}


def consecutive(items: Iterable[Item]) -> list[list[Item]]:
    """Returns items in groups whose numbers follow one another, for images of one size."""
    groups: list[list[Item]] = []
    for item in items:
        last = groups[-1][-1] if groups else None
        if last is not None and last.number + 1 == item.number and last.shape == item.shape:
            groups[-1].append(item)
        else:
            groups.append([item])
    return groups


def whole_images(source: Source, sizes: Sizes) -> ReadItem:
    """Returns a reader of images to be inverted: the image is its own measurement."""

    def read(place: int) -> Item:
        stored = opened_item(source, place)
        fit = sizes.of_image(stored).fit
        item = fit.item(stored)
        check_values(item.y, source.labels[place], is_image=is_picture(fit.shape))  # points have units of their own
        x = item.y.clamp(0, 1) if is_picture(fit.shape) else item.y
        return replace(item, y=x, truth=x, shape=fit.shape)

    return read


def damaged_here(source: Source, sizes: Sizes, noise: "NoiseModel", seed: int, *, keep: bool) -> ReadItem:
    """Returns a reader that damages images."""
    image = whole_images(source, sizes)

    def read(place: int) -> Item:
        item = image(place)
        operator = sizes.of_size(*item.shape[1:]).operator
        own = operator.parameters(source.numbers[place])
        y = measure(item.y[None], operator, noise, seed=seed, first=item.number)[0]
        return replace(item, y=y, parameters=own, known=_known(operator, own), keeps=keep)

    return read


def damaged_before(source: Source, sizes: Sizes, masks: Masks | None, noise: KnownNoise, *, keep: bool) -> ReadItem:
    """Returns a reader of measurements; with masks, what the missing pixels hold does not matter.

    Values that images in [0, 1] cannot give through this operator and noise are refused: they have another scale.
    """
    read = _damaged(source, sizes, keep=keep) if masks is None else _masked_before(source, sizes, masks, keep=keep)

    def checked(place: int) -> Item:
        item, label = read(place), source.labels[place]
        check_values(item.y, label, is_image=False)
        wrong = _wrong_values(item, sizes.of_size(*item.shape[1:]).operator, noise)
        if wrong is not None:
            raise GenpriorError(f"{label} has {wrong}; --white VALUE divides by the value of white", argument="images")
        return item

    return checked


def _wrong_values(item: Item, operator: Operator, noise: KnownNoise) -> str | None:
    if operator.largest is None:
        known = None if item.known is None else item.parameters.get("mask", operator.physics.mask)[0].expand_as(item.y)
        return implausible(item.y, noise.model, noise.level, known)
    size, most = float(item.y.square().mean().sqrt()), math.hypot(operator.largest, SIGMAS * (noise.level or 0.0))
    return None if size <= most else f"values of {size:.4g} on average, expected at most {most:.3g}"


def _damaged(source: Source, sizes: Sizes, *, keep: bool) -> ReadItem:
    def read(place: int) -> Item:
        stored = opened_item(source, place)
        sized = sizes.of_measurement(stored)
        operator, shape = sized.operator, sized.prior.image_shape
        is_image = sized.measured == shape
        fit = replace(sized.fit, shape=sized.measured, enlarge=is_image and not operator.has_masks)
        item, own = fit.item(stored), operator.parameters(source.numbers[place])
        return replace(item, parameters=own, known=_known(operator, own), keeps=keep, shape=shape)

    return read


def _masked_before(source: Source, sizes: Sizes, masks: Masks, *, keep: bool) -> ReadItem:
    def read(place: int) -> Item:
        mask, stored = masks.read(place), opened_item(source, place)
        fit = sizes.of_image(stored).fit
        if stored.given is None:
            return fit.item(stored)  # raises: what has no pixels has no missing ones
        known = mask.of_size(stored.raw.shape[-2:], resize=fit.resize)
        item = fit.item(replace(stored, raw=torch.where(known > 0, stored.raw, 0.0)))
        inverted = INVERTED if looks_inverted(stored.raw, known) else None
        note = joined_notes(inverted, mask.note, item.note)
        own = fit.mask(known, item)
        return replace(
            item,
            y=torch.where(own > 0, item.y, 0.0),
            parameters={"mask": own[None]},
            known=(own if item.is_converted else known)[0] > 0,
            keeps=keep,
            note=note,
            shape=fit.shape,
        )

    return read


def _known(operator: Operator, own: dict[str, Tensor]) -> Tensor | None:
    """Pixels (h, w) that the operator leaves as they are; None where it mixes them."""
    if not operator.has_masks:
        return None
    mask: Tensor = own.get("mask", operator.physics.mask)
    return mask[0].amin(0) > 0


def with_recorded_noise(settings: RestoreSettings, source: Source) -> RestoreSettings:
    """Returns settings with the noise that `degrade` recorded, where they tell of none.

    Raises:
        GenpriorError: They tell of another noise.
    """
    record = _record(settings, source)
    if record is None or settings.noise_level is not None:
        return settings
    if settings.noise is not None:
        record.check_noise(settings.noise)
    return settings.model_copy(update={"noise": record.noise})


def _record(settings: RestoreSettings, source: Source) -> Degradation | None:
    """What `degrade` tells of images that are damaged already."""
    return None if settings.simulate or source.path is None else read_degradation(source.path)


def operator_maker_and_masks(
    settings: RestoreSettings, source: Source
) -> tuple[Callable[[tuple[int, int, int]], Operator], Masks | None]:
    """Returns what makes the operator for images (C, H, W), and their masks where the user gave some.

    Raises:
        GenpriorError: Bad masks, or another operator than the one that `degrade` recorded.
    """
    record = _record(settings, source)
    if record is not None:
        record.check_operator(settings.operator, settings.seed, has_mask=settings.mask is not None)
    if settings.mask is not None:
        return _any_mask, open_masks(settings.mask.expanduser(), source.names, source.labels)
    operator, seed = settings.operator, settings.seed
    return lambda shape: operator.build(OPERATORS, "operator", image_shape=shape, seed=seed), None


def _any_mask(shape: tuple[int, int, int]) -> Operator:
    """Inpainting by masks that come with every call."""
    anything = torch.ones(1, 1, *shape[1:], dtype=torch.bool)
    anything[..., 0, 0] = False
    return masked(anything, shape)


def refuse_untold(settings: RestoreSettings, source: Source, operator: Operator) -> None:
    """Raises `GenpriorError` for images that are damaged in ways that nobody tells."""
    record = _record(settings, source)
    is_recorded = record is not None and source.path is not None and source.path.name == MEASUREMENTS
    if not settings.simulate and settings.mask is None and operator.parameters(0) and not is_recorded:
        raise GenpriorError(
            f"{settings.operator} is another one for each image: give the masks with --operator inpaint --mask FOLDER",
            argument="operator",
        )


def kernel_facts(operator: Spec) -> Facts:
    """Returns what must be the same of the file that a kernel is read from, where a job is resumed; {} without one."""
    file = operator.options.get("file")
    found = {} if file is None else {"file": os.path.abspath(str(file)), "sha256": file_sha256(Path(str(file)))}
    return {f"kernel {key}": value for key, value in found.items()}
