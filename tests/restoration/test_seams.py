"""Known pixels in their place, and the hole fitted to them."""

import pytest
import torch
from torch import Tensor

from genprior.errors import GenpriorError
from genprior.restoration.seams import with_known_pixels

SHAPES = [(1, 28, 28), (3, 32, 32), (1, 32, 48), (3, 64, 64)]


def _known(shape: tuple[int, ...], seed: int) -> Tensor:
    known = torch.rand(shape[1:], generator=torch.Generator().manual_seed(seed)) > 0.5
    known[5:15, 8:20] = False
    known[0, :3] = False  # at the edge of the image, too
    return known


@pytest.mark.parametrize("shape", SHAPES)
def test_known_pixels_are_exact_and_the_rest_stays_in_range(shape: tuple[int, ...]) -> None:
    x, given, known = torch.rand(shape), torch.rand(shape), _known(shape, 1)
    found = with_known_pixels(x, given, known)
    assert torch.equal(found[:, known], given[:, known])
    assert 0 <= float(found.min()) <= float(found.max()) <= 1


@pytest.mark.parametrize("shape", SHAPES)
def test_an_image_that_is_off_by_a_plane_is_restored_exactly(shape: tuple[int, ...]) -> None:
    """A plane solves Laplace's equation, and its values at the border of the hole tell it."""
    _, height, width = shape
    known = torch.zeros(height, width, dtype=torch.bool)
    known[0], known[-1], known[:, 0], known[:, -1] = True, True, True, True
    known[:, 10] = True
    truth = 0.3 + 0.2 * torch.rand(shape)
    plane = 0.1 * torch.linspace(0, 1, height)[:, None] - 0.2 * torch.linspace(0, 1, width) + 0.1
    torch.testing.assert_close(with_known_pixels(truth + plane, truth, known), truth, rtol=0, atol=1e-6)


def test_missing_pixels_of_what_was_given_do_not_matter() -> None:
    x, given, known = torch.rand(3, 32, 32), torch.rand(3, 32, 32), _known((3, 32, 32), 2)
    blank = torch.where(known, given, torch.nan)
    assert torch.equal(with_known_pixels(x, given, known), with_known_pixels(x, blank, known))


def test_nothing_is_changed_in_place() -> None:
    x, given, known = torch.rand(1, 32, 48), torch.rand(1, 32, 48), _known((1, 32, 48), 3)
    before = x.clone(), given.clone()
    with_known_pixels(x, given, known)
    assert torch.equal(x, before[0])
    assert torch.equal(given, before[1])


@pytest.mark.parametrize("known", [torch.zeros(8, 8, dtype=torch.bool), torch.ones(7, 8, dtype=torch.bool)])
def test_masks_that_do_not_fit_are_refused(known: Tensor) -> None:
    with pytest.raises(GenpriorError, match="with known pixels") as raised:
        with_known_pixels(torch.rand(1, 8, 8), torch.rand(1, 8, 8), known)
    assert raised.value.argument == "known"
