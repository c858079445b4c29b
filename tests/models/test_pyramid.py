"""Networks of image pyramids: any side from 16 to 128, all pixels made alike, logits that differ from the start."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genprior.errors import GenpriorError
from genprior.models.dcgan import dcgan_discriminator
from genprior.models.derived_generators import folded
from genprior.models.layers import ConvTranspose2d
from genprior.models.pyramid import (
    ENLARGING,
    DoublingConv2d,
    PyramidGenerator,
    SmoothDoublingConv2d,
    StillConv2d,
    doubled,
    pyramid_discriminator,
    pyramid_sizes,
)
from genprior.seeding import initialised

SHAPES = [(1, 28, 28), (3, 32, 32), (1, 32, 48), (3, 64, 64), (4, 64, 40), (3, 16, 128), (1, 33, 17), (3, 127, 128)]
every_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)


each_way = pytest.mark.parametrize("enlarging", ENLARGING)


def _generator(shape: tuple[int, int, int], enlarging: str) -> PyramidGenerator:
    return initialised(lambda: PyramidGenerator(shape, 6, 2, enlarging), 0)


def _normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@every_shape
@each_way
def test_images_have_their_shape_and_range(shape: tuple[int, int, int], enlarging: str) -> None:
    x = _generator(shape, enlarging)(100 * _normal(3, 6)).detach()
    assert x.shape == (3, *shape)
    assert 0 <= float(x.min()) <= float(x.max()) <= 1


@every_shape
def test_every_image_gets_one_logit(shape: tuple[int, int, int]) -> None:
    network = pyramid_discriminator(shape, 2)
    assert network(torch.rand(4, *shape), parts=2).shape == (4,)


@every_shape
def test_sizes_double_up_to_the_image(shape: tuple[int, int, int]) -> None:
    sizes = pyramid_sizes(*shape[1:])
    assert sizes[-1] == shape[1:]
    assert 4 <= min(sizes[0]) <= 8
    for small, large in itertools.pairwise(sizes):
        assert small == ((large[0] + 1) // 2, (large[1] + 1) // 2)


@every_shape
@each_way
def test_folded_networks_make_the_same_images_without_normalisation(
    shape: tuple[int, int, int], enlarging: str
) -> None:
    network = _generator(shape, enlarging)
    for _ in range(5):
        network(_normal(16, 6))
    z = _normal(5, 6, seed=1)
    frozen = folded(network)
    torch.testing.assert_close(frozen(z), network.eval()(z), rtol=0, atol=1e-5)
    norms = [module for module in frozen.modules() if isinstance(module, nn.BatchNorm2d)]
    assert len(norms) == 1  # the one after the first linear layer


def test_doubling_is_nearest_neighbours_and_then_a_convolution() -> None:
    layer, x = DoublingConv2d(5, 7), _normal(2, 5, 6, 9)
    expected = F.conv2d(F.interpolate(x, scale_factor=2, mode="nearest"), layer.weight, layer.bias, padding=1)
    torch.testing.assert_close(layer(x), expected)
    assert doubled(layer.weight).shape == (5, 7, 4, 4)


def test_smooth_doubling_is_a_convolution_and_then_straight_lines_between_its_values() -> None:
    layer, x = SmoothDoublingConv2d(5, 7), _normal(2, 5, 6, 9)
    y, large = F.conv2d(x, layer.weight, layer.bias, padding=1), layer(x)
    assert large.shape == (2, 7, 12, 18)
    rows = 0.75 * y[:, :, 1:-1] + 0.25 * y[:, :, :-2]  # of each second row, within
    expected = 0.75 * rows[..., 1:-1] + 0.25 * rows[..., 2:]
    torch.testing.assert_close(large[:, :, 2:-2:2, 3:-2:2], expected)


def test_an_unknown_way_to_enlarge_is_refused() -> None:
    with pytest.raises(GenpriorError, match="'enlarging' must be nearest or bilinear, got cubic"):
        PyramidGenerator((3, 32, 32), 4, enlarging="cubic")


def test_a_flat_image_stays_flat_where_a_transposed_convolution_shows_a_checkerboard() -> None:
    flat = torch.ones(1, 3, 8, 8)
    layers = DoublingConv2d(3, 4), SmoothDoublingConv2d(3, 4), ConvTranspose2d(3, 4, 3, 2, 1, 1)
    inner = [layer(flat)[:, :, 3:-3, 3:-3].detach() for layer in layers]
    *smooth, board = (float(x.std((2, 3)).max()) for x in inner)
    assert max(smooth) < 1e-6
    assert board > 0.01


def test_layers_of_one_size_are_those_of_torch_in_the_dtype_of_their_input() -> None:
    layer, x = StillConv2d(3, 4, 3), _normal(2, 3, 5, 6)
    torch.testing.assert_close(layer(x), F.conv2d(x, layer.weight, layer.bias, padding=1))
    assert layer(x.bfloat16()).dtype == torch.bfloat16


def test_logits_of_different_images_differ_from_the_start() -> None:
    brightness = torch.linspace(0, 1, 64)[:, None, None, None]
    x = brightness * torch.rand(64, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    ours = initialised(lambda: pyramid_discriminator((3, 64, 64), 8), 0)
    usual = initialised(lambda: dcgan_discriminator((3, 64, 64), 8, norm="none"), 0)
    assert float(ours(x).detach().std()) > 0.05
    assert float(usual(x).detach().std()) < 0.01


@pytest.mark.parametrize("shape", [(3, 15, 64), (3, 64, 129), (1, 8, 8), (2, 1, 1)])
@pytest.mark.parametrize("make", [lambda shape: PyramidGenerator(shape, 4), pyramid_discriminator])
def test_other_sizes_are_refused(make: object, shape: tuple[int, int, int]) -> None:
    assert callable(make)
    with pytest.raises(GenpriorError, match=r"model: expected images of 16 to 128 pixels a side, got \d+x\d+"):
        make(shape)
