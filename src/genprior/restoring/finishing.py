"""A restored image in the form of the picture that was given: its size, colour type, bit depth and known pixels."""

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from genprior.restoration.seams import with_known_pixels
from genprior.restoring.fitting_items import Item
from genprior.restoring.given_pictures import GivenPicture, with_channels


@dataclass(frozen=True)
class Finished:
    """What a user gets of an item.

    Attributes:
        x: The image (C, H, W) in [0, 1], before it is rounded.
        picture: The same in the form of what was given.
    """

    x: Tensor
    picture: GivenPicture


def finished(item: Item, image: Tensor) -> Finished:
    """Returns a prior's image (C, H, W) for an item as the picture that the user gets.

    Where the item says which pixels are known, those are exactly the given ones, and the others are fitted to them. Of
    a picture that was converted to the prior's size, they are those of the converted one.
    """
    x = image.float() if item.frame is None else item.frame.back(image.float())
    template = _template(item, x)
    x = with_channels(x, template.values.shape[2])
    if not item.keeps or item.known is None or item.known.shape != x.shape[1:]:
        return Finished(x.clamp(0, 1), template.with_pixels(x))
    if template is item.given:
        x = with_known_pixels(x, template.image(), item.known)
        return Finished(x, template.with_pixels(x, item.known))
    x = with_known_pixels(x, with_channels(item.y.float(), len(x)), item.known)  # those of the converted picture
    return Finished(x.clamp(0, 1), template.with_pixels(x))


def _template(item: Item, x: Tensor) -> GivenPicture:
    """The given picture where the result has its size; else an empty one of as many bits a channel."""
    if item.given is not None and item.given.size == tuple(x.shape[1:]) and not item.is_converted:
        return item.given
    kind = np.dtype(np.uint8) if item.given is None else item.given.values.dtype
    white = 255.0 if item.given is None else item.given.white
    return GivenPicture(np.zeros((*x.shape[1:], len(x)), kind), None, white)
