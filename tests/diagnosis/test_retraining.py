"""A discriminator retrained against a frozen generator: exact gradients, what moves, what does not, and falls."""

import copy
import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from genprior.data import load_data
from genprior.diagnosis.one_player import RetrainingMoment, decades_fallen
from genprior.diagnosis.retraining import COMPARED, LoneTraining, gradient_norm, measured_steps, moment, retrain
from genprior.models import dcgan
from genprior.models.players import Players
from genprior.seeding import initialised
from genprior.training.optimisation import AdamSettings

SHAPE = (1, 8, 8)


def _players(seed: int = 0) -> Players:
    return initialised(lambda: Players(dcgan.DCGANGenerator(SHAPE, 5, 4), dcgan.dcgan_discriminator(SHAPE, 4)), seed)


def _retrained(players: Players, steps: int = 6, seed: int = 0, rate: float = 0.002) -> list[RetrainingMoment]:
    training = LoneTraining(AdamSettings(rate), steps, batch_size=8, seed=seed)
    return list(retrain(players.generator, players.discriminator, load_data("digits[:64]", size=8), training, 16))


def _state(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


def _z(count: int) -> Tensor:
    return torch.randn(count, 5, generator=torch.Generator().manual_seed(1))


def _real(count: int = 16) -> Tensor:
    return load_data("digits[:64]", size=8).some(count)


@pytest.mark.parametrize("name", COMPARED)
def test_norms_equal_those_of_autograd_on_the_loss_itself(name: str) -> None:
    players, z, real = _players(), _z(16), _real()
    found = moment(0, players.generator, players.discriminator, z, real)
    fake = copy.deepcopy(players.discriminator)(players.generator(z))
    COMPARED[name].generator(fake, fake).mean().backward()
    gradients = [weight.grad for weight in players.generator.parameters()]
    expected = torch.cat([gradient.flatten() for gradient in gradients if gradient is not None]).norm()
    assert found.gradient_norm[name] == pytest.approx(float(expected), rel=1e-5)


def test_on_one_fake_the_norms_stand_in_the_ratio_exp_minus_a() -> None:
    players = _players()
    generator, discriminator = players.generator.eval(), players.discriminator.eval()
    with torch.no_grad():
        discriminator.head.bias -= 9
    found = moment(0, generator, discriminator, _z(1), _real())
    ratio = found.gradient_norm["non-saturating"] / found.gradient_norm["saturating"]
    assert ratio == pytest.approx(math.exp(-found.fake_logit), rel=1e-5)
    assert found.fake_logit < -8


@pytest.mark.parametrize("logit", [-30.0, -80.0, -300.0])
def test_norms_far_below_what_float32_can_hold_keep_their_digits(logit: float) -> None:
    """Of a logit a = theta, whose gradient is 1: the norm is sigmoid(a) itself."""
    theta = nn.Parameter(torch.tensor([logit]))
    factor = torch.exp(torch.tensor([logit], dtype=torch.float64))
    assert gradient_norm(theta * 1, factor, [theta]) == pytest.approx(math.exp(logit), rel=1e-12)


@pytest.mark.parametrize("largest", [0.0, math.inf, math.nan])
def test_factors_that_are_zero_or_not_finite_are_passed_on(largest: float) -> None:
    theta = nn.Parameter(torch.zeros(2))
    found = gradient_norm(theta * 1, torch.tensor([0.0, largest], dtype=torch.float64), [theta])
    assert found == largest or (math.isnan(found) and math.isnan(largest))


def test_means_and_accuracy_are_those_of_the_logits() -> None:
    players, z, real = _players(), _z(16), _real()
    found = moment(3, players.generator, players.discriminator, z, real)
    with torch.no_grad():
        on_real = players.discriminator(real)
        on_fakes = players.discriminator(players.generator(z))
    right = ((on_real > 0).float().mean() + (on_fakes <= 0).float().mean()) / 2
    expected = float(on_real.mean()), float(on_fakes.mean()), float(right)
    assert (found.real_logit, found.fake_logit, found.accuracy) == pytest.approx(expected)
    factor = torch.sigmoid(on_fakes).square().mean().sqrt()
    assert found.loss_factor["saturating"] == pytest.approx(float(factor), rel=1e-5)


def test_measuring_changes_nothing() -> None:
    players = _players()
    before = _state(players.discriminator)
    moment(0, players.generator, players.discriminator, _z(16), _real())
    assert all(torch.equal(value, before[name]) for name, value in players.discriminator.state_dict().items())
    assert all(weight.grad is None for network in vars(players).values() for weight in network.parameters())
    assert all(weight.requires_grad for weight in players.discriminator.parameters())


def test_only_the_discriminator_learns() -> None:
    players = _players()
    generator, discriminator = _state(players.generator), _state(players.discriminator)
    _retrained(players)
    assert all(torch.equal(value, generator[name]) for name, value in players.generator.state_dict().items())
    assert all(weight.grad is None for weight in players.generator.parameters())
    for name, weight in players.discriminator.named_parameters():
        assert not torch.equal(weight, discriminator[name]), name


def test_the_number_of_measurements_does_not_change_what_is_learned() -> None:
    """Steps 0, 1, 2 and 4 are measured in both."""
    short, long = _retrained(_players(), 4), _retrained(_players(), 16)
    later = {each.step: each for each in long}
    assert [later[each.step] for each in short if each.step in (0, 1, 2, 4)] == [
        each for each in short if each.step in (0, 1, 2, 4)
    ]


def test_the_same_seed_gives_the_same_numbers() -> None:
    assert _retrained(_players()) == _retrained(_players())


def test_another_seed_gives_other_fakes_and_batches() -> None:
    assert _retrained(_players())[0].gradient_norm != _retrained(_players(), seed=1)[0].gradient_norm


def test_a_generator_in_evaluation_mode_is_measured_in_training_mode_and_left_as_it_is() -> None:
    players, other = _players(), _players()
    players.generator.eval()
    assert _retrained(players) == _retrained(other)
    assert not players.generator.training


def test_a_discriminator_that_learns_takes_the_gradient_of_one_loss_only() -> None:
    moments = _retrained(_players(), 300, rate=0.01)
    falls = {name: decades_fallen([each.gradient_norm[name] for each in moments]) for name in COMPARED}
    assert falls["saturating"] > 2
    assert falls["non-saturating"] < 1
    assert moments[-1].accuracy == 1


@pytest.mark.parametrize(
    ("norms", "expected"),
    [
        ([1.0], 0.0),
        ([1.0, 10.0, 100.0], 0.0),
        ([100.0, 1.0, 10.0], 2.0),
        ([1e-200, 1e100, 1e-200], 300.0),
        ([], None),
        ([1.0, 0.0], None),
        ([1.0, math.nan], None),
        ([math.inf, 1.0], None),
    ],
)
def test_the_fall_is_from_the_peak_to_the_lowest_value_after_it(norms: list[float], expected: float | None) -> None:
    assert decades_fallen(norms) == (None if expected is None else pytest.approx(expected))


@pytest.mark.parametrize("steps", [1, 2, 7, 100, 2000])
def test_measured_steps_begin_with_none_and_end_with_the_last(steps: int) -> None:
    measured = measured_steps(steps)
    assert (measured[0], measured[-1]) == (0, steps)
    assert all(first < second for first, second in pairwise(measured))
    assert len(measured) <= 12 + steps.bit_length()
