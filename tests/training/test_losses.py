"""Laws of every adversarial loss: shapes, finiteness, exact derivatives, and values at equilibrium."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from genprior.training.losses import LOSSES, AdversarialLoss

Derivative = Callable[[Tensor], Tensor]
DTYPES = [torch.float32, torch.float64]
# Torch's softplus and its derivative replace 1 + exp(-a) by 1 above a = 20, which costs 2e-9 in relative terms.
RELATIVE = {torch.float32: 2e-5, torch.float64: 1e-8}


@dataclass(frozen=True)
class ClosedForm:
    """Derivatives of a loss by a logit, written down by hand, and what is known of it besides.

    Attributes:
        by_real, by_fake: Of the discriminator's loss.
        generator: Of the generator's loss, by the fake logit.
        vanishes_rejected: The generator's derivative tends to 0 while the discriminator is sure of fakes.
        vanishes_fooled: It tends to 0 while the discriminator takes fakes for real.
        at_equilibrium: Both players' losses once fakes equal the data (discriminator, generator).
    """

    by_real: Derivative
    by_fake: Derivative
    generator: Derivative
    vanishes_rejected: bool
    vanishes_fooled: bool
    at_equilibrium: tuple[float, float]


def _sigmoid(a: Tensor) -> Tensor:
    """1 / (1 + exp(-a)) with all digits on both sides, without torch's own."""
    small = torch.exp(-a.abs())
    return torch.where(a < 0, small, torch.ones_like(a)) / (1 + small)


CLOSED_FORMS = {
    "saturating": ClosedForm(
        by_real=lambda a: -_sigmoid(-a),
        by_fake=_sigmoid,
        generator=lambda a: -_sigmoid(a),
        vanishes_rejected=True,
        vanishes_fooled=False,
        at_equilibrium=(2 * math.log(2), -math.log(2)),
    ),
    "non-saturating": ClosedForm(
        by_real=lambda a: -_sigmoid(-a),
        by_fake=_sigmoid,
        generator=lambda a: -_sigmoid(-a),
        vanishes_rejected=False,
        vanishes_fooled=True,
        at_equilibrium=(2 * math.log(2), math.log(2)),
    ),
    "least-squares": ClosedForm(
        by_real=lambda a: -(_sigmoid(-a) ** 2) * _sigmoid(a),
        by_fake=lambda a: _sigmoid(a) ** 2 * _sigmoid(-a),
        generator=lambda a: -(_sigmoid(-a) ** 2) * _sigmoid(a),
        vanishes_rejected=True,
        vanishes_fooled=True,
        at_equilibrium=(0.25, 0.125),
    ),
    "least-squares-logit": ClosedForm(
        by_real=lambda a: a - 1,
        by_fake=lambda a: a,
        generator=lambda a: a - 1,
        vanishes_rejected=False,
        vanishes_fooled=False,
        at_equilibrium=(0.25, 0.125),
    ),
    "hinge": ClosedForm(
        by_real=lambda a: -(a < 1).to(a.dtype),
        by_fake=lambda a: (a > -1).to(a.dtype),
        generator=lambda a: -torch.ones_like(a),
        vanishes_rejected=False,
        vanishes_fooled=False,
        at_equilibrium=(2.0, 0.0),
    ),
    "wasserstein": ClosedForm(
        by_real=lambda a: -torch.ones_like(a),
        by_fake=torch.ones_like,
        generator=lambda a: -torch.ones_like(a),
        vanishes_rejected=False,
        vanishes_fooled=False,
        at_equilibrium=(0.0, 0.0),
    ),
    "relativistic": ClosedForm(  # the other logit of the pair is 0
        by_real=lambda a: -_sigmoid(-a),
        by_fake=_sigmoid,
        generator=lambda a: -_sigmoid(-a),
        vanishes_rejected=False,
        vanishes_fooled=True,
        at_equilibrium=(math.log(2), math.log(2)),
    ),
}
every_loss = pytest.mark.parametrize("name", LOSSES)
every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=str)


def _logits(dtype: torch.dtype = torch.float64) -> Tensor:
    """-50 to 50 in steps of 1/4, which both dtypes hold exactly; 0 is among them."""
    return torch.arange(-200, 201, dtype=dtype) / 4


def _pairs(dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Every pair of a real and a fake logit, each (B,)."""
    ticks = torch.arange(-50, 51, 5, dtype=dtype)
    real, fake = torch.cartesian_prod(ticks, ticks).T
    return real, fake


def _derivative(value: Callable[[Tensor], Tensor], logits: Tensor) -> Tensor:
    leaf = logits.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(value(leaf).sum(), leaf)
    return gradient


def _player_derivatives(loss: AdversarialLoss, logits: Tensor) -> dict[str, Tensor]:
    other = torch.zeros_like(logits)
    return {
        "by_real": _derivative(lambda a: loss.discriminator(a, other), logits),
        "by_fake": _derivative(lambda a: loss.discriminator(other, a), logits),
        "generator": _derivative(lambda a: loss.generator(other, a), logits),
    }


def test_every_loss_has_its_closed_form_here() -> None:
    assert CLOSED_FORMS.keys() == LOSSES.keys()


@every_loss
@every_dtype
def test_losses_have_one_finite_value_per_sample(name: str, dtype: torch.dtype) -> None:
    loss = LOSSES[name]()
    real, fake = _pairs(dtype)
    for player in (loss.discriminator, loss.generator):
        values = player(real, fake)
        assert values.shape == real.shape
        assert values.dtype == dtype
        assert torch.isfinite(values).all()


@every_loss
@every_dtype
def test_gradients_are_finite_for_all_logits(name: str, dtype: torch.dtype) -> None:
    loss = LOSSES[name]()
    leaves = [logits.clone().requires_grad_() for logits in _pairs(dtype)]
    total = loss.discriminator(*leaves).sum() + loss.generator(*leaves).sum()
    assert all(torch.isfinite(g).all() for g in torch.autograd.grad(total, leaves))


@every_loss
@every_dtype
@pytest.mark.parametrize("player", ["by_real", "by_fake", "generator"])
def test_derivatives_equal_their_closed_form_to_relative_accuracy(player: str, name: str, dtype: torch.dtype) -> None:
    expected = getattr(CLOSED_FORMS[name], player)(_logits())
    got = _player_derivatives(LOSSES[name](), _logits(dtype))[player]
    # Below the smallest normal number of a dtype there are fewer digits to compare.
    torch.testing.assert_close(got.double(), expected, rtol=RELATIVE[dtype], atol=torch.finfo(dtype).tiny)


@every_loss
def test_samples_never_influence_each_other(name: str) -> None:
    loss = LOSSES[name]()
    real, fake = _pairs(torch.float64)
    for player in (loss.discriminator, loss.generator):
        one_by_one = [player(real[i : i + 1], fake[i : i + 1]) for i in range(len(real))]
        torch.testing.assert_close(player(real, fake), torch.cat(one_by_one), rtol=1e-12, atol=0)


@every_loss
@pytest.mark.parametrize(("side", "logits"), [("rejected", (-50.0, -40.0, -30.0)), ("fooled", (30.0, 40.0, 50.0))])
def test_the_generator_gradient_vanishes_where_it_is_said_to(side: str, logits: Iterable[float], name: str) -> None:
    a = torch.tensor(logits, dtype=torch.float64)
    sizes = _player_derivatives(LOSSES[name](), a)["generator"].abs()
    assert (sizes > 0).all()
    if getattr(CLOSED_FORMS[name], f"vanishes_{side}"):
        assert sizes.max() < 1e-12
    else:
        assert sizes.min() > 0.99


@every_dtype
def test_non_saturating_over_saturating_gradient_is_exp_of_minus_the_logit(
    dtype: torch.dtype,
) -> None:
    a = _logits(dtype)
    saturating, other = (
        _player_derivatives(LOSSES[name](), a)["generator"].double() for name in ("saturating", "non-saturating")
    )
    torch.testing.assert_close(other / saturating, torch.exp(-a.double()), rtol=RELATIVE[dtype], atol=0)
    torch.testing.assert_close(-saturating - other, torch.ones_like(other), rtol=0, atol=1e-6)


def test_the_gradient_of_least_squares_is_largest_at_a_third() -> None:
    a = torch.linspace(-5, 5, 20_001, dtype=torch.float64)
    sizes = _player_derivatives(LOSSES["least-squares"](), a)["generator"].abs()
    assert float(sizes.max()) == pytest.approx(4 / 27, rel=1e-6)
    assert float(torch.sigmoid(a[sizes.argmax()])) == pytest.approx(1 / 3, abs=1e-3)


@every_loss
def test_equilibrium_values_are_the_known_ones(name: str) -> None:
    assert LOSSES[name]().at_equilibrium() == pytest.approx(CLOSED_FORMS[name].at_equilibrium)


@every_loss
def test_the_best_discriminator_returns_the_equilibrium_logit_when_fakes_equal_data(
    name: str,
) -> None:
    loss = LOSSES[name]()
    value = loss.discriminator(_logits(), _logits())
    best = _logits()[value <= value.min() + 1e-12]
    assert loss.equilibrium_logit in best.tolist()


def test_the_two_cross_entropy_games_differ_in_the_generator_alone() -> None:
    real, fake = _pairs(torch.float64)
    saturating, other = LOSSES["saturating"](), LOSSES["non-saturating"]()
    torch.testing.assert_close(saturating.discriminator(real, fake), other.discriminator(real, fake), rtol=0, atol=0)
    torch.testing.assert_close(  # the minimax game is zero-sum in its fake term
        saturating.generator(real, fake),
        -saturating.discriminator(torch.full_like(real, 1e3), fake),
        rtol=1e-12,
        atol=0,
    )


@every_loss
def test_better_logits_never_cost_the_discriminator_more(name: str) -> None:
    """A real image said to be more real, or a fake said to be more fake, up to the labels of least squares."""
    loss = LOSSES[name]()
    a = _logits()[_logits().abs() <= 1]
    zero = torch.zeros_like(a)
    assert (loss.discriminator(a, zero).diff() <= 0).all()
    rising = a >= 0  # least squares on logits has its label for fakes at 0
    assert (loss.discriminator(zero, a)[rising].diff() >= 0).all()
    assert (loss.generator(zero, a).diff() <= 0).all()
