"""Kernels of blurs, from formulas and from files. Imports errors and images only."""

import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from genprior.errors import GenpriorError, raise_lack_of_memory
from genprior.images import read_image
from genprior.stored_files import read_array

Shape = tuple[int, int, int]
SMALLEST_SIGMA = 0.1  # pixels: the kernel is one pixel, to seven digits and more


def refusal(message: str) -> GenpriorError:
    return GenpriorError(message, argument="operator")


def whole_number(value: float, low: int, high: int, what: str) -> int:
    if not low <= value <= high or value != int(value):  # the comparison is false for NaN
        raise refusal(f"{what} must be a whole number from {low} to {high}, got {value}")
    return int(value)


def gaussian_kernel(image_shape: Shape, sigma: float) -> Tensor:
    from deepinv.physics.functional import gaussian_blur

    # deepinv's kernel reaches int(sigma / 0.3 + 1) pixels to each side; mirroring provides H - 1.
    largest = 0.3 * (min(image_shape[1:]) - 1)
    if not SMALLEST_SIGMA <= sigma < largest:
        raise refusal(
            f"option 'sigma' of 'blur' must be from {SMALLEST_SIGMA} to below {largest:.4g} pixels "
            f"for images of {image_shape[1]} x {image_shape[2]}, got {sigma}"
        )
    kernel: Tensor = gaussian_blur(sigma=(sigma, sigma))
    return kernel[0, 0]


def line_kernel(image_shape: Shape, motion: float, angle: float) -> Tensor:
    """The kernel of `motion` points in a row, one pixel apart, each shared by the four pixels around it."""
    length = whole_number(motion, 2, min(image_shape[1:]), "option 'motion' of 'blur'")
    if not math.isfinite(angle):
        raise refusal(f"option 'angle' of 'blur' must be a finite number of degrees, got {angle}")
    steps = torch.arange(length, dtype=torch.float64) - (length - 1) / 2
    pixels = torch.arange(-(length // 2), length // 2 + 1)
    turn = math.radians(angle)
    down, across = (
        (1 - (places[:, None] - pixels).abs()).clamp(min=0)
        for places in (-steps * math.sin(turn), steps * math.cos(turn))
    )
    return down.T @ across / length


def kernel_from_file(image_shape: Shape, file: str) -> Tensor:
    values = _read_values(Path(file))
    if values.ndim != 2 or not values.size or values.dtype.kind not in "buif":
        expected = "must be a 2-D array of numbers, not empty"
        raise refusal(f"the kernel {file} {expected}, got shape {values.shape} of {values.dtype}")
    (height, width), size = values.shape, image_shape[1:]
    if height > size[0] or width > size[1]:
        raise refusal(f"the kernel {file} has {height} x {width} pixels, more than the images' {size[0]} x {size[1]}")
    kernel = torch.from_numpy(values.astype(np.float64))
    if not bool((kernel >= 0).all() and kernel.isfinite().all()):
        raise refusal(f"the kernel {file} has values that are negative or not finite, expected numbers from 0 up")
    if not kernel.any():
        raise refusal(f"the kernel {file} is all zero, expected some value above 0")
    kernel = kernel / kernel.max()  # first, so that the sum is finite
    return kernel / kernel.sum()


def _read_values(file: Path) -> np.ndarray:
    try:
        if file.suffix.lower() != ".npy":
            return read_image(file, channels=1)[0].numpy()
        return np.asarray(read_array(file))
    except Exception as error:  # a damaged file makes numpy raise whatever it likes
        raise_lack_of_memory(error)
        reason = error.message if isinstance(error, GenpriorError) else " ".join(str(error).split())
        raise refusal(f"cannot read the kernel {file}: {reason}") from error
