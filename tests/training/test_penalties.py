"""Penalties on the discriminator's slope."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from genprior.config import GANConfig
from genprior.data import Dataset, load_data
from genprior.errors import GenpriorError
from genprior.training.gan import GAN
from genprior.training.loop import train
from genprior.training.penalties import PENALTIES, SlopePenalty, r1, r2

every_penalty = pytest.mark.parametrize("make", PENALTIES.values(), ids=PENALTIES)


class Quadratic(nn.Module):
    """D(x) = c |x|^2 / 2, whose slope is c x."""

    def __init__(self, c: float) -> None:
        super().__init__()
        self.c = nn.Parameter(torch.tensor(c, dtype=torch.float64))

    def forward(self, x: Tensor, parts: int = 1) -> Tensor:
        return 0.5 * self.c * x.square().flatten(1).sum(1)


def _images(scale: float) -> Tensor:
    return scale * torch.randn(5, 2, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("every", [1, 4])
@every_penalty
def test_penalty_of_a_known_slope_and_its_gradient(make: Callable[..., SlopePenalty], every: int) -> None:
    real, fake, gamma, c = _images(1.0), _images(3.0), 0.7, -1.5
    penalty, discriminator = make(gamma=gamma, every=every), Quadratic(c)
    squares = (real if penalty.on_real else fake).square().flatten(1).sum(1)
    value = penalty(discriminator, real, fake)
    torch.testing.assert_close(value, 0.5 * gamma * every * c**2 * squares)
    value.sum().backward()
    torch.testing.assert_close(discriminator.c.grad, gamma * every * c * squares.sum())


def test_r1_and_r2_look_at_different_images() -> None:
    assert (r1().on_real, r2().on_real) == (True, False)


def test_every_counts_turns_from_the_first() -> None:
    assert [turn for turn in range(9) if r1(every=4).is_due(turn)] == [0, 4, 8]


@pytest.mark.parametrize("options", [{"gamma": 0}, {"gamma": -1}, {"gamma": 1e7}, {"every": 0}, {"every": 1.5}])
def test_options_out_of_range_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(GenpriorError, match=f"penalty: expected {next(iter(options))} .*got"):
        r1(**options)


def _gan(data: Dataset, *penalties: str) -> GAN:
    config = GANConfig(
        data="digits",
        size=8,
        latent_size=4,
        model="dcgan:generator_width=4,discriminator_width=4,norm=none",
        batch_size=8,
        discriminator_updates=2,
        penalty=penalties,
        precision="float64",
    )
    return config.build(data)


def _trained(data: Dataset, steps: int, *penalties: str) -> GAN:
    gan = _gan(data, *penalties)
    for _ in train(gan, data, limit=16 * steps):
        pass
    return gan


def test_a_penalty_flattens_the_discriminator() -> None:
    data = load_data("digits[:64]", size=8)
    x = data.take(torch.arange(64)).double()
    free, held = (r1()(_trained(data, 40, *p).discriminator, x, x).mean() for p in ((), ("r1:gamma=20",)))
    assert held < 0.3 * free


def test_the_turn_survives_a_checkpoint() -> None:
    data = load_data("digits[:64]", size=8)
    first = _trained(data, 3, "r1:every=4")
    second = _gan(data, "r1:every=4")
    second.load_state_dict(first.state_dict())
    for gan in (first, second):
        for _ in train(gan, data, images_seen=48, limit=96):
            pass
    for name, value in first.state_dict().items():
        torch.testing.assert_close(second.state_dict()[name], value, rtol=0, atol=0, msg=name)


def test_none_takes_the_penalty_of_a_preset_away() -> None:
    assert GANConfig().penalty
    assert GANConfig(penalty=["none"]).penalty == ()


@pytest.mark.parametrize(
    ("penalty", "expected"), [("r3", "unknown penalty 'r3'"), ("r1:gama=1", "unknown option 'gama' of 'r1'")]
)
def test_an_unknown_penalty_is_refused(penalty: str, expected: str) -> None:
    with pytest.raises(GenpriorError, match=expected):
        GANConfig(penalty=[penalty]).check_names()
