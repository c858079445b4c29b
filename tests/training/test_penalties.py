"""Penalties on the discriminator's slope."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from genprior.data import Dataset, load_data
from genprior.errors import GenpriorError
from genprior.families import GANConfig
from genprior.models import dcgan
from genprior.models.discriminator_parts import Packed
from genprior.models.players import Players
from genprior.training.adversarial import GAN, AdversarialSettings
from genprior.training.loop import Batch, Budget, train
from genprior.training.losses import non_saturating
from genprior.training.penalties import PENALTIES, SlopePenalty, r1, r2, wgan_gp
from genprior.training.processes import Placement

MIX = torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0], dtype=torch.float64)
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
@pytest.mark.parametrize("make", [r1, r2])
def test_penalty_of_a_known_slope_and_its_gradient(make: Callable[..., SlopePenalty], every: int) -> None:
    real, fake, gamma, c = _images(1.0), _images(3.0), 0.7, -1.5
    penalty, discriminator = make(gamma=gamma, every=every), Quadratic(c)
    squares = (real if make is r1 else fake).square().flatten(1).sum(1)
    value = penalty(discriminator, real, fake, MIX)
    torch.testing.assert_close(value, 0.5 * gamma * every * c**2 * squares)
    value.sum().backward()
    torch.testing.assert_close(discriminator.c.grad, gamma * every * c * squares.sum())


@pytest.mark.parametrize("every", [1, 4])
def test_the_gradient_penalty_of_a_known_slope_between_real_and_fake(every: int) -> None:
    real, fake, weight, c = _images(1.0), _images(3.0), 0.7, -1.5
    discriminator = Quadratic(c)
    norms = (MIX.view(-1, 1, 1, 1) * real + (1 - MIX.view(-1, 1, 1, 1)) * fake).flatten(1).norm(dim=1)
    value = wgan_gp(weight=weight, every=every)(discriminator, real, fake, MIX)
    torch.testing.assert_close(value, weight * every * (abs(c) * norms - 1).square())
    value.sum().backward()
    expected = weight * every * 2 * (abs(c) * norms - 1) * norms * -1  # c is negative
    torch.testing.assert_close(discriminator.c.grad, expected.sum())


@every_penalty
def test_a_fading_penalty_falls_by_equal_factors(make: Callable[..., SlopePenalty]) -> None:
    assert [make(fade=0.01).share(used) for used in (0.0, 0.5, 1.0)] == pytest.approx([1.0, 0.1, 0.01])
    assert make().share(0.7) == 1


def test_a_penalty_fades_while_training_goes_on() -> None:
    data = load_data("digits[:64]", size=8)
    batch = Batch(data.take(torch.arange(16)), torch.arange(16))
    norms = {}
    for options in ("gamma=50,fade=0.01", "gamma=0.5", "gamma=50"):
        gan = _gan(data, f"r1:{options}")
        record = gan.update(batch, 1.0, torch.Generator().manual_seed(0))
        norms[options] = float(record["discriminator_gradient_norm"])
    faded, weak, strong = norms.values()
    assert faded == pytest.approx(weak)
    assert faded != pytest.approx(strong)


def test_a_slope_of_zero_has_a_finite_gradient() -> None:
    discriminator = Quadratic(0.0)
    wgan_gp()(discriminator, _images(0.0), _images(0.0), MIX).sum().backward()
    assert torch.isfinite(discriminator.c.grad)


@every_penalty
def test_images_that_are_seen_at_once_have_one_slope(make: Callable[..., SlopePenalty]) -> None:
    """A pack of two is one image of twice as many values."""
    real, fake, mix = _images(1.0)[:4], _images(3.0)[:4], torch.tensor([0.2, 0.2, 0.9, 0.9], dtype=torch.float64)
    packs = [x.reshape(2, 4, 3, 3) for x in (real, fake)]
    together = make()(Packed(Quadratic(1.3), 2), real, fake, mix)
    torch.testing.assert_close(together, make()(Quadratic(1.3), *packs, mix[::2]))


def test_every_counts_turns_from_the_first() -> None:
    assert [turn for turn in range(9) if r1(every=4).is_due(turn)] == [0, 4, 8]


class Once(torch.autograd.Function):
    """The square, whose derivative has none."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:  # noqa: ANN401
        ctx.save_for_backward(x)
        return x.square()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:  # noqa: ANN401
        (x,) = ctx.saved_tensors
        return 2 * x * grad


class OnlyOnce(Quadratic):
    """D(x) = c |x|^2 / 2 of that square."""

    def forward(self, x: Tensor, parts: int = 1) -> Tensor:
        return 0.5 * self.c * Once.apply(x).flatten(1).sum(1)


class Blind(Quadratic):
    """D(x) = c."""

    def forward(self, x: Tensor, parts: int = 1) -> Tensor:
        return self.c.expand(len(x))


@every_penalty
@pytest.mark.parametrize("discriminator", [OnlyOnce(1.0), Blind(1.0)], ids=["once", "blind"])
def test_a_discriminator_that_cannot_be_differentiated_twice_is_refused_before_the_first_step(
    make: Callable[..., SlopePenalty], discriminator: nn.Module
) -> None:
    data = load_data("digits[:64]", size=8)
    players = Players(dcgan.DCGANGenerator((1, 8, 8), 4, 4), discriminator)
    gan = GAN(players, non_saturating(), AdversarialSettings(8, penalties=(make(),)), Placement(torch.float64))
    with pytest.raises(GenpriorError, match=r"penalty: .*cannot be differentiated twice.*--penalty none"):
        next(train(gan, data, Budget(images=10**6)))


def test_checking_a_penalty_leaves_the_discriminator_as_it_is() -> None:
    data = load_data("digits[:64]", size=8)
    gan = _gan(data, "r1")
    before = {name: value.clone() for name, value in gan.state_dict().items()}
    gan.check(data)
    assert all(torch.equal(value, before[name]) for name, value in gan.state_dict().items())


@pytest.mark.parametrize(
    "options", [{"gamma": 0}, {"gamma": -1}, {"gamma": 1e7}, {"every": 0}, {"every": 1.5}, {"fade": 0}]
)
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
    for _ in train(gan, data, Budget(images=16 * steps)):
        pass
    return gan


def test_a_penalty_flattens_the_discriminator() -> None:
    data = load_data("digits[:64]", size=8)
    x = data.take(torch.arange(64)).double()
    mix = torch.ones(64)
    free, held = (r1()(_trained(data, 40, *p).discriminator, x, x, mix).mean() for p in ((), ("r1:gamma=20",)))
    assert held < 0.3 * free


def test_the_turn_survives_a_checkpoint() -> None:
    data = load_data("digits[:64]", size=8)
    first = _trained(data, 3, "r1:every=4")
    second = _gan(data, "r1:every=4")
    second.load_state_dict(first.state_dict())
    for gan in (first, second):
        for _ in train(gan, data, Budget(images=96), images_seen=48):
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
