"""The way back to latents: every shape, one by one, and blind to what is unknown."""

import math

import pytest
import torch
from torch import Tensor, nn

from genprior.errors import GenpriorError
from genprior.models.latent_encoder import Encoder

IMAGE, POINT, TALL = (1, 8, 8), (2, 1, 1), (1, 6, 9)
SIZES = [8, 9, 15, 28, 31, 32, 64, 65, 128]
every_shape = pytest.mark.parametrize("shape", [IMAGE, (3, 28, 28), POINT, TALL], ids=str)


def _encoder(shape: tuple[int, int, int]) -> Encoder:
    """With running statistics that differ from those of any batch."""
    encoder = Encoder(shape, 5, width=4)
    with torch.no_grad():
        for _ in range(5):
            encoder.encode(torch.rand(16, *shape))
    return encoder.eval()


def _images(shape: tuple[int, int, int], count: int = 6) -> tuple[Tensor, Tensor]:
    """x and known; about half of the pixels are unknown, and of single pixels every other one."""
    known = (torch.rand(count, 1, *shape[1:]) < 0.5).float()
    if shape[1:] == (1, 1):
        known[::2], known[1::2] = 0.0, 1.0
    return torch.rand(count, *shape), known


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", SIZES)
def test_every_size_gives_latents(size: int, channels: int) -> None:
    shape = (channels, size, size)
    assert Encoder(shape, 7, width=2).encode(torch.rand(2, *shape)).shape == (2, 7)


@every_shape
def test_every_shape_gives_latents(shape: tuple[int, int, int]) -> None:
    x, known = _images(shape)
    assert _encoder(shape).encode(x, known).shape == (6, 5)


@pytest.mark.parametrize(("shape", "convolves"), [(IMAGE, True), ((1, 128, 128), True), (POINT, False), (TALL, False)])
def test_square_images_are_convolved(shape: tuple[int, int, int], convolves: bool) -> None:
    modules = list(Encoder(shape, 5, width=2).modules())
    assert any(isinstance(module, nn.Conv2d) for module in modules) == convolves
    assert sum(isinstance(module, nn.Linear) for module in modules) == (1 if convolves else 3)


@every_shape
@pytest.mark.parametrize("unknown", [7.0, -1.0, math.nan, math.inf])
def test_unknown_pixels_have_no_influence(shape: tuple[int, int, int], unknown: float) -> None:
    encoder, (x, known) = _encoder(shape), _images(shape)
    other = torch.where(known.bool(), x, unknown)
    assert torch.equal(encoder.encode(x, known), encoder.encode(other, known))


@every_shape
def test_known_pixels_have_influence(shape: tuple[int, int, int]) -> None:
    encoder, (x, known) = _encoder(shape), _images(shape)
    changed = (encoder.encode(x, known) != encoder.encode(x + 0.5, known)).any(1)
    assert torch.equal(changed, known.flatten(1).any(1))


@every_shape
def test_black_and_unknown_are_not_the_same(shape: tuple[int, int, int]) -> None:
    encoder, (x, known) = _encoder(shape), _images(shape)
    black = encoder.encode(x * known)
    assert (encoder.encode(x, known) != black).any()


@every_shape
def test_nothing_said_means_all_known(shape: tuple[int, int, int]) -> None:
    encoder, (x, known) = _encoder(shape), _images(shape)
    assert torch.equal(encoder.encode(x), encoder.encode(x, torch.ones_like(known)))


@every_shape
def test_one_mask_serves_all_images(shape: tuple[int, int, int]) -> None:
    encoder, (x, known) = _encoder(shape), _images(shape)
    one = known[1:2]
    assert torch.equal(encoder.encode(x, one), encoder.encode(x, one.expand_as(known)))


@every_shape
def test_one_by_one_equals_together(shape: tuple[int, int, int]) -> None:
    encoder, (x, known) = _encoder(shape), _images(shape)
    single = [encoder.encode(x[i : i + 1], known[i : i + 1]) for i in range(len(x))]
    torch.testing.assert_close(torch.cat(single), encoder.encode(x, known))


def test_the_dtype_of_the_image_decides() -> None:
    encoder, (x, known) = _encoder(IMAGE), _images(IMAGE)
    z = encoder.encode(x.bfloat16(), known)
    assert z.dtype == torch.bfloat16
    torch.testing.assert_close(z.float(), encoder.encode(x, known), rtol=0.1, atol=0.1)


@pytest.mark.parametrize(
    ("x", "known", "message"),
    [
        ((2, 1, 9, 9), None, r"^x: expected 2 times \(1, 8, 8\), got the shape \(2, 1, 9, 9\)$"),
        ((2, 3, 8, 8), None, r"^x: expected 2 times \(1, 8, 8\), got the shape \(2, 3, 8, 8\)$"),
        ((1, 8, 8), None, r"^x: expected 1 times \(1, 8, 8\), got the shape \(1, 8, 8\)$"),
        ((2, 1, 8, 8), (2, 8, 8), r"^known: expected 1 or 2 times \(1, 8, 8\), got the shape \(2, 8, 8\)$"),
        ((2, 1, 8, 8), (3, 1, 8, 8), r"^known: expected 1 or 2 times \(1, 8, 8\), got the shape \(3, 1, 8, 8\)$"),
    ],
)
def test_other_shapes_are_refused(x: tuple[int, ...], known: tuple[int, ...] | None, message: str) -> None:
    with pytest.raises(GenpriorError, match=message):
        Encoder(IMAGE, 5, width=2).encode(torch.zeros(x), None if known is None else torch.ones(known))
