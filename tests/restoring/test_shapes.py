"""Items in the shape that is asked for."""

import math

import pytest
import torch

from genprior.errors import GenpriorError
from genprior.restoring.sources import check_values, fitted, is_picture

SHAPE = (1, 8, 8)


@pytest.mark.parametrize("shape", [(8, 8), (1, 8, 8), (8, 8, 1)])
def test_layouts_of_images(shape: tuple[int, ...]) -> None:
    x = torch.rand(shape)
    assert torch.equal(fitted(x, "it", SHAPE), x.reshape(SHAPE))


@pytest.mark.parametrize("shape", [(3, 8, 8), (8, 8, 3)])
def test_colour_becomes_luma_on_request(shape: tuple[int, ...]) -> None:
    red = torch.zeros(shape).movedim(shape.index(3), 0)
    red[0] = 1
    item = red.movedim(0, shape.index(3))
    torch.testing.assert_close(fitted(item, "it", SHAPE, resize=True), torch.full(SHAPE, 0.299))
    with pytest.raises(GenpriorError, match=r"it is .*, expected 1x8x8; --resize converts it"):
        fitted(item, "it", SHAPE)


@pytest.mark.parametrize("sides", [(20, 12), (4, 4), (8, 8), (1, 30)])
def test_every_size_is_converted_on_request(sides: tuple[int, int]) -> None:
    x = fitted(torch.full((1, *sides), 0.25), "it", (3, 8, 8), resize=True)
    torch.testing.assert_close(x, torch.full((3, 8, 8), 0.25))


def test_fine_stripes_become_grey_when_images_are_made_smaller() -> None:
    stripes = (torch.arange(64) % 4 == 0).float().expand(1, 64, 64)
    torch.testing.assert_close(fitted(stripes, "it", SHAPE, resize=True), torch.full(SHAPE, 0.25), atol=0.05, rtol=0)


def test_measurements_are_never_converted() -> None:
    assert fitted(torch.zeros(100), "it", (100,)).shape == (100,)
    with pytest.raises(GenpriorError, match=r"it is 99 numbers, expected 100 numbers$"):
        fitted(torch.zeros(99), "it", (100,), resize=True)
    with pytest.raises(GenpriorError, match=r"it is 100 numbers, expected 1x8x8$"):
        fitted(torch.zeros(100), "it", SHAPE, resize=True)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([0.0, math.nan], "1 of 2 values that are not finite"),
        ([math.inf, 0.0], "not finite"),
        ([0.0, 255.0], "from 0 to 255, expected .0, 1."),
        ([-0.5, 0.5], "from -0.5 to 0.5"),
    ],
)
def test_values_of_images_are_checked(values: list[float], message: str) -> None:
    with pytest.raises(GenpriorError, match=message):
        check_values(torch.tensor(values), "it", is_image=True)


def test_measurements_may_have_any_finite_values() -> None:
    check_values(torch.tensor([-3.0, 200.0]), "it", is_image=False)
    with pytest.raises(GenpriorError, match="not finite"):
        check_values(torch.tensor([math.nan]), "it", is_image=False)


def test_points_and_measurements_are_no_pictures() -> None:
    assert is_picture((1, 8, 8))
    assert is_picture((3, 8, 9))
    assert not any(map(is_picture, [(2, 1, 1), (1, 1, 1), (100,), (2, 8, 8)]))
