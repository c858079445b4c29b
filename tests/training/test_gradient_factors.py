"""The three factors of the generator's gradient."""

import pytest
import torch
from torch import Tensor

from genprior.data import load_data
from genprior.models import dcgan
from genprior.models.players import Players
from genprior.seeding import initialised
from genprior.training.adversarial import GAN, AdversarialSettings
from genprior.training.loop import Budget, train
from genprior.training.losses import LOSSES, effective_share, loss_factors, saturation
from genprior.training.processes import Placement

LOGITS = torch.tensor([-50.0, -10.0, -1.0, 0.0, 0.5, 3.0, 50.0], dtype=torch.float64)
every_loss = pytest.mark.parametrize("name", LOSSES)


def _closed_form(name: str, a: Tensor) -> Tensor:
    s = torch.sigmoid(a)
    forms = {
        "saturating": -s,
        "non-saturating": -torch.sigmoid(-a),
        "least-squares": -torch.sigmoid(-a) * s * torch.sigmoid(-a),
        "least-squares-logit": a - 1,
        "hinge": -torch.ones_like(a),
        "wasserstein": -torch.ones_like(a),
        "relativistic": torch.full_like(a, -0.5),  # each fake beside a real image of its own logit
    }
    return forms[name]


@every_loss
def test_factors_are_the_closed_forms(name: str) -> None:
    torch.testing.assert_close(loss_factors(LOSSES[name](), LOGITS, LOGITS), _closed_form(name, LOGITS))


def test_the_ratio_of_two_factors_is_e_to_the_minus_a() -> None:
    saturating, other = (loss_factors(LOSSES[name](), LOGITS, LOGITS) for name in ("saturating", "non-saturating"))
    torch.testing.assert_close(other / saturating, torch.exp(-LOGITS))
    torch.testing.assert_close(other.abs() + saturating.abs(), torch.ones_like(LOGITS))


def test_factors_far_below_float32_are_not_lost() -> None:
    far = torch.tensor([-200.0])
    assert float(loss_factors(LOSSES["saturating"](), far, far)) == pytest.approx(-torch.exp(far.double()).item())


@pytest.mark.parametrize(
    ("weights", "share"), [([1.0] * 4, 1.0), ([-2.0, 0, 0, 0], 0.25), ([1.0, 3.0], 0.8), ([0.0, 0.0], 0.0)]
)
def test_effective_share_of_known_weights(weights: list[float], share: float) -> None:
    assert float(effective_share(torch.tensor(weights, dtype=torch.float64))) == pytest.approx(share)


@every_loss
@pytest.mark.parametrize("norm", ["batch", "spectral"])
def test_the_three_factors_multiply_to_the_gradient_norm(name: str, norm: str) -> None:
    data = load_data("digits[:64]", size=8)
    players = initialised(
        lambda: Players(dcgan.DCGANGenerator((1, 8, 8), 4, 8), dcgan.dcgan_discriminator((1, 8, 8), 4, norm)), seed=0
    )
    gan = GAN(
        players,
        LOSSES[name](),
        AdversarialSettings(16),
        Placement(torch.float64),
        compared={"same": LOSSES[name]()},
    )
    for step in train(gan, data, Budget(images=200)):
        r = step.record
        product = r["loss_factor"] * r["discriminator_slope"] * r["generator_jacobian"]
        torch.testing.assert_close(product, r["generator_gradient_norm"])
        torch.testing.assert_close(r["loss_factor"], r["loss_factor_same"])
        assert 0 < float(r["effective_share"]) <= 1 + 1e-12


def test_slope_and_jacobian_of_a_linear_game() -> None:
    """a = v . x and x = theta, one number theta a pixel: |da/dx| = |v|, and each weight moves its pixel as it is."""
    v, count = torch.tensor([3.0, 4.0], dtype=torch.float64), 5
    logits = torch.linspace(-1, 1, count, dtype=torch.float64)
    w = loss_factors(LOSSES["non-saturating"](), logits, logits)
    image_gradient = (w[:, None] * v).norm()
    gradient_norm = (w.mean() * v).norm()
    found = saturation(LOSSES["non-saturating"](), {}, logits, logits, image_gradient, gradient_norm)
    assert float(found["discriminator_slope"]) == pytest.approx(5.0)
    assert float(found["generator_jacobian"]) == pytest.approx(float(effective_share(w)) ** 0.5)
