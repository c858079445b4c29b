"""Networks of velocities: any shape, any size, no image influences another; what moves is answered by what moves."""

import pytest
import torch
from torch import Tensor, nn

from genprior.errors import GenpriorError
from genprior.models.velocity_networks import VELOCITIES, VelocityUNet, ratio_waves
from genprior.seeding import initialised

SHAPES = ((1, 28, 28), (3, 32, 32), (1, 32, 48), (3, 64, 64), (4, 17, 30), (1, 8, 8))
SMALL = {"unet": {"width": 8, "blocks": 1}, "mlp": {"width": 8, "depth": 2}}
MOST_WEIGHTS = 1_500_000


def _network(name: str, shape: tuple[int, int, int], **options: int) -> nn.Module:
    def made() -> nn.Module:
        network = VELOCITIES[name](shape, **(options or SMALL[name]))
        for parameter in network.parameters():  # none is 0, as some are before training
            nn.init.normal_(parameter, std=0.2)
        return network

    return initialised(made, 0).double()


def _seen(shape: tuple[int, int, int], count: int = 3) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(count, *shape, generator=generator, dtype=torch.float64)
    return x, torch.linspace(0, 1, count, dtype=torch.float64)


def test_every_network_is_tried_here() -> None:
    assert SMALL.keys() == VELOCITIES.keys()


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", VELOCITIES)
def test_shapes_come_back_and_no_image_influences_another(name: str, shape: tuple[int, int, int]) -> None:
    network, (x, t) = _network(name, shape), _seen(shape)
    out = network(x, t)
    assert (out.shape, out.dtype) == (x.shape, x.dtype)
    alone = torch.cat([network(x[i : i + 1], t[i : i + 1]) for i in range(len(x))])
    torch.testing.assert_close(out, alone)
    torch.testing.assert_close(network(x.contiguous(memory_format=torch.channels_last), t), out)


@pytest.mark.parametrize("name", VELOCITIES)
def test_every_weight_learns_and_time_matters(name: str) -> None:
    network, (x, t) = _network(name, (1, 12, 12)), _seen((1, 12, 12))
    network(x, t).square().sum().backward()
    assert not [key for key, weight in network.named_parameters() if weight.grad is None or not weight.grad.any()]
    assert not torch.allclose(network(x, t), network(x, t.flip(0)))


@pytest.mark.parametrize("name", VELOCITIES)
def test_before_training_it_says_nearly_nothing(name: str) -> None:
    network, (x, t) = initialised(lambda: VELOCITIES[name]((1, 12, 12)), 0).double(), _seen((1, 12, 12))
    assert float(network(x, t).detach().std()) < 0.2


@pytest.mark.parametrize("levels", [1, 2, 3])
def test_a_moved_image_is_answered_by_a_moved_one(levels: int) -> None:
    """Away from the border: nothing in the network looks at the whole image."""
    network = _network("unet", (1, 160, 160), width=4, blocks=1, levels=levels)
    assert isinstance(network, VelocityUNet)
    x, t = _seen((1, 160, 160), count=1)
    step = network.stride
    moved = network(x.roll((step, step), (2, 3)), t).roll((-step, -step), (2, 3))
    inside = (..., slice(76, 84), slice(76, 84))
    torch.testing.assert_close(moved[inside], network(x, t)[inside])


def test_the_networks_of_the_presets_are_small() -> None:
    for network in (VelocityUNet((1, 28, 28)), VelocityUNet((3, 64, 64), width=32, levels=3)):
        assert sum(p.numel() for p in network.parameters()) <= MOST_WEIGHTS


def test_waves_are_finite_at_both_ends() -> None:
    waves = ratio_waves(torch.tensor([0.0, 0.5, 1.0]))
    assert torch.isfinite(waves).all()
    torch.testing.assert_close(waves[1, :16], torch.zeros(16))


@pytest.mark.parametrize(
    ("name", "options"),
    [("unet", {"width": 0}), ("unet", {"levels": 9}), ("unet", {"blocks": 1.5}), ("mlp", {"depth": 0})],
)
def test_options_out_of_range_are_refused(name: str, options: dict[str, float]) -> None:
    with pytest.raises(GenpriorError, match="must be an integer from 1 to"):
        VELOCITIES[name]((1, 8, 8), **options)
