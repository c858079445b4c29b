"""Laws of every data term: zero at a perfect prediction, gradients, scales that agree with the noise."""

import math

import pytest
import torch
from scipy.stats import norm
from torch import Tensor

from genprior.errors import GenpriorError
from genprior.restoration.fidelity import (
    FIDELITIES,
    L1,
    L2,
    Clipped,
    Fidelity,
    Huber,
    Poisson,
    level_after_clipping,
    level_around,
    noise_scale,
    unclipped,
)
from small import data_term

# Terms with options of their own besides the defaults of every entry.
TERMS: dict[str, Fidelity] = {name: data_term(name) for name in FIDELITIES} | {
    "l1:smooth=0.2": L1(0.2),
    "huber:delta=2": Huber(2.0),
    "poisson:gain=0.05": Poisson(0.05),
}
every_term = pytest.mark.parametrize("term", TERMS.values(), ids=TERMS)
RESIDUALS = ["l1", "l2", "huber", "l1:smooth=0.2", "huber:delta=2"]
every_residual_term = pytest.mark.parametrize("term", [TERMS[name] for name in RESIDUALS], ids=RESIDUALS)


def _values(seed: int, count: int = 400) -> Tensor:
    """Means and measurements as images have them, zero among them."""
    values = torch.rand(1, count, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    values[0, :5] = torch.tensor([0.0, 1e-6, 1e-3, 1.0, 3.0])
    return values


def scale_of(term: Fidelity, sigma: float) -> float:
    return float(noise_scale(term, torch.tensor([sigma], dtype=torch.float64)))


def _derivative(term: Fidelity, prediction: Tensor, y: Tensor) -> Tensor:
    leaf = prediction.clone().requires_grad_()
    (slope,) = torch.autograd.grad(term(leaf, y).sum(), leaf)
    return slope


@every_term
def test_a_perfect_prediction_costs_nothing(term: Fidelity) -> None:
    y = _values(0)
    torch.testing.assert_close(term(y, y), torch.zeros_like(y), rtol=0, atol=1e-12)


@every_term
def test_nothing_costs_less_than_nothing(term: Fidelity) -> None:
    prediction, y = torch.meshgrid(_values(0, 60)[0], _values(1, 60)[0], indexing="ij")
    assert float(term(prediction, y).min()) > -1e-12


@every_term
def test_a_term_is_smallest_at_the_measurement(term: Fidelity) -> None:
    y = _values(0)[:, 5:]
    torch.testing.assert_close(_derivative(term, y, y), torch.zeros_like(y), rtol=0, atol=1e-9)
    for factor in (0.5, 0.9, 1.1, 2.0):
        assert (term(factor * y, y)[y > 0.1] > term(y, y)[y > 0.1]).all()


@every_term
def test_gradients_are_those_of_differences(term: Fidelity) -> None:
    prediction, y = 0.05 + _values(2), _values(3)
    torch.autograd.gradcheck(lambda p: term(p, y), prediction.requires_grad_(), eps=1e-7, atol=1e-5)


def test_poisson_is_the_log_probability_of_the_counts() -> None:
    gain, counts = 0.25, torch.arange(0.0, 40.0, dtype=torch.float64)[None]
    term = Poisson(gain, floor=1e-9)

    def by_torch(mean: float) -> Tensor:
        return -torch.distributions.Poisson(torch.tensor(mean / gain, dtype=torch.float64)).log_prob(counts)

    ours = term(torch.full_like(counts, 3.0), gain * counts) - term(torch.full_like(counts, 1.5), gain * counts)
    torch.testing.assert_close(ours, by_torch(3.0) - by_torch(1.5), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("sigma", [0.01, 0.1, 0.5, 2.0])
def test_l2_over_its_scale_is_the_log_density_of_gaussian_noise(sigma: float) -> None:
    r = torch.linspace(-3, 3, 61, dtype=torch.float64)[None]
    density = torch.distributions.Normal(torch.zeros_like(r), sigma).log_prob(r)
    nats = L2()(r, torch.zeros_like(r)) / scale_of(L2(), sigma)
    torch.testing.assert_close(nats, density.amax() - density, rtol=1e-9, atol=1e-9)


def test_l1_over_its_scale_is_the_log_density_of_laplace_noise() -> None:
    scale, term = 0.3, L1(smooth=1e-9)
    r = torch.linspace(-3, 3, 61, dtype=torch.float64)[None]
    density = torch.distributions.Laplace(torch.zeros_like(r), scale).log_prob(r)
    nats = term(r, torch.zeros_like(r)) / scale
    torch.testing.assert_close(nats, density.amax() - density, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("term", "kind"), [(L2(), "Normal"), (L1(1e-9), "Laplace")])
def test_the_scale_that_a_residual_shows_is_the_most_likely_one(term: Fidelity, kind: str) -> None:
    noise = 0.4 * torch.randn(1, 2000, dtype=torch.float64)
    shown = float(term.scale(term(noise, torch.zeros_like(noise)).mean()))
    likely = {}
    for scale in (0.9 * shown, shown, 1.1 * shown):
        spread = scale**0.5 if kind == "Normal" else scale
        likely[scale] = float(getattr(torch.distributions, kind)(0.0, spread).log_prob(noise).sum())
    assert max(likely, key=likely.__getitem__) == shown


@pytest.mark.parametrize("name", ["l2", "l1", "huber", "huber:delta=2", "l1:smooth=0.2"])
@pytest.mark.parametrize("sigma", [0.001, 0.01, 0.03, 0.1, 0.5])
def test_noise_shows_the_scale_that_it_has(name: str, sigma: float) -> None:
    """Else known noise would be taken for over-fitted, and the weight of the energy would grow on and on."""
    term = TERMS[name]
    noise = sigma * torch.randn(1, 400_000, dtype=torch.float64)
    shown = float(term.scale(term(noise, torch.zeros_like(noise)).mean()))
    assert shown / scale_of(term, sigma) == pytest.approx(1, rel=0.02)


def test_counts_show_the_scale_that_they_have() -> None:
    gain = 0.02
    mean = 0.2 + 0.8 * torch.rand(1, 100_000, dtype=torch.float64)
    y = gain * torch.poisson(mean / gain)
    term = Poisson(gain)
    assert float(term.scale(term(mean, y).mean())) == pytest.approx(scale_of(term, 0.0), rel=0.1)


@every_term
def test_scales_grow_with_the_residual(term: Fidelity) -> None:
    means = torch.logspace(-4, 2, 30, dtype=torch.float64)
    assert (term.scale(means).diff() >= 0).all()
    assert (term.scale(means) > 0).all()


@every_term
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_terms_and_gradients_are_finite_at_extremes(term: Fidelity, dtype: torch.dtype) -> None:
    extremes = torch.tensor([-1e6, -1.0, -1e-30, 0.0, 1e-30, 1e-6, 1.0, 1e6], dtype=dtype)
    prediction, y = (values.reshape(1, -1) for values in torch.meshgrid(extremes, extremes, indexing="ij"))
    for values in (term(prediction, y), _derivative(term, prediction, y)):
        assert torch.isfinite(values).all()


@every_term
def test_measurements_never_influence_each_other(term: Fidelity) -> None:
    prediction, y = _values(6, 20), _values(7, 20)
    each = torch.cat([term(prediction[:, i : i + 1], y[:, i : i + 1]) for i in range(20)], 1)
    assert torch.equal(term(prediction, y), each)


@pytest.mark.parametrize(
    ("name", "option"),
    [("clipped", "sigma"), ("l1", "smooth"), ("huber", "delta"), ("poisson", "gain"), ("poisson", "floor")],
)
@pytest.mark.parametrize("value", [0, -1, 1e-300, 1e300, math.nan, math.inf])
def test_options_out_of_range_are_refused(name: str, option: str, value: float) -> None:
    with pytest.raises(GenpriorError, match=rf"option '{option}' of '{name}' must be from 1e-09 to 1e\+06, got"):
        data_term(name, **{option: value})


@pytest.mark.parametrize("sigma", [0.05, 0.3])
def test_clipped_noise_over_its_scale_is_the_log_probability_of_what_was_seen(sigma: float) -> None:
    """A density between the bounds, and at them the probability of all values beyond."""
    p = torch.linspace(0, 1, 41, dtype=torch.float64)[None]
    noise, term = torch.distributions.Normal(p, sigma), Clipped(sigma)
    for bound, tail in ((0.0, norm.logcdf(0, p, sigma)), (1.0, norm.logsf(1, p, sigma))):
        nats = term(p, torch.full_like(p, bound)) / scale_of(term, sigma)
        torch.testing.assert_close(nats, math.log(0.5) - torch.from_numpy(tail), rtol=1e-6, atol=1e-6)
    inside = torch.full_like(p, 0.4)
    nats, density = term(p, inside) / scale_of(term, sigma), noise.log_prob(inside)
    torch.testing.assert_close(nats.diff(), -density.diff(), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("sigma", [0.05, 0.2, 0.3, 0.7])
@pytest.mark.parametrize("truth", ["black", "white", "uniform", "shapes"])
@pytest.mark.parametrize("hole", [False, True])
def test_the_variance_that_clipping_leaves_is_known(sigma: float, truth: str, hole: bool) -> None:
    draw = torch.rand(2, 400_000, dtype=torch.float64)
    x = {"black": 0 * draw, "white": 1 + 0 * draw, "uniform": draw, "shapes": (draw > 0.7).double() * 0.9}[truth]
    seen = torch.ones_like(x)
    if hole:
        seen[:, ::2] = 0
    y = (x + sigma * torch.randn_like(x)).clamp(0, 1) * seen
    left = ((y - x).square() * seen).sum(1) / seen.sum(1)
    torch.testing.assert_close(level_around(x, y, seen, sigma).square(), left, rtol=0.02, atol=0)
    if sigma <= 0.2:  # from the measurement alone
        torch.testing.assert_close(level_after_clipping(y, seen, sigma).square(), left, rtol=0.1, atol=0)


def test_noise_that_was_not_clipped_keeps_its_level() -> None:
    y = torch.randn(2, 500)
    y[0, :3] = 0  # blank
    seen = torch.ones_like(y)
    seen[0, :3] = 0
    assert level_after_clipping(y, seen, 0.3).tolist() == pytest.approx([0.3, 0.3])
    assert level_around(torch.zeros_like(y), y, seen, 0.3).tolist() == pytest.approx([0.3, 0.3])


def test_numbers_that_were_clipped_are_drawn_from_beyond_the_bound() -> None:
    """Of a known prediction they are distributed as the noisy numbers were, and others stay as they are."""
    prediction = torch.tensor([0.0, 0.05, 0.5, 1.0]).repeat(20_000)
    noisy = prediction + 0.1 * torch.randn(prediction.shape, generator=torch.Generator().manual_seed(0))
    y = noisy.clamp(0, 1)
    found = unclipped(y, prediction, 0.1, torch.Generator().manual_seed(1))
    assert torch.equal(found[(y > 0) & (y < 1)], y[(y > 0) & (y < 1)])
    assert bool((found[y == 0] <= 0).all() & (found[y == 1] >= 1).all())
    for at in range(4):
        off = (found - prediction)[at::4] / 0.1
        torch.testing.assert_close(off.mean(), torch.tensor(0.0), atol=0.03, rtol=0)
        torch.testing.assert_close(off.std(), torch.tensor(1.0), atol=0.02, rtol=0)
    far = unclipped(torch.zeros(1), torch.full((1,), 9.0), 0.1, torch.Generator().manual_seed(2))
    assert bool(far.isfinite().all())
