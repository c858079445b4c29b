"""Images beyond a prior's range: as far from it as the noise tells, and no further."""

import pytest
import torch
from torch import Tensor

from genprior.errors import GenpriorError
from genprior.priors.contracts import LatentPrior
from genprior.restoration import beyond as beyond_module
from genprior.restoration.beyond import LEAST_NOISE, PRIOR_SHARE, PriorImage, needs_more, own_edges, total_variation
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
def test_what_the_prior_explains_as_well_as_noise_allows_stays_as_it_is(level: float) -> None:
    prior, (x, _) = _Linear(), _targets()
    y = x + level * torch.randn(x.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    inside, beyond = (invert(prior, y, settings, noise_level=level) for settings in (INSIDE, BEYOND))
    assert torch.equal(beyond.images, inside.images)


def test_only_images_that_need_it_leave_the_range() -> None:
    prior, (x, target) = _Linear(), _targets(2)
    y = torch.stack([x[0], target[1]])
    y += 0.05 * torch.randn(y.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    inside, beyond = (invert(prior, y, settings, noise_level=0.05) for settings in (INSIDE, BEYOND))
    assert torch.equal(beyond.images[0], inside.images[0])
    assert not torch.equal(beyond.images[1], inside.images[1])


def test_noise_alone_needs_nothing() -> None:
    level, counts = torch.full((2,), 0.1), torch.full((2,), 200.0)
    error = level * torch.tensor([1.19, 1.21]).sqrt()  # two standard deviations of the mean square are 0.2
    assert needs_more(error, level, counts).tolist() == [False, True]


def test_images_stay_in_the_range_of_values() -> None:
    prior, (_, target) = _Linear(), _targets()
    y = 3 * target - 1
    found = invert(prior, y, BEYOND, noise_level=0.01)
    assert found.images.min() >= 0
    assert found.images.max() <= 1


class _Flat(LatentPrior):
    """Grey images of one level each."""

    latent_size, image_shape = 1, (1, 8, 8)

    def start(self, count: int, generator: torch.Generator) -> Tensor:
        return torch.randn(count, 1, generator=generator, dtype=torch.float64)

    def decode(self, z: Tensor) -> Tensor:
        return (0.5 + 0.1 * z).view(-1, 1, 1, 1).expand(-1, 1, 8, 8)

    def energy(self, z: Tensor) -> Tensor:
        return 0.5 * z.square().sum(1)

    def sample(self, count: int, seed: int = 0) -> Tensor:
        return self.decode(self.start(count, torch.Generator().manual_seed(seed)))


def test_a_hole_goes_on_with_what_is_around() -> None:
    from deepinv.physics import Inpainting

    x = torch.full((1, 1, 8, 8), 0.2, dtype=torch.float64)
    x[..., 4:] = 0.8  # an edge that no image of the prior has, through the hole
    mask = torch.ones(1, 1, 8, 8, dtype=torch.float64)
    mask[..., 3:5, 3:5] = 0
    physics = Inpainting(img_size=(1, 8, 8), mask=mask)
    inside, beyond = (restore(_Flat(), x * mask, physics, settings, noise_level=0.02) for settings in (INSIDE, BEYOND))
    assert ((inside.images - x).abs() > 0.2)[..., 3:5, 3:5].all()
    assert ((beyond.images - x).abs() < 0.05).all()


def test_flat_pieces_have_few_edges_of_their_own() -> None:
    g = torch.full((4, 1, 8, 8), 0.5, dtype=torch.float64)
    g[3] = torch.rand(1, 8, 8, dtype=torch.float64)
    x = g.clone()
    x[1, ..., 4:] = 0.8  # an edge of eight pixels
    x[2] = torch.rand(1, 8, 8, dtype=torch.float64)
    x[3] += 0.1  # goes as the prior has it
    found = own_edges(g, x).tolist()
    assert (found[0], found[1], found[3]) == (0, 8, 0)
    assert found[2] >= 60


def test_the_weight_of_the_latents_energy_is_not_that_of_edges() -> None:
    prior, (_, target) = _Linear(), _targets()
    settings = [SearchSettings(starts=2, energy_weight=weight, beyond=True) for weight in (0.0, 1e-9)]
    found = [invert(prior, target, each, noise_level=0.05).images for each in settings]
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=0.01)


def test_what_noise_made_the_deviation_leave_is_no_over_fitting() -> None:
    x = torch.full((4, 1, 8, 8), 0.2, dtype=torch.float64)
    x[..., 4:] = 0.8
    y = x + 0.05 * torch.randn(x.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = invert(_Flat(), y, BEYOND, noise_level=0.05)
    assert set(found.verdicts) == {"good fit"}


def test_points_are_refused() -> None:
    class Points(_Linear):
        image_shape = (1, 1, 72)

        def decode(self, z: Tensor) -> Tensor:
            return super().decode(z).view(-1, 1, 1, 72)

    y = torch.full((1, 1, 1, 72), 3.0, dtype=torch.float64)
    with pytest.raises(GenpriorError, match="beyond: goes with images, this prior makes points"):
        invert(Points(), y, BEYOND, noise_level=0.05)


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
    assert torch.equal(torch.cat(begun), PriorImage(SHAPE).widened(prior.decode(found.latents)))


def test_images_do_not_depend_on_how_many_are_widened_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    prior, (_, target) = _Linear(), _targets()
    settings = SearchSettings(starts=4, candidates=2, iterations=30, beyond=True)
    expected = invert(prior, target, settings, noise_level=0.05)
    monkeypatch.setattr(beyond_module, "MEGABYTES", 0)
    found = invert(prior, target, settings, noise_level=0.05)
    torch.testing.assert_close(found.candidates, expected.candidates, rtol=0, atol=1e-9)


# Images beside one of the prior.


def test_without_deviation_it_is_the_image() -> None:
    near, x = PriorImage(SHAPE), torch.rand(3, *SHAPE, dtype=torch.float64)
    assert near.latent_size == 2 * 72
    assert torch.equal(near.decode(near.widened(x)), x)
    torch.testing.assert_close(near.energy(near.widened(x)), (1 - PRIOR_SHARE) * total_variation(x))


def test_edges_cost_least_where_the_image_has_them() -> None:
    near, g = PriorImage((1, 8, 8)), torch.zeros(1, 1, 8, 8, dtype=torch.float64)
    g[..., 4:] = 1.0
    moved, flat = g.roll(1, -1), torch.zeros_like(g)
    moved[..., :1] = 0
    costs = [float(near.energy(torch.cat([g.flatten(1), (x - g).flatten(1)], 1))) for x in (g, flat, moved)]
    heights = [(1 - PRIOR_SHARE) * 8, PRIOR_SHARE * 8, (1 - PRIOR_SHARE) * 8 + PRIOR_SHARE * 16]
    assert costs == pytest.approx(heights, rel=0.02)


def test_total_variation_is_the_height_of_edges_times_their_length() -> None:
    x = torch.zeros(2, 3, 6, 9, dtype=torch.float64)
    x[0, 1, :, 4:] = 0.5
    x[1, :, 2:] = 0.25
    expected = torch.tensor([0.5 * 6, 3 * 0.25 * 9], dtype=torch.float64)
    torch.testing.assert_close(total_variation(x), expected, rtol=0.02, atol=0)


def test_the_image_of_the_prior_has_no_slope_and_the_deviation_has_one_everywhere() -> None:
    near = PriorImage(SHAPE)
    z = near.widened(torch.full((1, *SHAPE), 0.5, dtype=torch.float64)).requires_grad_()
    (slope,) = torch.autograd.grad(near.energy(z).sum(), z)
    assert torch.isfinite(slope).all()
    assert not slope[:, :72].any()


def test_it_knows_no_other_images() -> None:
    near = PriorImage(SHAPE)
    assert not near.sample(2).any()
    assert not near.decode(near.start(2, torch.Generator())).any()
