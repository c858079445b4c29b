"""Images beyond a prior's range: as far from it as the noise tells, and no further."""

import pytest
import torch
from torch import Tensor

from genprior.priors.contracts import LatentPrior
from genprior.restoration import beyond as beyond_module
from genprior.restoration.beyond import LEAST_NOISE, BeyondPrior
from genprior.restoration.minimise import Searches, minimise
from genprior.restoration.problem import Problem
from genprior.restoration.restore import invert, restore
from genprior.restoration.search_settings import SearchSettings

SHAPE, LATENTS = (2, 6, 6), 5


class _Linear(LatentPrior):
    """x = W z + 1/2."""

    latent_size, image_shape = LATENTS, SHAPE

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(5)
        self.weights = 0.08 * torch.randn(72, LATENTS, generator=generator, dtype=torch.float64)

    def start(self, count: int, generator: torch.Generator) -> Tensor:
        return torch.randn(count, LATENTS, generator=generator, dtype=torch.float64)

    def decode(self, z: Tensor) -> Tensor:
        return (0.5 + (self.weights * z[:, None, :]).sum(2)).view(-1, *SHAPE)

    def energy(self, z: Tensor) -> Tensor:
        return 0.5 * z.square().sum(1)

    def sample(self, count: int, seed: int = 0) -> Tensor:
        return self.decode(self.start(count, torch.Generator().manual_seed(seed)))


INSIDE = SearchSettings(starts=2)
BEYOND = SearchSettings(starts=2, beyond=True)


def _targets(count: int = 4) -> tuple[Tensor, Tensor]:
    """Images of the prior, and the same with a bright scratch that it cannot draw."""
    x = _Linear().sample(count).clamp(0, 1)
    scratched = x.clone()
    scratched[:, :, 2, 1:5] = 1.0
    return x, scratched


def _rms(x: Tensor) -> Tensor:
    return x.square().mean((1, 2, 3)).sqrt()


@pytest.mark.parametrize("level", [0.0, 0.03])
def test_what_the_prior_cannot_draw_is_fitted_better_beyond_its_range(level: float) -> None:
    prior, (_, target) = _Linear(), _targets()
    y = target + level * torch.randn(target.shape, dtype=torch.float64)
    inside = invert(prior, y, INSIDE, noise_level=level)
    beyond = invert(prior, y, BEYOND, noise_level=level)
    assert (beyond.error < 0.6 * inside.error).all()
    assert (_rms(beyond.images - target) < 0.6 * _rms(inside.images - target)).all()
    assert (beyond.error > 0.5 * max(level, LEAST_NOISE)).all()  # but noise is not fitted


def test_the_deviation_is_where_the_prior_fails() -> None:
    prior, (x, target) = _Linear(), _targets()
    found = invert(prior, target, BEYOND, noise_level=0.01)
    deviation = (found.images - prior.decode(found.latents)).abs().amax(1)
    scratch = torch.zeros(6, 6, dtype=torch.bool)
    scratch[2, 1:5] = True
    assert deviation[:, scratch].mean() > 5 * deviation[:, ~scratch].mean()
    assert (_rms(found.images - target) < 0.5 * _rms(x - target)).all()


@pytest.mark.parametrize("level", [0.05, 0.1])
def test_in_the_range_there_is_nothing_to_deviate_for(level: float) -> None:
    prior, (x, _) = _Linear(), _targets()
    y = x + level * torch.randn(x.shape, dtype=torch.float64)
    inside, beyond = (invert(prior, y, settings, noise_level=level) for settings in (INSIDE, BEYOND))
    assert (_rms(beyond.images - inside.images.clamp(0, 1)) < 0.5 * level).all()
    assert (_rms(beyond.images - x) < level).all()


def test_images_stay_in_the_range_of_values() -> None:
    prior, (_, target) = _Linear(), _targets()
    y = 3 * target - 1
    found = invert(prior, y, BEYOND, noise_level=0.01)
    assert found.images.min() >= 0
    assert found.images.max() <= 1


def test_holes_are_filled_by_the_prior_alone() -> None:
    from deepinv.physics import Inpainting

    prior, (x, _) = _Linear(), _targets()
    mask = torch.ones(1, 1, 6, 6, dtype=torch.float64)
    mask[..., 3:] = 0
    found = restore(prior, x * mask, Inpainting(img_size=SHAPE, mask=mask), BEYOND, noise_level=0.02)
    assert (_rms((found.images - x) * (1 - mask)) < 0.05).all()


def test_candidates_are_widened_each() -> None:
    prior, (_, target) = _Linear(), _targets(3)
    settings = SearchSettings(candidates=2, beyond=True)
    found = invert(prior, target, settings, noise_level=0.01)
    assert found.candidates.shape == (3, 2, *SHAPE)
    assert torch.equal(found.candidates[:, 0], found.images)
    one = invert(prior, target, BEYOND, noise_level=0.01)
    torch.testing.assert_close(found.images, one.images, rtol=0, atol=0.02)


def test_each_search_begins_where_the_search_within_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    begun = []

    def watched(problem: Problem, z: Tensor, *rest: object) -> Searches:
        begun.append(z)
        return minimise(problem, z, *rest)

    monkeypatch.setattr(beyond_module, "minimise", watched)
    prior, (_, target) = _Linear(), _targets()
    found = invert(prior, target, BEYOND, noise_level=0.05)
    assert torch.equal(torch.cat(begun), BeyondPrior(prior).widened(found.latents))


def test_images_do_not_depend_on_how_many_are_widened_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    prior, (_, target) = _Linear(), _targets()
    settings = SearchSettings(starts=4, candidates=2, iterations=30, beyond=True)
    expected = invert(prior, target, settings, noise_level=0.05)
    monkeypatch.setattr(beyond_module, "MEGABYTES", 0)
    found = invert(prior, target, settings, noise_level=0.05)
    torch.testing.assert_close(found.candidates, expected.candidates, rtol=0, atol=1e-9)


# The widened prior.


def test_without_deviation_it_is_the_prior() -> None:
    prior = _Linear()
    wide, z = BeyondPrior(prior), torch.randn(3, LATENTS, dtype=torch.float64)
    assert wide.latent_size == LATENTS + 72
    assert torch.equal(wide.decode(wide.widened(z)), prior.decode(z))
    assert torch.equal(wide.energy(wide.widened(z)), prior.energy(z))
    assert torch.equal(wide.sample(2, 1), prior.sample(2, 1))
    starts = [each.start(2, torch.Generator().manual_seed(0)) for each in (wide, prior)]
    assert torch.equal(starts[0], wide.widened(starts[1]))


def test_deviations_are_added_and_cost_their_size() -> None:
    prior, scale = _Linear(), 0.04
    wide = BeyondPrior(prior, scale)
    z, v = torch.randn(3, LATENTS, dtype=torch.float64), torch.randn(3, *SHAPE, dtype=torch.float64)
    both = torch.cat([z, v.flatten(1) / scale], 1)
    torch.testing.assert_close(wide.decode(both), prior.decode(z) + v)
    laplace = v.abs().sum((1, 2, 3)) / scale
    torch.testing.assert_close(wide.energy(both) - prior.energy(z), laplace, rtol=0.02, atol=0)


def test_the_cost_has_a_slope_everywhere() -> None:
    wide = BeyondPrior(_Linear())
    z = wide.widened(torch.randn(1, LATENTS, dtype=torch.float64)).requires_grad_()
    (slope,) = torch.autograd.grad(wide.energy(z).sum(), z)
    assert torch.isfinite(slope).all()
