"""The importance-weighted bound, on a linear Gaussian model, whose log p(x) is known."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from genprior.errors import GenpriorError
from genprior.evaluation.image_quality import importance_weighted_bound

SIGMA = 0.5
Encode = Callable[[Tensor], tuple[Tensor, Tensor]]


def _matrix() -> Tensor:
    """W (6, 3) with orthogonal columns, so that the exact posterior has a diagonal covariance."""
    generator = torch.Generator().manual_seed(0)
    q, _ = torch.linalg.qr(torch.randn(6, 3, dtype=torch.float64, generator=generator))
    return q * torch.tensor([0.3, 1.0, 2.0])


def _images(count: int = 5) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    z = torch.randn(count, 3, dtype=torch.float64, generator=generator)
    return z @ _matrix().T + SIGMA * torch.randn(count, 6, dtype=torch.float64, generator=generator)


def _log_likelihood(z: Tensor, x: Tensor) -> Tensor:
    """x = W z + sigma noise."""
    return torch.distributions.Normal(z @ _matrix().T, SIGMA).log_prob(x).sum(1)


def _exact(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and log variance of p(z | x): Bishop 2006, equation 12.42."""
    precision = _matrix().square().sum(0) / SIGMA**2 + 1
    return x @ _matrix() / SIGMA**2 / precision, -precision.log().expand(len(x), 3)


def _shifted(x: Tensor) -> tuple[Tensor, Tensor]:
    mean, log_variance = _exact(x)
    return mean + 0.3, log_variance + 0.5


def _log_density(x: Tensor) -> Tensor:
    covariance = _matrix() @ _matrix().T + SIGMA**2 * torch.eye(6, dtype=torch.float64)
    return torch.distributions.MultivariateNormal(torch.zeros(6, dtype=torch.float64), covariance).log_prob(x)


def _bound(encode: Encode, x: Tensor, samples: int, seed: int = 0) -> Tensor:
    return importance_weighted_bound(encode, _log_likelihood, x, samples, torch.Generator().manual_seed(seed))


def _mean_bound(encode: Encode, samples: int, repeats: int = 2000) -> tuple[float, float]:
    """Of one image, over many draws, with its standard error."""
    values = _bound(encode, _images(1).expand(repeats, 6), samples)
    return float(values.mean()), float(values.std()) / repeats**0.5


def _evidence_lower_bound(x: Tensor) -> Tensor:
    """Of the shifted encoder: log p(x) - KL(q | p(z | x)), between Gaussians in closed form."""
    return _log_density(x) - 0.5 * (3 * (math.exp(0.5) - 1 - 0.5) + (0.3**2 * torch.exp(-_exact(x)[1])).sum(1))


@pytest.mark.parametrize("samples", [1, 2, 50])
def test_with_the_exact_posterior_the_bound_is_the_log_density(samples: int) -> None:
    x = _images()
    torch.testing.assert_close(_bound(_exact, x, samples), _log_density(x))


def test_one_sample_gives_the_evidence_lower_bound_on_average() -> None:
    mean, error = _mean_bound(_shifted, 1)
    assert mean == pytest.approx(float(_evidence_lower_bound(_images(1))), abs=4 * error)


def test_the_bound_rises_with_samples_towards_the_log_density() -> None:
    found = [_mean_bound(_shifted, samples) for samples in (1, 4, 16, 256)]
    means = [mean for mean, _ in found]
    errors = [error for _, error in found]
    for i in range(3):
        assert means[i + 1] - means[i] > 3 * math.hypot(errors[i], errors[i + 1])
    exact = float(_log_density(_images(1)))
    assert means[-1] < exact + 4 * errors[-1]
    assert exact - means[-1] < 0.02 * (exact - means[0])
    assert min(means[1:]) > float(_evidence_lower_bound(_images(1)))


def test_each_image_has_its_own_value() -> None:
    x = _images()
    values = _bound(_shifted, x, 2000)
    assert values.shape == (5,)
    each = torch.cat([_bound(_shifted, x[i : i + 1], 2000, seed=i) for i in range(5)])
    torch.testing.assert_close(values, each, rtol=0, atol=0.3)


def test_far_images_stay_finite() -> None:
    x = 1e3 * _images()
    torch.testing.assert_close(_bound(_exact, x, 10), _log_density(x))


def test_randomness_comes_from_the_generator_alone() -> None:
    x, before = _images(), torch.get_rng_state()
    first, again, other = (_bound(_shifted, x, 3, seed) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_no_samples_are_refused() -> None:
    with pytest.raises(GenpriorError, match=r"^samples: expected at least 1, got 0$"):
        _bound(_exact, _images(), 0)
