"""PSNR and SSIM: closed forms, a second implementation, one value an image, small images."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from genprior.errors import GenpriorError
from genprior.evaluation.image_quality import psnr, ssim

both = pytest.mark.parametrize("quality", [psnr, ssim])


def _images(count: int, channels: int = 1, side: int = 12, seed: int = 0) -> Tensor:
    return torch.rand(count, channels, side, side, generator=torch.Generator().manual_seed(seed))


@both
@pytest.mark.parametrize("channels", [1, 3])
def test_each_image_has_its_own_value(quality: Callable[[Tensor, Tensor], Tensor], channels: int) -> None:
    x, reference = _images(5, channels), _images(5, channels, seed=1)
    values = quality(x, reference)
    assert (values.shape, values.dtype) == ((5,), torch.float32)
    each = [quality(x[i : i + 1], reference[i : i + 1]) for i in range(5)]
    torch.testing.assert_close(values, torch.cat(each))


@pytest.mark.parametrize("error", [0.5, 0.1, 0.01])
def test_psnr_of_a_constant_error(error: float) -> None:
    reference = _images(2)
    torch.testing.assert_close(
        psnr(reference + error, reference), torch.full((2,), -20 * math.log10(error)), rtol=1e-4, atol=0
    )


def test_identical_images_have_infinite_psnr_and_ssim_one() -> None:
    x = _images(3)
    assert psnr(x, x).tolist() == [math.inf] * 3
    torch.testing.assert_close(ssim(x, x), torch.ones(3))


def test_the_range_is_one_whatever_the_images() -> None:
    reference = torch.zeros(1, 1, 12, 12)
    assert float(psnr(reference + 0.1, reference)) == pytest.approx(20, abs=1e-4)
    assert float(psnr(reference + 0.1, 0.5 * _images(1))) == pytest.approx(
        -10 * math.log10(float((0.1 - 0.5 * _images(1)).square().mean())), rel=1e-5
    )


@pytest.mark.parametrize(("a", "b"), [(0.2, 0.7), (0.0, 1.0), (0.5, 0.5)])
def test_ssim_of_constants_is_the_luminance_term(a: float, b: float) -> None:
    x, reference = torch.full((1, 1, 12, 12), a), torch.full((1, 1, 12, 12), b)
    expected = (2 * a * b + 0.01**2) / (a**2 + b**2 + 0.01**2)
    assert float(ssim(x, reference)) == pytest.approx(expected, abs=2e-4)  # float32 variances of constants are not 0


def _plain_ssim(x: np.ndarray, y: np.ndarray) -> float:
    """Wang et al. 2004, equation 13 with weights, window by window, in float64."""
    offset = np.arange(-5, 6)
    bell = np.exp(-(offset**2) / (2 * 1.5**2))
    weights = np.outer(bell, bell) / bell.sum() ** 2
    x, y = np.pad(x, 5, "reflect"), np.pad(y, 5, "reflect")
    found = []
    for row in range(x.shape[0] - 10):
        for column in range(x.shape[1] - 10):
            a, b = x[row : row + 11, column : column + 11], y[row : row + 11, column : column + 11]
            mean_a, mean_b = (weights * a).sum(), (weights * b).sum()
            var_a, var_b = (weights * (a - mean_a) ** 2).sum(), (weights * (b - mean_b) ** 2).sum()
            both = (weights * (a - mean_a) * (b - mean_b)).sum()
            luminance = (2 * mean_a * mean_b + 1e-4) / (mean_a**2 + mean_b**2 + 1e-4)
            found.append(luminance * (2 * both + 9e-4) / (var_a + var_b + 9e-4))
    return float(np.mean(found))


@pytest.mark.parametrize("side", [6, 8, 11, 28])
def test_ssim_is_that_of_the_paper(side: int) -> None:
    reference = _images(2, side=side)
    x = 0.7 * reference + 0.3 * _images(2, side=side, seed=1)
    expected = [_plain_ssim(a[0].double().numpy(), b[0].double().numpy()) for a, b in zip(x, reference, strict=True)]
    assert ssim(x, reference).tolist() == pytest.approx(expected, abs=1e-4)


def test_images_too_small_for_ssim_are_refused() -> None:
    with pytest.raises(GenpriorError, match=r"^SSIM needs images of at least 6 x 6 pixels, got 5 x 5$"):
        ssim(_images(1, side=5), _images(1, side=5))


@pytest.mark.parametrize("side", [1, 5])
def test_psnr_has_no_smallest_image(side: int) -> None:
    assert float(psnr(torch.zeros(1, 1, side, side), torch.ones(1, 1, side, side))) == 0


@both
@pytest.mark.parametrize(
    ("one", "other"), [((2, 1, 12, 12), (1, 1, 12, 12)), ((1, 12, 12), (1, 12, 12)), ((0, 1, 8, 8),) * 2]
)
def test_other_shapes_are_refused(
    quality: Callable[[Tensor, Tensor], Tensor], one: tuple[int, ...], other: tuple[int, ...]
) -> None:
    with pytest.raises(GenpriorError, match=r"^expected as many images \(B, C, H, W\) of the same shape .*, got \("):
        quality(torch.zeros(one), torch.zeros(other))
