"""What belongs to images of one size: the prior for them, the operator, and how items come into that shape."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import torch

from genprior.errors import GenpriorError
from genprior.priors.contracts import LatentPrior, takes_sides
from genprior.restoration.operators import Operator, denoise
from genprior.restoring.fitting_items import Fitting, OpenedItem, opened_item
from genprior.restoring.sources import Shape, Source, is_picture

SIZES_KEPT = 8


@dataclass(frozen=True)
class Sized:
    """What belongs to images of one size.

    Attributes:
        prior: For images of this size.
        operator: What measures them.
        fit: How items come into their shape.
        measured: Shape of a measurement of one of them.
    """

    prior: LatentPrior
    operator: Operator
    fit: Fitting
    measured: Shape


class Sizes:
    """Chooses the size in which an item is restored: its own where the prior takes it, else that of the prior.

    Arguments:
        prior: In its own size.
        resize: Convert items to that.
        operator_for: Makes the operator for images (C, H, W); default: nothing is in the way.
        smooth: Interpolate images that have to be enlarged.
    """

    def __init__(
        self,
        prior: LatentPrior,
        resize: bool,
        operator_for: Callable[[tuple[int, int, int]], Operator] = denoise,
        smooth: bool = True,
    ) -> None:
        self.prior, self._resize, self._operator_for, self._smooth = prior, resize, operator_for, smooth
        self.of_size = lru_cache(SIZES_KEPT)(self._of_size)

    @property
    def own(self) -> Sized:
        """The prior's own size."""
        return self.of_size(*self.prior.image_shape[1:])

    def _of_size(self, height: int, width: int) -> Sized:
        prior = self.prior.of_size(height, width)
        operator = self._operator_for(prior.image_shape)
        fit = Fitting(prior.image_shape, self._resize, smooth=self._smooth, sides=prior.sides)
        return Sized(prior, operator, fit, measured_shape(operator, prior.image_shape))

    def of_image(self, stored: OpenedItem) -> Sized:
        """Returns the size of an image (C, h, w); that of the prior where it is to be converted."""
        return self._chosen(stored, tuple(stored.raw.shape[-2:]))

    def of_measurement(self, stored: OpenedItem) -> Sized:
        """Returns the size of the image that a measurement is of.

        That is its own size, or as many times as large as the prior's own is beside its measurements. What fits neither
        is taken for one of the prior's own size.
        """
        if self.prior.sides is None or stored.given is None or self._resize:
            return self.own
        size = tuple(stored.raw.shape[-2:])
        try:
            found = self._chosen(stored, size)
            if found.measured[-2:] == size:
                return found
        except GenpriorError:
            if size == self.prior.image_shape[1:]:
                raise
        own, image = self.own.measured, self.prior.image_shape
        if not is_picture(own):
            return self.own
        larger = tuple(each * whole // part for each, whole, part in zip(size, image[1:], own[1:], strict=True))
        found = self._chosen(stored, larger)
        return found if found.measured[-2:] == size else self.own

    def first(self, source: Source, count: int, *, is_whole: bool) -> Operator:
        """Returns the operator for the first readable one of `count` items.

        Arguments:
            source: Of the items.
            count: How many are tried.
            is_whole: Whether items are images, else measurements of them.
        """
        for place in range(min(count, len(source))):
            try:
                stored = opened_item(source, place)
                return (self.of_image(stored) if is_whole else self.of_measurement(stored)).operator
            except (GenpriorError, OSError):
                continue
        return self.own.operator

    def _chosen(self, stored: OpenedItem, size: tuple[int, ...]) -> Sized:
        if self._resize or stored.given is None or not takes_sides(self.prior, size):
            return self.own
        return self.of_size(*size)


@torch.no_grad()
def measured_shape(operator: Operator, shape: Shape) -> Shape:
    """Returns the shape of a measurement of one image (C, H, W)."""
    return tuple(operator.physics.A(torch.zeros(1, *shape), **operator.parameters(0)).shape[1:])
