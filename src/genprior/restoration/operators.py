"""Operators A of a measurement, linear and without noise, made of deepinv's; adding one is one entry at the end.

Imports kernels and seeding.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from genprior.restoration.kernels import Shape, gaussian_kernel, kernel_from_file, line_kernel, refusal, whole_number
from genprior.seeding import derived_generator

if TYPE_CHECKING:
    from deepinv.physics import LinearPhysics


def no_parameters(index: int) -> dict[str, Tensor]:
    """The parameters of an operator that is the same for all images: none."""
    return {}


@dataclass(frozen=True)
class Operator:
    """A linear operator, x (B, C, H, W) -> y (B, ...), and what it needs to know of each image.

    Attributes:
        physics: `physics.A` and `physics.A_adjoint`, float32, on the CPU until moved. It keeps the last parameters it
            was given, so where an operator has parameters they go with every call: `physics.A(x, **parameters)`.
        parameters: Image number -> the operator's parameters for it, each with leading dimension 1; {} where the
            operator is the same for all images.
        fidelity: Name of the data term that it suggests, unless the noise suggests another.
        has_masks: Whether it sets pixels to 0; a parameter `mask`, or `physics.mask`, is 1 where they are known.
        largest: Root mean square that a measurement of an image in [0, 1] has at most; None: its numbers are weighted
            means of pixels, or blank.
    """

    physics: "LinearPhysics"
    parameters: Callable[[int], dict[str, Tensor]] = no_parameters
    fidelity: str = "l2"
    has_masks: bool = False
    largest: float | None = None


def _the_one(options: Mapping[str, object], name: str) -> str:
    """The option that is given; there must be one."""
    given = [key for key, value in options.items() if value is not None]
    if len(given) != 1:
        *first, last = options
        got = " and ".join(given) or "none"
        raise refusal(f"'{name}' takes exactly one of the options {', '.join(first)} and {last}, got {got}")
    return given[0]


# Nothing in the way.


def denoise(image_shape: Shape, seed: int = 0) -> Operator:
    """Returns the identity: what damages the image is the noise alone."""
    from deepinv.physics import Denoising, ZeroNoise

    return Operator(Denoising(noise_model=ZeroNoise()))  # deepinv's default is Gaussian noise


# Missing pixels.


def masked(masks: Tensor, image_shape: Shape) -> Operator:
    """Returns inpainting with given masks: mask i for image i, or the only mask for all images.

    Arguments:
        masks: (N or 1, 1 or C, H, W) bool, True for known pixels.
        image_shape: (C, H, W) of the images.

    Raises:
        GenpriorError: Masks of another size or kind, without holes, or without known pixels.
    """
    _check_masks(masks, image_shape)
    known = masks.float()

    def own(index: int) -> dict[str, Tensor]:
        if not 0 <= index < len(known):
            raise refusal(f"image {index} has no mask, there are {len(known)} masks (0 to {len(known) - 1})")
        return {"mask": known[index : index + 1]}

    return _inpainting(known[:1], image_shape, no_parameters if len(known) == 1 else own)


def _check_masks(masks: Tensor, image_shape: Shape) -> None:
    channels, *size = image_shape
    if masks.dtype != torch.bool or masks.ndim != 4 or not len(masks):
        expected = "expected masks (N, 1 or C, H, W) of booleans, True for known pixels"
        raise refusal(f"{expected}, got {tuple(masks.shape)} of {masks.dtype}")
    if masks.shape[1] not in (1, channels) or list(masks.shape[2:]) != size:
        raise refusal(f"masks are (C, H, W) = {tuple(masks.shape[1:])}, images are {tuple(image_shape)}")
    for wrong, what in ((masks, "holes"), (~masks, "known pixels")):
        found = wrong.flatten(1).all(1).nonzero()
        if len(found):
            raise refusal(f"mask without {what}: mask {int(found[0])} of {len(masks)}")


def _inpainting(mask: Tensor, image_shape: Shape, parameters: Callable[[int], dict[str, Tensor]]) -> Operator:
    from deepinv.physics import Inpainting

    return Operator(Inpainting(img_size=image_shape, mask=mask), parameters, fidelity="l1", has_masks=True)


def inpaint(
    image_shape: Shape,
    seed: int = 0,
    box: float | None = None,
    top: float | None = None,
    left: float | None = None,
    random: float | None = None,
    half: str | None = None,
) -> Operator:
    """Returns an operator that sets missing pixels to 0, in all channels together.

    Exactly one of `box`, `random` and `half` is given.

    Arguments:
        image_shape: (C, H, W).
        seed: Together with an image's number it decides where that image's `random` pixels are missing.
        box: Side of a square hole in pixels.
        top, left: The hole's upper left pixel; default: the hole is central.
        random: Share of missing pixels, in (0, 1), other pixels for each image.
        half: Which half is missing: lower, upper, left or right; of an odd number of rows the smaller half.

    Raises:
        GenpriorError: No option or two, or a hole that does not fit.
    """
    option = _the_one({"box": box, "random": random, "half": half}, "inpaint")
    if option != "box" and (top, left) != (None, None):
        raise refusal("options 'top' and 'left' of 'inpaint' go with 'box' alone")
    if random is not None:
        return _random_pixels(image_shape, seed, random)
    hole = _box(image_shape, box, top, left) if box is not None else _half(image_shape, str(half))
    known = torch.ones(1, 1, *image_shape[1:], dtype=torch.bool)
    known[..., hole[0], hole[1]] = False
    return masked(known, image_shape)


def _box(image_shape: Shape, box: float, top: float | None, left: float | None) -> tuple[slice, slice]:
    _, height, width = image_shape
    largest = min(height, width) - (height == width)  # some pixel stays known
    side = whole_number(box, 1, largest, f"option 'box' of 'inpaint' (images are {height} x {width} pixels)")
    rows, columns = height - side, width - side
    y = rows // 2 if top is None else whole_number(top, 0, rows, "option 'top' of 'inpaint'")
    x = columns // 2 if left is None else whole_number(left, 0, columns, "option 'left' of 'inpaint'")
    return slice(y, y + side), slice(x, x + side)


def _half(image_shape: Shape, half: str) -> tuple[slice, slice]:
    _, height, width = image_shape
    all_of = slice(None)
    halves = {
        "lower": (slice(height - height // 2, None), all_of),
        "upper": (slice(height // 2), all_of),
        "left": (all_of, slice(width // 2)),
        "right": (all_of, slice(width - width // 2, None)),
    }
    if half not in halves:
        raise refusal(f"option 'half' of 'inpaint' must be one of {', '.join(halves)}, got '{half}'")
    return halves[half]


def _random_pixels(image_shape: Shape, seed: int, share: float) -> Operator:
    _, height, width = image_shape
    pixels = height * width
    if not 0 < share < 1 or pixels < 2:
        raise refusal(f"option 'random' of 'inpaint' must be a share of pixels above 0 and below 1, got {share}")
    count = min(max(round(share * pixels), 1), pixels - 1)

    def own(index: int) -> dict[str, Tensor]:
        known = torch.ones(pixels)
        known[torch.randperm(pixels, generator=derived_generator(seed, "mask", index))[:count]] = 0
        return {"mask": known.view(1, 1, height, width)}

    return _inpainting(own(0)["mask"], image_shape, own)


# Fewer pixels.


def downsample(image_shape: Shape, seed: int = 0, factor: float = 2) -> Operator:
    """Returns the mean over blocks of factor x factor pixels, y (B, C, H / factor, W / factor).

    Arguments:
        image_shape: (C, H, W).
        seed: Unused.
        factor: A divisor of H and of W.

    Raises:
        GenpriorError: Another factor.
    """
    from deepinv.physics import Downsampling

    _, height, width = image_shape
    common = math.gcd(height, width)
    divisors = [n for n in range(1, common + 1) if common % n == 0]
    if factor not in divisors:
        expected = f"one of {', '.join(map(str, divisors))} for images of {height} x {width} pixels"
        raise refusal(f"option 'factor' of 'downsample' must be {expected}, got {factor}")
    n = int(factor)
    mean = torch.full((1, 1, n, n), 1 / n**2)
    # "valid": with any padding the filter would be centred on a pixel and, for n > 2, straddle the blocks.
    return Operator(Downsampling(img_size=image_shape, filter=mean, factor=n, padding="valid"))


def compressed_sensing(image_shape: Shape, seed: int = 0, m: float = 100) -> Operator:
    """Returns m random projections of the whole image, y (B, m), by a matrix with entries N(0, 1/m).

    Arguments:
        image_shape: (C, H, W).
        seed: Decides the matrix.
        m: Number of measurements of an image, all its channels together, 1 to C H W.

    Raises:
        GenpriorError: Another m.
    """
    from deepinv.physics import CompressedSensing

    count = whole_number(m, 1, math.prod(image_shape), "option 'm' of 'compressed-sensing'")
    generator = derived_generator(seed, "compressed-sensing")
    physics = CompressedSensing(m=count, img_size=image_shape, channelwise=False, rng=generator)
    # |A x|^2 is about |x|^2 <= CHW; twice that root is out of reach of anything that looks like an image
    return Operator(physics, largest=2 * math.sqrt(math.prod(image_shape) / count))


# Blur.


def blur(
    image_shape: Shape,
    seed: int = 0,
    sigma: float | None = None,
    motion: float | None = None,
    angle: float = 0,
    file: str | None = None,
) -> Operator:
    """Returns a convolution by a kernel that sums to one, y (B, C, H, W); images go on mirrored past their edges.

    Exactly one of `sigma`, `motion` and `file` is given. Where a side of the kernel is even, its centre is the pixel
    before the middle.

    Arguments:
        image_shape: (C, H, W), H and W at least 3.
        seed: Unused.
        sigma: Standard deviation of a Gaussian kernel in pixels, cut beyond 3.3 sigma.
        motion: Length in pixels of the straight line that each point is drawn out to.
        angle: Of that line, in degrees from the horizontal, counter-clockwise.
        file: A kernel as a picture, or as a 2-D array in a .npy file; it is normalised.

    Raises:
        GenpriorError: No option or two, a value out of range, a kernel that cannot be used.
    """
    from deepinv.physics import Blur

    if min(image_shape[1:]) < 3:
        raise refusal(f"'blur' needs images of at least 3 x 3 pixels, got {image_shape[1]} x {image_shape[2]}")
    option = _the_one({"sigma": sigma, "motion": motion, "file": file}, "blur")
    if option != "motion" and angle:
        raise refusal("option 'angle' of 'blur' goes with 'motion' alone")
    if sigma is not None:
        kernel = gaussian_kernel(image_shape, sigma)
    elif motion is not None:
        kernel = line_kernel(image_shape, motion, angle)
    else:
        kernel = kernel_from_file(image_shape, str(file))
    down, across = (int(side == 1) for side in kernel.shape)
    # deepinv's adjoint is wrong for kernels of one row or one column.
    kernel = F.pad(kernel, (across, across, down, down))
    return Operator(Blur(filter=kernel.float()[None, None], padding="reflect"))


OPERATORS: dict[str, Callable[..., Operator]] = {
    "denoise": denoise,
    "inpaint": inpaint,
    "downsample": downsample,
    "blur": blur,
    "compressed-sensing": compressed_sensing,
}
