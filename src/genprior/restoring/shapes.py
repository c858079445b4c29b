"""Items in the shape that is asked for: checked or, on request, converted."""

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from genprior.data.geometry import centre_square
from genprior.errors import GenpriorError

Shape = tuple[int, ...]
LUMA = (0.299, 0.587, 0.114)  # ITU-R 601
ROUNDING = 1e-4  # by which a value may leave [0, 1] after somebody's arithmetic in single precision


def is_picture(shape: Shape) -> bool:
    """Returns whether numbers of this shape can be shown: (C, H, W), grey or RGB, and not a point."""
    return len(shape) == 3 and shape[0] in (1, 3) and shape[1:] != (1, 1)


def fitted(
    item: Tensor,
    label: str,
    shape: Shape,
    *,
    resize: bool = False,
    argument: str = "images",
    hint: str = "--resize converts it",
) -> Tensor:
    """Returns an item in the shape (C, H, W) that is asked for, or (m,) or another for measurements.

    Arguments:
        item: (C, H, W), (H, W), (H, W, C), or whatever it is to be.
        label: What messages call it.
        shape: Of the result.
        resize: Convert size (the central part in the right proportions, antialiased) and channels; else another shape
            is an error.
        argument: What the user calls what holds it.
        hint: How to have it converted.

    Raises:
        GenpriorError: Another shape.
    """
    arranged = channels_first(item) if len(shape) == 3 else item
    if arranged.shape == shape:
        return arranged.contiguous()
    can_convert = is_picture(tuple(arranged.shape)) and is_picture(shape)
    if not can_convert or not resize:
        way = f"; {hint}" if can_convert else ""
        raise GenpriorError(f"{label} is {_words(item.shape)}, expected {_words(shape)}{way}", argument=argument)
    return _resized(_with_channels(arranged, shape[0]), shape[1], shape[2])


def check_values(item: Tensor, label: str, *, is_image: bool) -> None:
    """Raises `GenpriorError` for NaN and infinity and, in images, for values outside [0, 1]."""
    wrong = int((~torch.isfinite(item)).sum())
    if wrong:
        raise GenpriorError(f"{label} has {wrong} of {item.numel()} values that are not finite", argument="images")
    low, high = (float(bound) for bound in torch.aminmax(item))
    if is_image and (low < -ROUNDING or high > 1 + ROUNDING):
        raise GenpriorError(
            f"{label} has values from {low:.4g} to {high:.4g}, expected [0, 1]: rescale them", argument="images"
        )


def channels_first(item: Tensor) -> Tensor:
    """Returns (C, H, W) of (H, W), (C, H, W) or (H, W, C); what is none of them is passed on."""
    if item.ndim == 2:
        return item[None]
    is_point = item.shape[1:] == (1, 1)
    if item.ndim == 3 and not is_point and item.shape[0] not in (1, 3) and item.shape[2] in (1, 3):
        return item.movedim(2, 0)
    return item


def _with_channels(image: Tensor, channels: int) -> Tensor:
    if len(image) == channels:
        return image
    if channels == 3:
        return image.expand(3, -1, -1)
    return (image * image.new_tensor(LUMA)[:, None, None]).sum(0, keepdim=True)


def _resized(image: Tensor, height: int, width: int) -> Tensor:
    if height == width:
        top, left, side = centre_square(image.shape[1], image.shape[2])
        image = image[:, top : top + side, left : left + side]
    if image.shape[1:] == (height, width):
        return image.contiguous()
    return interpolate(image[None], (height, width), mode="bilinear", antialias=True)[0]


def _words(shape: Shape) -> str:
    """Example: "1x28x28", "100 numbers"."""
    return "x".join(map(str, shape)) if len(shape) > 1 else f"{shape[0]} numbers"
