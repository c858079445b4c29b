"""Size and channels, against torchvision and Pillow."""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.v2 import functional

from genprior.data.geometry import FITS, centre_box, channels_first, reshape_images, to_channels
from genprior.images import picture_to_tensor
from genprior.settings import read_size

SHAPES = [(40, 40), (41, 30), (30, 41), (64, 9), (9, 64)]


def random_images(count: int, channels: int, height: int, width: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    shape = (count, channels, height, width)
    return torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [7, 28, 40, 55])
def test_resizing_is_that_of_torchvision(channels: int, size: int) -> None:
    images = random_images(5, channels, 40, 40)
    expected = functional.resize(images, [size, size], antialias=True)
    assert torch.equal(reshape_images(images, FITS["crop"], (size, size)), expected)


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("target", [(9, 9), (8, 5), (6, 9)])
def test_batches_and_pictures_take_the_same_shape(fit: str, shape: tuple[int, int], target: tuple[int, int]) -> None:
    images = random_images(2, 3, *shape)
    batch = FITS[fit].batch(images, target)
    assert batch.shape == (2, 3, *target)
    for image, result in zip(images, batch, strict=True):
        picture = FITS[fit].picture(Image.fromarray(image.permute(1, 2, 0).numpy()), target)
        # Pillow and torch round their filter weights differently, by one grey level at most
        assert (picture_to_tensor(picture).int() - result.int()).abs().max() <= 1


def test_crop_cuts_out_the_middle() -> None:
    image = torch.zeros(1, 1, 8, 20, dtype=torch.uint8)
    image[..., 6:14] = 255
    assert (FITS["crop"].batch(image, (4, 4)) == 255).all()


def test_pad_keeps_all_of_the_image_on_black() -> None:
    padded = FITS["pad"].batch(torch.full((1, 1, 8, 16), 255, dtype=torch.uint8), (8, 8))[0, 0]
    assert (padded[2:6] == 255).all()
    assert padded.sum() == 255 * 4 * 8


def test_pad_leaves_a_line_of_the_thinnest_image() -> None:
    assert (FITS["pad"].batch(torch.full((1, 1, 2, 900), 255, dtype=torch.uint8), (28, 28)) == 255).any()


@pytest.mark.parametrize(
    ("image", "shape", "box"),
    [((30, 21), (8, 8), (4, 0, 21, 21)), ((60, 60), (48, 32), (0, 10, 60, 40)), ((20, 60), (32, 48), (0, 15, 20, 30))],
)
def test_the_box_in_the_middle_has_the_proportions_of_the_shape(
    image: tuple[int, int], shape: tuple[int, int], box: tuple[int, ...]
) -> None:
    assert centre_box(image, shape) == box


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("image", SHAPES)
def test_the_largest_size_is_the_largest(fit: str, image: tuple[int, int]) -> None:
    shape = FITS[fit].shape(9, image)
    largest = read_size(FITS[fit].largest(image, shape))
    height, width = largest if isinstance(largest, tuple) else (largest, largest)
    assert FITS[fit].room(image, (height, width)) >= 1
    assert FITS[fit].room(image, (height + 1, width + 1)) < 1


def test_keep_makes_the_longer_side_the_size() -> None:
    assert FITS["keep"].shape(64, (480, 640)) == (48, 64)
    assert FITS["keep"].shape(64, (90, 60)) == (64, 43)


def test_transparency_is_laid_on_white_as_pillow_does_it() -> None:
    images = random_images(1, 4, 64, 64)
    picture = Image.fromarray(images[0].permute(1, 2, 0).numpy())
    white = Image.new("RGBA", picture.size, "white")
    white.alpha_composite(picture)
    expected = np.asarray(white.convert("RGB")).astype(int)
    assert np.abs(to_channels(images, 3)[0].permute(1, 2, 0).numpy() - expected).max() <= 1


def test_colours_of_what_is_transparent_do_not_bleed() -> None:
    images = torch.zeros(1, 4, 16, 16, dtype=torch.uint8)
    images[:, 0], images[:, 3, :, 7:] = 255, 255
    images[:, 1, :, :7] = 255  # yellow where nothing is to be seen
    small = reshape_images(images, FITS["crop"], (4, 4))
    seen = small[:, :, :, 2:]
    assert (seen[:, 0] == 255).all()
    assert (small[0, 1][small[0, 3] > 200] == 0).all()


def test_grey_is_the_luma_of_pillow() -> None:
    images = random_images(1, 3, 64, 64)
    expected = np.asarray(Image.fromarray(images[0].permute(1, 2, 0).numpy()).convert("L"))
    assert np.array_equal(to_channels(images, 1)[0, 0].numpy(), expected)


def test_grey_comes_back_from_its_rgb() -> None:
    grey = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    assert torch.equal(to_channels(to_channels(grey, 3), 1), grey)


def test_chunks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    images = random_images(10, 3, 20, 16)
    whole = reshape_images(images, FITS["pad"], (8, 8), 1)
    monkeypatch.setattr("genprior.data.geometry.CHUNK", 3)
    assert torch.equal(reshape_images(images, FITS["pad"], (8, 8), 1), whole)


def test_nothing_asked_for_is_nothing_done() -> None:
    images = random_images(2, 3, 20, 16)
    assert reshape_images(images, FITS["crop"]) is images


@pytest.mark.parametrize(
    ("shape", "ordered"),
    [
        ((5, 28, 28), (5, 1, 28, 28)),
        ((5, 28, 28, 1), (5, 1, 28, 28)),
        ((5, 28, 28, 3), (5, 3, 28, 28)),
        ((5, 1, 28, 28), (5, 1, 28, 28)),
        ((5, 3, 28, 28), (5, 3, 28, 28)),
        ((5, 28, 28, 4), (5, 4, 28, 28)),
        ((5, 4, 28, 28), (5, 4, 28, 28)),
        ((5, 3, 9, 3), (5, 3, 9, 3)),  # both would fit: channels first
    ],
)
def test_channels_come_first(shape: tuple[int, ...], ordered: tuple[int, ...]) -> None:
    assert channels_first(np.zeros(shape)).shape == ordered


@pytest.mark.parametrize("shape", [(28,), (28, 28), (5, 28, 28, 5), (5, 2, 28, 28), (1, 1, 1, 1, 1)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"expected shape .* got"):
        channels_first(np.zeros(shape))
