"""Folded networks: the same images and gradients without batch normalisation; the original is left alone."""

import pytest
import torch
from torch import Tensor, nn

from genprior.models import mlp
from genprior.models.dcgan import DCGANGenerator
from genprior.models.derived_generators import folded
from genprior.models.layers import BatchNorm2d, ConvTranspose2d

LATENTS = 6
SHAPES = [(1, 8, 8), (3, 16, 16), (1, 28, 28), (3, 32, 32), (1, 33, 33), (1, 64, 64)]
every_shape = pytest.mark.parametrize("shape", SHAPES)


def _trained(shape: tuple[int, int, int], dtype: torch.dtype = torch.float32) -> DCGANGenerator:
    """A generator whose statistics and scales are like those after training, none of them 0 or 1."""
    network = DCGANGenerator(shape, latent_size=LATENTS, width=4)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, 0.3)
            nn.init.normal_(module.bias, 0.0, 0.3)
    for _ in range(10):
        network(torch.randn(32, LATENTS))
    for module in network.modules():
        if isinstance(module, ConvTranspose2d) and module.bias is not None:
            module.weight.data *= 10  # the last layer: images of some contrast
    return network.to(dtype).eval()


def _latents(dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(9, LATENTS, dtype=dtype)


@every_shape
def test_images_are_the_same(shape: tuple[int, int, int]) -> None:
    network, z = _trained(shape), _latents()
    x = folded(network)(z)
    torch.testing.assert_close(x, network(z), rtol=0, atol=1e-5)
    assert float(x.std()) > 0.01


@every_shape
def test_input_gradients_are_the_same(shape: tuple[int, int, int]) -> None:
    network = _trained(shape, torch.float64)
    z = _latents(torch.float64).requires_grad_()
    slopes = [torch.autograd.grad(torch.sin(9 * net(z)).sum(), z)[0] for net in (network, folded(network))]
    torch.testing.assert_close(slopes[1], slopes[0], rtol=1e-8, atol=1e-9)


@every_shape
def test_no_batch_normalisation_is_left_and_nothing_is_trained(shape: tuple[int, int, int]) -> None:
    network = folded(_trained(shape))
    assert not any(isinstance(module, nn.BatchNorm2d) for module in network.modules())
    assert not any(p.requires_grad for p in network.parameters())
    assert not any(module.training for module in network.modules())


def test_the_original_is_left_alone() -> None:
    network = _trained((1, 16, 16)).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    copy = folded(network)
    for parameter in copy.parameters():
        parameter.zero_()
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert before.keys() == network.state_dict().keys()
    assert network.training
    assert all(p.requires_grad for p in network.parameters())


def test_a_network_in_training_is_folded_as_it_evaluates() -> None:
    network, z = _trained((1, 16, 16)), _latents()
    torch.testing.assert_close(folded(network.train())(z), network.eval()(z), rtol=0, atol=1e-5)


def test_a_network_without_batch_normalisation_passes_through() -> None:
    network, z = mlp.MLPGenerator((1, 8, 8), LATENTS, 16, 2), _latents()
    assert torch.equal(folded(network)(z), network(z))


class _Scaled(nn.Module):
    """A user's generator with sequences inside each other, and a bias before the normalisation."""

    def __init__(self) -> None:
        super().__init__()
        block = nn.Sequential(ConvTranspose2d(LATENTS, 5, 3, bias=True), BatchNorm2d(5), nn.ReLU())
        tail = nn.Sequential(ConvTranspose2d(5, 4, 3, stride=2), nn.BatchNorm2d(4, affine=False))
        self.layers = nn.Sequential(block, tail, BatchNorm2d(4), nn.ReLU(), ConvTranspose2d(4, 1, 3))

    def forward(self, z: Tensor) -> Tensor:
        x: Tensor = self.layers(z[:, :, None, None])
        return torch.sigmoid(x)


def test_biases_and_sequences_inside_each_other_are_folded() -> None:
    network, z = _Scaled(), _latents()
    for _ in range(10):
        network(torch.randn(32, LATENTS))
    copy = folded(network)
    torch.testing.assert_close(copy(z), network.eval()(z), rtol=0, atol=1e-5)
    assert sum(isinstance(module, nn.BatchNorm2d) for module in copy.modules()) == 1  # not after a convolution


def test_normalisation_by_the_batch_itself_is_not_folded() -> None:
    layers = nn.Sequential(ConvTranspose2d(LATENTS, 3, 3), nn.BatchNorm2d(3, track_running_stats=False)).eval()
    z = _latents()[:, :, None, None]
    torch.testing.assert_close(folded(layers)(z), layers(z))


def test_a_layer_that_is_used_twice_is_folded_as_often() -> None:
    shared = ConvTranspose2d(4, 4, 3)
    layers = nn.Sequential(shared, BatchNorm2d(4), nn.ReLU(), shared, BatchNorm2d(4))
    for _ in range(10):
        layers(torch.randn(32, 4, 2, 2))
    z = torch.randn(3, 4, 1, 1)
    torch.testing.assert_close(folded(layers)(z), layers.eval()(z), rtol=0, atol=1e-5)


def test_layers_keep_their_names() -> None:
    from collections import OrderedDict

    layers = nn.Sequential(OrderedDict(up=ConvTranspose2d(4, 3, 3), norm=BatchNorm2d(3), last=ConvTranspose2d(3, 1, 3)))
    copy = folded(layers)
    assert isinstance(copy.get_submodule("up"), ConvTranspose2d)
    assert isinstance(copy.get_submodule("last"), ConvTranspose2d)
