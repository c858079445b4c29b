"""The field of a game: eigenvalues in closed form, path angles of a rotation and of a potential, noise of gradients."""

import cmath
import math

import pytest
import torch
from torch import Tensor, nn

from genprior.diagnosis.game_field import (
    ALPHAS,
    Losses,
    PathAngle,
    adversarial_losses,
    flow_eigenvalues,
    gradient_norms,
    path_angle,
    vector_field,
)
from genprior.models.mlp import MLPDiscriminator, MLPGenerator
from genprior.seeding import initialised
from genprior.training.losses import LOSSES, hinge, non_saturating, saturating
from genprior.training.penalties import SlopePenalty, r1

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


def _dirac(name: str, *penalties: SlopePenalty) -> Losses:
    zeros = torch.zeros(2, 1, 1, 1, dtype=torch.float64)
    return adversarial_losses(LOSSES[name](), zeros, zeros[:, :, 0, 0], penalties)


def _close_to(found: Tensor, expected: list[complex]) -> bool:
    key = lambda value: (round(value.real, 6), value.imag)  # noqa: E731
    pairs = zip(sorted(found.tolist(), key=key), sorted(expected, key=key), strict=True)
    return all(abs(a - b) < 1e-7 for a, b in pairs)


@pytest.mark.parametrize("name", ["saturating", "non-saturating"])
def test_the_dirac_gan_turns_without_end(name: str) -> None:
    assert _close_to(flow_eigenvalues(_dirac(name), Line(0.0), Place(0.0)), [0.5j, -0.5j])


@pytest.mark.parametrize("gamma", [0.3, 1.0, 2.0])
@pytest.mark.parametrize("every", [1, 8])
def test_r1_draws_the_dirac_gan_to_its_equilibrium(gamma: float, every: int) -> None:
    root = cmath.sqrt(gamma**2 / 4 - 1 / 4)
    found = flow_eigenvalues(_dirac("saturating", r1(gamma, every)), Line(0.0), Place(0.0))
    if gamma == 1:  # a double root, which rounding splits by the root of its size
        assert found.tolist() == pytest.approx([-0.5, -0.5], abs=1e-6)
    else:
        assert _close_to(found, [-gamma / 2 + root, -gamma / 2 - root])


def test_the_largest_real_part_stands_first() -> None:
    found = flow_eigenvalues(_dirac("saturating", r1(2.0)), Line(0.0), Place(0.0))
    assert found[0].real > found[1].real


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
    *_, last = path_angle(losses, earlier, later)
    return last


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


def test_a_path_is_known_place_by_place_and_players_stay_as_they_are() -> None:
    pair = Line(3.0), Place(-1.0)
    found = list(path_angle(_potential, (Line(0.0), Place(4.0)), pair))
    assert [len(each.cosines) for each in found] == list(range(1, len(ALPHAS) + 1))
    assert [each.is_whole for each in found] == [False] * (len(ALPHAS) - 1) + [True]
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
