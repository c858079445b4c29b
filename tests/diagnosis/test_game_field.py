"""The field of a game: gradients of each player, path angles of a rotation and of a potential, noise of gradients."""

import math

import pytest
import torch
from torch import Tensor, nn

from genprior.diagnosis.equilibrium_measures import (
    ALPHAS,
    Losses,
    gradient_norms,
    path_angle,
    vector_field,
)
from genprior.diagnosis.equilibrium_numbers import PathAngle
from genprior.diagnosis.gan_game import adversarial_losses
from genprior.models.mlp import MLPDiscriminator, MLPGenerator
from genprior.progress import result_of
from genprior.seeding import initialised
from genprior.training.losses import LOSSES, hinge, non_saturating, saturating

Pair = tuple[nn.Module, nn.Module]


class Line(nn.Module):
    """D(x) = psi x, of numbers as images."""

    def __init__(self, psi: float) -> None:
        super().__init__()
        self.psi = nn.Parameter(torch.tensor(psi, dtype=torch.float64))

    def forward(self, x: Tensor, parts: int = 1) -> Tensor:
        return self.psi * x.flatten()


class Place(nn.Module):
    """G(z) = theta, whatever z."""

    latent_size = 1

    def __init__(self, theta: float) -> None:
        super().__init__()
        self.theta = nn.Parameter(torch.tensor(theta, dtype=torch.float64))

    def forward(self, z: Tensor) -> Tensor:
        return self.theta.expand(len(z), 1, 1, 1)


@pytest.mark.parametrize("name", ["non-saturating", "hinge", "least-squares"])
def test_each_player_has_the_gradient_of_its_own_loss(name: str) -> None:
    discriminator = initialised(lambda: MLPDiscriminator((2, 1, 1), 4, 1), 0)
    generator = initialised(lambda: MLPGenerator((2, 1, 1), 2, 4, 1), 1)
    real, z = torch.randn(6, 2, 1, 1), torch.randn(6, 2)
    loss = LOSSES[name]()
    found = vector_field(adversarial_losses(loss, real, z), discriminator, generator)
    fake = generator(z)
    loss.discriminator(discriminator(real), discriminator(fake.detach())).mean().backward()
    expected = torch.cat([weight.grad.flatten() for weight in discriminator.parameters() if weight.grad is not None])
    torch.testing.assert_close(found[0], expected)
    loss.generator(discriminator(real), discriminator(fake)).mean().backward()
    expected = torch.cat([weight.grad.flatten() for weight in generator.parameters() if weight.grad is not None])
    torch.testing.assert_close(found[1], expected)


def _walk(losses: Losses, earlier: Pair, later: Pair) -> PathAngle:
    return result_of(path_angle(losses, earlier, later))


def _rotation(first: nn.Module, second: nn.Module) -> tuple[Tensor, Tensor]:
    """V = x y: each player moves across the line to the centre."""
    product = first.psi * second.theta
    return -product, product


def _potential(first: nn.Module, second: nn.Module) -> tuple[Tensor, Tensor]:
    """Each player descends its own parabola around (3, -1)."""
    return (first.psi - 3).square() / 2, (second.theta + 1).square() / 2


def test_the_path_angle_of_a_rotation_is_a_bump() -> None:
    """The path ends beside the centre, at distance p: the cosine is p / sqrt(p^2 + t^2), t from the nearest place."""
    p = 0.25
    found = _walk(_rotation, (Line(p), Place(2.0)), (Line(p), Place(0.0)))
    expected = [-p / math.hypot(p, 2 * (1 - alpha)) for alpha in ALPHAS]
    signs = {round(abs(a) - abs(b), 9) for a, b in zip(found.cosines, expected, strict=True)}
    assert signs == {0.0}
    assert abs(found.end) == pytest.approx(1.0) == max(map(abs, found.cosines))
    assert found.attraction == pytest.approx(0, abs=1e-9)
    assert abs(found.bump) > 0.2
    assert not found.switches


def test_the_path_angle_of_a_potential_changes_its_sign_at_the_end() -> None:
    found = _walk(_potential, (Line(0.0), Place(4.0)), (Line(3.0), Place(-1.0)))
    ends = [(c < 0) if a < 1 else (c > 0) for a, c in zip(ALPHAS, found.cosines, strict=True) if a != 1]
    assert all(ends)
    assert found.switches
    assert found.attraction == pytest.approx(1.0)
    assert math.isnan(found.end)  # the field is 0 there
    assert found.length == pytest.approx(math.hypot(3, 5))
    assert found.norms[0] == pytest.approx(1.1 * found.length)


def test_a_path_is_measured_place_by_place_and_players_stay_as_they_are() -> None:
    pair = Line(3.0), Place(-1.0)
    stages = list(path_angle(_potential, (Line(0.0), Place(4.0)), pair))
    assert [stage.fraction for stage in stages] == [place / len(ALPHAS) for place in range(1, len(ALPHAS) + 1)]
    assert [pair[0].psi.item(), pair[1].theta.item()] == [3.0, -1.0]
    assert pair[0].psi.grad is None


def test_there_is_no_path_between_the_same_weights() -> None:
    with pytest.raises(ValueError, match="there is no path between them"):
        next(path_angle(_potential, (Line(1.0), Place(1.0)), (Line(1.0), Place(1.0))))


def _linear(slope: Tensor) -> Losses:
    """Losses with gradients of any size: slope[0] for the first player, slope[1] for the second."""
    return lambda first, second: (slope[0] * first.psi, slope[1] * second.theta)


def test_the_norm_of_pure_noise_is_that_of_the_noise_and_a_true_gradient_stands_out() -> None:
    count, generator = 400, torch.Generator().manual_seed(1)
    slopes = torch.randn(count, 2, generator=generator, dtype=torch.float64) + torch.tensor([0.0, 3.0])
    first, second = gradient_norms(map(_linear, slopes), Line(0.0), Place(0.0))
    mean, spread = slopes.mean(0), slopes.std(0)
    for found, i in ((first, 0), (second, 1)):
        assert found.norm == pytest.approx(abs(float(mean[i])))
        assert found.noise == pytest.approx(float(spread[i]) / math.sqrt(count))
    assert first.ratio < 3
    assert second.ratio > 50


def test_a_gradient_without_noise_is_infinitely_above_it() -> None:
    same = torch.ones(3, 2, dtype=torch.float64)
    assert gradient_norms(map(_linear, same), Line(0.0), Place(0.0))[0].ratio == math.inf


@pytest.mark.parametrize("loss", [saturating, non_saturating, hinge])
def test_a_discriminator_may_return_one_logit_for_two_images(loss: type) -> None:
    class Packed(Line):
        def forward(self, x: Tensor, parts: int = 1) -> Tensor:
            return self.psi * x.view(-1, 2).mean(1)

    losses = adversarial_losses(loss(), torch.ones(4, 1, 1, 1, dtype=torch.float64), torch.zeros(4, 1))
    assert all(field.shape == (1,) for field in vector_field(losses, Packed(0.5), Place(0.5)))
