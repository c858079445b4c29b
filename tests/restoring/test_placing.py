"""Smaller images on a larger canvas, and back."""

import pytest
import torch

from genprior.restoring.placing import Frame, frame_of

CANVASES = [(1, 28, 28), (3, 32, 32), (1, 32, 48), (3, 64, 64)]
SIZES = [(20, 28), (28, 20), (7, 11), (16, 24), (1, 5), (28, 28)]


@pytest.mark.parametrize("canvas", CANVASES)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("smooth", [True, False])
def test_an_image_comes_back_in_its_size_and_nearly_as_it_was(
    canvas: tuple[int, int, int], size: tuple[int, int], smooth: bool
) -> None:
    frame = frame_of((canvas[0], *size), canvas)
    assert frame is not None
    down, across = torch.linspace(0, 1, size[0])[:, None], torch.linspace(0, 1, size[1])
    x = (0.5 * down + 0.5 * across).expand(canvas[0], *size)
    placed = frame.into(x, smooth=smooth)
    assert placed.shape == canvas
    assert frame.back(placed).shape == x.shape
    torch.testing.assert_close(frame.back(placed), x, rtol=0, atol=0.12)
    assert frame.mask_into(torch.ones(1, *size)).sum() == frame.inner[0] * frame.inner[1]


def test_an_image_of_whole_multiples_comes_back_exactly() -> None:
    x, frame = torch.rand(3, 16, 24), Frame(16, 24, 32, 48)
    torch.testing.assert_close(frame.back(frame.into(x, smooth=False)).mean((1, 2)), x.mean((1, 2)), rtol=0, atol=1e-3)
    assert torch.equal(frame.into(x, smooth=False)[:, ::2, ::2], x)


def test_noise_stays_as_strong_where_pixels_are_repeated() -> None:
    noise, frame = torch.randn(1, 20, 20), Frame(20, 20, 32, 32)
    assert float(frame.into(noise, smooth=False).std()) == pytest.approx(float(noise.std()), rel=0.06)
    assert float(frame.into(noise, smooth=True).std()) < 0.8 * float(noise.std())


def test_margins_are_background_and_not_known() -> None:
    x, frame = torch.zeros(1, 4, 8), Frame(4, 8, 8, 8)
    x[:, 1:3, 2:6] = 1
    x[:, 0, 4] = 1  # it touches the edge
    placed = frame.into(x, smooth=False)
    assert not placed[:, :2].any()
    assert not placed[:, 6:].any()
    assert not frame.mask_into(torch.ones(1, 4, 8))[:, :2].any()


@pytest.mark.parametrize(
    ("shape", "fits"), [((1, 8, 8), True), ((3, 8, 9), False), ((1, 8), False), ((3, 8, 8), True), ((1, 9, 2), False)]
)
def test_only_what_loses_nothing_is_placed(shape: tuple[int, ...], fits: bool) -> None:
    assert (frame_of(shape, (3, 8, 8)) is not None) == fits
    assert frame_of((3, 4, 4), (1, 8, 8)) is None
