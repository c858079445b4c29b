"""Networks of velocities: any shape, any size, no image influences another; what moves is answered by what moves."""

import pytest
import torch
from torch import Tensor, nn

from genprior.errors import GenpriorError
from genprior.models import image_tiles
from genprior.models.image_tiles import windows
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


@pytest.mark.parametrize("levels", [1, 2, 3])
def test_nothing_beyond_the_reach_is_seen_and_that_at_the_reach_is(levels: int) -> None:
    network = _network("unet", (1, 240, 16), width=4, blocks=2, levels=levels)
    assert isinstance(network, VelocityUNet)
    x, t = _seen((1, 240, 16), count=1)
    x.requires_grad_()
    row = 120 // network.stride * network.stride  # the first of its coarsest cell
    (slope,) = torch.autograd.grad(network(x, t)[0, 0, row].sum(), x)
    rows = slope[0, 0].abs().sum(1).nonzero()[:, 0]
    first, last = int(rows.min()), int(rows.max())
    assert row - first <= network.reach
    assert last - row < network.reach + network.stride
    assert row - first > network.reach - network.stride  # margins are no wider than they must be


@pytest.mark.parametrize("levels", [1, 3])
def test_a_large_image_in_tiles_is_answered_as_a_whole(levels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    network = _network("unet", (2, 90, 140), width=4, blocks=1, levels=levels)
    assert isinstance(network, VelocityUNet)
    (x, t), answers = _seen((2, 90, 140), count=2), []
    for whole, tile in ((2**18, 512), (64, 32)):
        monkeypatch.setattr(image_tiles, "WHOLE", whole)
        monkeypatch.setattr(image_tiles, "TILE", tile)
        own = x.clone().requires_grad_()
        out = network(own, t)
        (slope,) = torch.autograd.grad(out.square().sum(), own, retain_graph=True)
        (again,) = torch.autograd.grad(out.square().sum(), own)
        torch.testing.assert_close(again, slope, rtol=0, atol=0)
        with torch.no_grad():
            torch.testing.assert_close(network(x, t), out)
        answers.append((out.detach(), slope))
    torch.testing.assert_close(answers[1], answers[0])


def test_a_large_image_equals_its_own_crop_away_from_the_border() -> None:
    network = _network("unet", (1, 64, 64), width=4, blocks=1, levels=2)
    assert isinstance(network, VelocityUNet)
    x, t = _seen((1, 200, 120), count=1)
    step, far = network.stride, network.reach + network.stride
    crop = network(x[:, :, 5 * step : 35 * step, 2 * step : 26 * step], t)
    inside = network(x, t)[:, :, 5 * step : 35 * step, 2 * step : 26 * step]
    torch.testing.assert_close(crop[:, :, far:-far, far:-far], inside[:, :, far:-far, far:-far])
    assert not torch.allclose(crop, inside)


def test_tiles_cover_each_pixel_once() -> None:
    for side, reach, stride in ((513, 40, 4), (1024, 92, 8), (520, 0, 8), (1000, 9, 2)):
        kept = [
            place
            for first, _, start, stop in windows(side, reach, stride)
            for place in range(first + start, first + stop)
        ]
        assert kept == list(range(side))
        assert all(first % stride == 0 for first, *_ in windows(side, reach, stride))


def test_the_networks_of_the_presets_are_small() -> None:
    for network in (VelocityUNet((1, 28, 28)), VelocityUNet((3, 64, 64), width=32, levels=3, wiener=5)):
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
