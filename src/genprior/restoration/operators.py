"""Operators A of a measurement, linear and without noise, made of deepinv's; adding one is one entry at the end.

Imports errors, images (kernels from picture files) and seeding.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from genprior.errors import GenpriorError
from genprior.images import read_image
from genprior.seeding import derived_generator

if TYPE_CHECKING:
    from deepinv.physics import LinearPhysics

Shape = tuple[int, int, int]
SMALLEST_SIGMA = 0.1  # pixels: the kernel is one pixel, to seven digits and more


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
    """

    physics: "LinearPhysics"
    parameters: Callable[[int], dict[str, Tensor]] = no_parameters
    fidelity: str = "l2"


def _refusal(message: str) -> GenpriorError:
    return GenpriorError(message, argument="operator")


def _whole(value: float, low: int, high: int, what: str) -> int:
    if not low <= value <= high or value != int(value):  # the comparison is false for NaN
        raise _refusal(f"{what} must be a whole number from {low} to {high}, got {value}")
    return int(value)


def _the_one(options: Mapping[str, object], name: str) -> str:
    """The option that is given; there must be one."""
    given = [key for key, value in options.items() if value is not None]
    if len(given) != 1:
        *first, last = options
        got = " and ".join(given) or "none"
        raise _refusal(f"'{name}' takes exactly one of the options {', '.join(first)} and {last}, got {got}")
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
            raise _refusal(f"image {index} has no mask, there are {len(known)} masks (0 to {len(known) - 1})")
        return {"mask": known[index : index + 1]}

    return _inpainting(known[:1], image_shape, no_parameters if len(known) == 1 else own)


def _check_masks(masks: Tensor, image_shape: Shape) -> None:
    channels, *size = image_shape
    if masks.dtype != torch.bool or masks.ndim != 4 or not len(masks):
        expected = "expected masks (N, 1 or C, H, W) of booleans, True for known pixels"
        raise _refusal(f"{expected}, got {tuple(masks.shape)} of {masks.dtype}")
    if masks.shape[1] not in (1, channels) or list(masks.shape[2:]) != size:
        raise _refusal(f"masks are (C, H, W) = {tuple(masks.shape[1:])}, images are {tuple(image_shape)}")
    for wrong, what in ((masks, "holes"), (~masks, "known pixels")):
        found = wrong.flatten(1).all(1).nonzero()
        if len(found):
            raise _refusal(f"mask without {what}: mask {int(found[0])} of {len(masks)}")


def _inpainting(mask: Tensor, image_shape: Shape, parameters: Callable[[int], dict[str, Tensor]]) -> Operator:
    from deepinv.physics import Inpainting

    return Operator(Inpainting(img_size=image_shape, mask=mask), parameters, fidelity="l1")


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
        raise _refusal("options 'top' and 'left' of 'inpaint' go with 'box' alone")
    if random is not None:
        return _random_pixels(image_shape, seed, random)
    hole = _box(image_shape, box, top, left) if box is not None else _half(image_shape, str(half))
    known = torch.ones(1, 1, *image_shape[1:], dtype=torch.bool)
    known[..., hole[0], hole[1]] = False
    return masked(known, image_shape)


def _box(image_shape: Shape, box: float, top: float | None, left: float | None) -> tuple[slice, slice]:
    _, height, width = image_shape
    largest = min(height, width) - (height == width)  # some pixel stays known
    side = _whole(box, 1, largest, f"option 'box' of 'inpaint' (images are {height} x {width} pixels)")
    rows, columns = height - side, width - side
    y = rows // 2 if top is None else _whole(top, 0, rows, "option 'top' of 'inpaint'")
    x = columns // 2 if left is None else _whole(left, 0, columns, "option 'left' of 'inpaint'")
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
        raise _refusal(f"option 'half' of 'inpaint' must be one of {', '.join(halves)}, got '{half}'")
    return halves[half]


def _random_pixels(image_shape: Shape, seed: int, share: float) -> Operator:
    _, height, width = image_shape
    pixels = height * width
    if not 0 < share < 1 or pixels < 2:
        raise _refusal(f"option 'random' of 'inpaint' must be a share of pixels above 0 and below 1, got {share}")
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
        raise _refusal(f"option 'factor' of 'downsample' must be {expected}, got {factor}")
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

    count = _whole(m, 1, math.prod(image_shape), "option 'm' of 'compressed-sensing'")
    generator = derived_generator(seed, "compressed-sensing")
    return Operator(CompressedSensing(m=count, img_size=image_shape, channelwise=False, rng=generator))


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
        raise _refusal(f"'blur' needs images of at least 3 x 3 pixels, got {image_shape[1]} x {image_shape[2]}")
    option = _the_one({"sigma": sigma, "motion": motion, "file": file}, "blur")
    if option != "motion" and angle:
        raise _refusal("option 'angle' of 'blur' goes with 'motion' alone")
    if sigma is not None:
        kernel = _gaussian(image_shape, sigma)
    elif motion is not None:
        kernel = _line(image_shape, motion, angle)
    else:
        kernel = _kernel_from_file(image_shape, str(file))
    down, across = (int(side == 1) for side in kernel.shape)
    # deepinv's adjoint is wrong for kernels of one row or one column.
    kernel = F.pad(kernel, (across, across, down, down))
    return Operator(Blur(filter=kernel.float()[None, None], padding="reflect"))


def _gaussian(image_shape: Shape, sigma: float) -> Tensor:
    from deepinv.physics.functional import gaussian_blur

    # deepinv's kernel reaches int(sigma / 0.3 + 1) pixels to each side; mirroring provides H - 1.
    largest = 0.3 * (min(image_shape[1:]) - 1)
    if not SMALLEST_SIGMA <= sigma < largest:
        raise _refusal(
            f"option 'sigma' of 'blur' must be from {SMALLEST_SIGMA} to below {largest:.4g} pixels "
            f"for images of {image_shape[1]} x {image_shape[2]}, got {sigma}"
        )
    kernel: Tensor = gaussian_blur(sigma=(sigma, sigma))
    return kernel[0, 0]


def _line(image_shape: Shape, motion: float, angle: float) -> Tensor:
    """The kernel of `motion` points in a row, one pixel apart, each shared by the four pixels around it."""
    length = _whole(motion, 2, min(image_shape[1:]), "option 'motion' of 'blur'")
    if not math.isfinite(angle):
        raise _refusal(f"option 'angle' of 'blur' must be a finite number of degrees, got {angle}")
    steps = torch.arange(length, dtype=torch.float64) - (length - 1) / 2
    pixels = torch.arange(-(length // 2), length // 2 + 1)
    turn = math.radians(angle)
    down, across = (
        (1 - (places[:, None] - pixels).abs()).clamp(min=0)
        for places in (-steps * math.sin(turn), steps * math.cos(turn))
    )
    return down.T @ across / length


def _kernel_from_file(image_shape: Shape, file: str) -> Tensor:
    values = _read_values(Path(file))
    if values.ndim != 2 or not values.size or values.dtype.kind not in "buif":
        expected = "must be a 2-D array of numbers, not empty"
        raise _refusal(f"the kernel {file} {expected}, got shape {values.shape} of {values.dtype}")
    (height, width), size = values.shape, image_shape[1:]
    if height > size[0] or width > size[1]:
        raise _refusal(f"the kernel {file} has {height} x {width} pixels, more than the images' {size[0]} x {size[1]}")
    kernel = torch.from_numpy(values.astype(np.float64))
    if not bool((kernel >= 0).all() and kernel.isfinite().all()):
        raise _refusal(f"the kernel {file} has values that are negative or not finite, expected numbers from 0 up")
    if not kernel.any():
        raise _refusal(f"the kernel {file} is all zero, expected some value above 0")
    kernel = kernel / kernel.max()  # first, so that the sum is finite
    return kernel / kernel.sum()


def _read_values(file: Path) -> np.ndarray:
    try:
        if file.suffix.lower() != ".npy":
            return read_image(file, channels=1)[0].numpy()
        return np.asarray(np.load(file, allow_pickle=False))
    except Exception as error:  # a damaged file makes numpy raise whatever it likes
        reason = error.message if isinstance(error, GenpriorError) else " ".join(str(error).split())
        raise _refusal(f"cannot read the kernel {file}: {reason}") from error


OPERATORS: dict[str, Callable[..., Operator]] = {
    "denoise": denoise,
    "inpaint": inpaint,
    "downsample": downsample,
    "blur": blur,
    "compressed-sensing": compressed_sensing,
}
