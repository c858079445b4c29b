"""The nearest training images against a plain search, and what closeness says of copies and of new images."""

import pytest
import torch

from genprior.data import Dataset
from genprior.errors import GenpriorError
from genprior.evaluation.distances import ROWS, closeness, nearest_others
from genprior.images import to_float, to_uint8
from genprior.sampling.nearest_images import nearest_images


def pictures(count: int, shape: tuple[int, int, int] = (3, 4, 6)) -> torch.Tensor:
    return to_uint8(torch.rand(count, *shape))


def test_the_nearest_are_those_of_a_plain_search_in_any_number_of_blocks() -> None:
    others, x = pictures(2 * ROWS + 7).flatten(1), torch.rand(5, 72)
    distances, indices = nearest_others(x, others, 3)
    whole = (x[:, None] - to_float(others)).norm(dim=2)
    expected = whole.topk(3, largest=False)
    torch.testing.assert_close(distances, expected.values)
    assert torch.equal(indices, expected.indices)


def test_a_copy_has_no_distance_and_no_closeness() -> None:
    images = pictures(300)
    found = nearest_images(to_float(images[[250, 7]]), Dataset("made", images), 2)
    assert found.numbers[:, 0].tolist() == [250, 7]
    assert found.distances[:, 0].tolist() == found.closeness.tolist() == [0, 0]
    torch.testing.assert_close(
        found.beside(to_float(images[[250, 7]]))[[0, 1, 3, 4]], to_float(images[[250, 250, 7, 7]])
    )


def test_closeness_is_that_of_evaluations() -> None:
    images, x = pictures(50), torch.rand(6, 3, 4, 6)
    expected = closeness(x.flatten(1), to_float(images.flatten(1)))
    torch.testing.assert_close(nearest_images(x, Dataset("made", images), 1).closeness, expected, rtol=1e-4, atol=1e-4)


def test_distances_are_in_units_of_a_pixel() -> None:
    images = torch.zeros(2, 1, 4, 4, dtype=torch.uint8)
    images[1] = 255
    found = nearest_images(torch.full((1, 1, 4, 4), 0.25), Dataset("made", images), 5)
    torch.testing.assert_close(found.distances, torch.tensor([[0.25, 0.75]]))
    torch.testing.assert_close(found.closeness, torch.tensor([0.2]))
    assert found.lines(4) == ["4: 0.250 from image 0, 0.750 from image 1; closeness 0.20"]


def test_one_training_image_sets_no_scale() -> None:
    found = nearest_images(torch.rand(1, 1, 4, 4), Dataset("made", pictures(1, (1, 4, 4))), 1)
    assert bool(found.closeness.isnan())


def test_samples_that_are_not_finite_are_refused() -> None:
    with pytest.raises(GenpriorError, match="not finite"):
        nearest_images(torch.full((1, 3, 4, 6), torch.nan), Dataset("made", pictures(3)), 1)
