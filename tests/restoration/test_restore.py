"""Inverting and restoring: closed forms, one image or many, operators of every kind, candidates, refusals, memory."""

import math
from collections.abc import Callable
from dataclasses import fields, replace
from functools import partial

import pytest
import torch
from torch import Tensor

from genprior.errors import GenpriorError
from genprior.models.dcgan import DCGANGenerator
from genprior.priors.contracts import LatentPrior
from genprior.priors.generator_prior import GeneratorPrior
from genprior.restoration import solve as solve_module
from genprior.restoration.fidelity import L1, L2, Clipped, Poisson
from genprior.restoration.restore import invert, parameters_of, restore, suggested
from genprior.restoration.result import GOOD, OVERFITTED, RANGE, STUCK, Restoration
from genprior.restoration.search_methods import Adam
from genprior.restoration.search_settings import SEARCHES, SearchSettings
from genprior.seeding import derived_generator

SHAPE, LATENTS = (1, 6, 6), 5
EXACT = SearchSettings(starts=1, iterations=300, tolerance=0.0, energy_weight=0.0, second_try=False)


class _Linear(LatentPrior):
    """x = W z + 1/2, as a user would write it; sums row by row, so that rounding does not depend on the batch."""

    latent_size, image_shape = LATENTS, SHAPE

    def __init__(self, dtype: torch.dtype = torch.float64) -> None:
        generator = torch.Generator().manual_seed(5)
        self.weights = (0.2 * torch.randn(36, LATENTS, generator=generator, dtype=torch.float64)).to(dtype)

    def start(self, count: int, generator: torch.Generator) -> Tensor:
        return torch.randn(count, LATENTS, generator=generator, dtype=torch.float64).to(self.weights.dtype)

    def decode(self, z: Tensor) -> Tensor:
        return (0.5 + (self.weights * z[:, None, :]).sum(2)).view(-1, *SHAPE)

    def energy(self, z: Tensor) -> Tensor:
        return 0.5 * z.square().sum(1)

    def sample(self, count: int, seed: int = 0) -> Tensor:
        return self.decode(self.start(count, torch.Generator().manual_seed(100 + seed)))


class _Network(_Linear):
    """A random network with two layers, in [0, 1], of functions that round alike in every batch."""

    def decode(self, z: Tensor) -> Tensor:
        hidden = _squashed((self.weights * z[:, None, :]).sum(2) * 5)
        return (0.5 + 0.5 * _squashed(hidden + hidden.roll(1, 1) * hidden.roll(6, 1))).view(-1, *SHAPE)


def _squashed(x: Tensor) -> Tensor:
    return x / (1 + x.square()).sqrt()


class _Mirrored(_Linear):
    """x = W |z|: each image has 2^k latents, all the same to the eye."""

    def decode(self, z: Tensor) -> Tensor:
        return super().decode((z.square() + 1e-6).sqrt())


class _TwoHills(_Linear):
    """An image of a bright spot left or right, whose first half of the rows does not tell which."""

    def decode(self, z: Tensor) -> Tensor:
        x = torch.full((len(z), *SHAPE), 0.5, dtype=z.dtype)
        side = torch.tanh(3 * z[:, :1])
        lower = torch.cat([(0.5 + 0.5 * side).expand(-1, 9), (0.5 - 0.5 * side).expand(-1, 9)], 1)
        return torch.cat([x.flatten(1)[:, :18] + 0.3 * side.square() - 0.3, lower], 1).view(-1, *SHAPE)


def _dcgan(dtype: torch.dtype = torch.float32) -> GeneratorPrior:
    class Exact(GeneratorPrior):
        def start(self, count: int, generator: torch.Generator) -> Tensor:
            return super().start(count, generator).to(dtype)

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        network = DCGANGenerator((1, 8, 8), latent_size=6, width=4)
        for _ in range(5):
            network(torch.randn(32, 6))
        for parameter in network.parameters():
            parameter.data *= 2
    return Exact(network.to(dtype), 6, (1, 8, 8))


def _masks(count: int, dtype: torch.dtype = torch.float64, shape: tuple[int, ...] = SHAPE) -> Tensor:
    generator = torch.Generator().manual_seed(8)
    return (torch.rand(count, 1, *shape[1:], generator=generator) < 0.7).to(dtype)


def _inpainting(mask: Tensor, **options: object):  # noqa: ANN202 - deepinv has no types
    from deepinv.physics import Inpainting

    return Inpainting(img_size=tuple(mask.shape[1:]), mask=mask, **options)


def _matrix(count: int = 20) -> Tensor:
    generator = torch.Generator().manual_seed(6)
    return torch.randn(count, 36, generator=generator, dtype=torch.float64) / math.sqrt(count)


def _projections(matrix: Tensor, **options: object):  # noqa: ANN202 - deepinv has no types
    """A user's own operator."""
    from deepinv.physics import LinearPhysics

    return LinearPhysics(
        A=lambda x, **_: (x.flatten(1)[:, None] * matrix).sum(2),
        A_adjoint=lambda y, **_: (y[:, None] * matrix.T).sum(2).view(-1, *SHAPE),
        **options,
    )


def _taken(found: Restoration, rows: slice) -> Restoration:
    return Restoration(**{field.name: getattr(found, field.name)[rows] for field in fields(Restoration)})


def _assert_same(one: Restoration, other: Restoration, tolerance: float) -> None:
    torch.testing.assert_close(one.images, other.images, rtol=0, atol=tolerance)
    torch.testing.assert_close(one.candidates, other.candidates, rtol=0, atol=tolerance)
    assert one.verdicts == other.verdicts
    assert torch.equal(one.starts, other.starts)
    assert torch.equal(one.candidate_counts, other.candidate_counts)


# Closed forms.


def test_images_in_the_range_are_recovered() -> None:
    prior = _Linear()
    x = prior.sample(6)
    found = invert(prior, x, EXACT)
    assert float((found.images - x).abs().max()) < 1e-6
    assert found.error.max() < 1e-6
    torch.testing.assert_close(prior.decode(found.latents), found.images)


def test_images_in_the_range_are_recovered_by_default() -> None:
    prior = _Linear()
    x = prior.sample(6)
    found = invert(prior, x)
    assert float((found.images - x).abs().max()) < 1e-3
    assert set(found.verdicts) == {GOOD}


@pytest.mark.parametrize("weight", [0.0, 0.01, 0.3, 10.0])
def test_a_linear_prior_gives_the_ridge_solution(weight: float) -> None:
    """z = (W^T A^T A W + lambda I)^-1 W^T A^T (y - A b) for x = W z + b."""
    prior, matrix = _Linear(), _matrix()
    y = torch.randn(4, 20, dtype=torch.float64)
    found = restore(prior, y, _projections(matrix), replace(EXACT, energy_weight=weight), fidelity=L2())
    design = matrix @ prior.weights
    offset = y - 0.5 * matrix.sum(1)
    gram = design.T @ design + weight * torch.eye(LATENTS, dtype=torch.float64)
    z = torch.linalg.solve(gram, (offset @ design).T).T
    torch.testing.assert_close(found.latents, z, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(found.images, prior.decode(z), rtol=1e-6, atol=1e-7)
    misfit = 0.5 * (offset - z @ design.T).square().sum(1)
    torch.testing.assert_close(found.misfit, misfit, rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(found.error, (2 * misfit / 20).sqrt(), rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(found.energy, 0.5 * z.square().sum(1), rtol=1e-4, atol=1e-6)
    assert found.weight.tolist() == [weight] * 4


def test_the_scale_of_known_noise_is_the_weight_of_the_posterior_mode() -> None:
    """Where more is seen than can be fitted, the automatic weight stays near the noise's variance."""
    sigma, prior, matrix = 0.2, _Linear(), _matrix(200) * math.sqrt(10)
    x = prior.sample(40)
    y = (x.flatten(1)[:, None] * matrix).sum(2) + sigma * torch.randn(40, 200, dtype=torch.float64)
    found = restore(prior, y, _projections(matrix), noise_level=sigma)
    expected = 200 * sigma**2 / 2
    assert float(found.misfit.mean()) == pytest.approx(expected, rel=0.1)
    assert (found.misfit / expected - 1).abs().max() < 0.5
    errors = [float((found.images - x).square().mean())]
    for factor in (0.1, 10.0):
        fixed = SearchSettings(energy_weight=factor * float(found.weight.median()))
        other = restore(prior, y, _projections(matrix), fixed, noise_level=sigma)
        errors.append(float((other.images - x).square().mean()))
    assert errors[0] <= 1.1 * min(errors[1:])
    assert found.verdicts.count(GOOD) >= 36


def test_the_scale_of_unknown_noise_is_found_from_the_residual() -> None:
    sigma, prior, matrix = 0.2, _Linear(), _matrix(200) * math.sqrt(10)
    x = prior.sample(10)
    y = (x.flatten(1)[:, None] * matrix).sum(2) + sigma * torch.randn(10, 200, dtype=torch.float64)
    found = restore(prior, y, _projections(matrix))
    assert float(found.weight.mean()) == pytest.approx(sigma**2, rel=0.2)


@pytest.mark.parametrize("images", [1, 3])
def test_the_study_is_a_thousand_steps_of_adam_from_one_random_latent(images: int) -> None:
    prior = _Network()
    x = prior.sample(images, seed=3)
    found = invert(prior, x, replace(SEARCHES["study"], first=2), seed=7)
    for i in range(images):
        z = prior.start(1, derived_generator(7, "start", 2 + i)).requires_grad_()
        optimiser, lowest = torch.optim.Adam([z], lr=0.01), math.inf
        for step in range(1001):
            optimiser.zero_grad()
            misfit = 0.5 * (prior.decode(z) - x[i : i + 1]).square().sum()
            if misfit.item() < lowest:
                lowest, best = misfit.item(), prior.decode(z).detach()
            misfit.backward()
            if step < 1000:
                optimiser.step()
        torch.testing.assert_close(found.images[i], best[0], rtol=0, atol=1e-6)
        assert float(found.misfit[i]) == pytest.approx(lowest, rel=1e-6, abs=1e-12)
    assert found.iterations.tolist() == [1000] * images
    assert found.starts.tolist() == [1] * images
    assert found.stopped == ("iterations",) * images


# One image or many.


SETTINGS = {
    "default": SearchSettings(),
    "one start": SearchSettings(starts=1),
    "candidates": SearchSettings(candidates=2),
    "adam": SearchSettings(method=partial(Adam, learning_rate=0.05), iterations=60),
    "beyond": SearchSettings(starts=1, iterations=30, beyond=True),
}


def _damaged(count: int, dtype: torch.dtype, far: bool = True) -> tuple[Tensor, Tensor]:
    """Measurements of images in the range and, every third one, out of it, which asks for a second try; masks."""
    x = _Network().sample(count).to(dtype)
    if far:
        x[::3] = torch.rand(x[::3].shape, generator=torch.Generator().manual_seed(3)).to(dtype)
    masks = _masks(count, dtype)
    return x * masks, masks


@pytest.mark.parametrize("name", SETTINGS)
def test_images_are_restored_the_same_in_every_batch(name: str) -> None:
    prior, settings = _Network(), SETTINGS[name]
    y, masks = _damaged(12, torch.float64)
    options = {"noise_level": 0.05, "fidelity": L2(), "seed": 4}
    whole = restore(prior, y, _inpainting(masks), settings, **options)
    assert name != "default" or len(set(whole.starts.tolist())) > 1  # some were tried twice
    for rows in (slice(0, 1), slice(3, 4), slice(11, 12), slice(2, 9)):
        part = restore(prior, y[rows], _inpainting(masks[rows]), replace(settings, first=rows.start), **options)
        _assert_same(part, _taken(whole, rows), 1e-9)


def test_sixty_four_images_are_the_same_one_by_one() -> None:
    prior, settings = _Network(), SearchSettings(starts=2, iterations=40)
    y, masks = _damaged(64, torch.float64)
    options = {"noise_level": 0.05, "fidelity": L2()}
    whole = restore(prior, y, _inpainting(masks), settings, **options)
    for i in range(0, 64, 7):
        part = restore(prior, y[i : i + 1], _inpainting(masks[i : i + 1]), replace(settings, first=i), **options)
        _assert_same(part, _taken(whole, slice(i, i + 1)), 1e-9)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-3)])
def test_images_of_a_generator_are_restored_the_same_in_every_batch(dtype: torch.dtype, tolerance: float) -> None:
    prior = _dcgan(dtype)
    settings = SearchSettings(starts=3, iterations=40, energy_weight=0.01)
    x = prior.sample(16).to(dtype) if dtype == torch.float32 else prior.decode(torch.randn(16, 6, dtype=dtype))
    masks = _masks(16, dtype, (1, 8, 8))
    whole = restore(prior, x * masks, _inpainting(masks), settings, fidelity=L2())
    for rows in (slice(0, 1), slice(9, 10), slice(3, 11)):
        own = replace(settings, first=rows.start)
        part = restore(prior, (x * masks)[rows], _inpainting(masks[rows]), own, fidelity=L2())
        _assert_same(part, _taken(whole, rows), tolerance)


@pytest.mark.parametrize("at_once", [8, 24])
def test_images_do_not_depend_on_how_many_searches_go_at_once(monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    prior, settings = _Network(), SearchSettings(starts=1)
    y, masks = _damaged(6, torch.float64)
    options = {"noise_level": 0.05, "fidelity": L2()}
    expected = restore(prior, y, _inpainting(masks), settings, **options)
    assert expected.starts.max() > 1
    monkeypatch.setattr(solve_module, "SEARCHES_AT_ONCE", at_once)
    _assert_same(restore(prior, y, _inpainting(masks), settings, **options), expected, 1e-9)


def test_seeds_and_numbers_decide_the_starts() -> None:
    prior, settings = _Network(), replace(EXACT, iterations=1)
    x = prior.sample(1).expand(3, *SHAPE)
    found = invert(prior, x, settings)
    assert not torch.equal(found.latents[0], found.latents[1])
    assert torch.equal(found.latents[1:], invert(prior, x[:2], replace(settings, first=1)).latents)
    assert not torch.equal(found.latents, invert(prior, x, settings, seed=1).latents)


def test_the_global_generator_is_left_alone() -> None:
    before = torch.get_rng_state()
    invert(_Network(), _Network().sample(1), SearchSettings(iterations=5))
    assert torch.equal(torch.get_rng_state(), before)


# Operators.


def test_unknown_pixels_have_no_influence() -> None:
    prior = _Network()
    y, masks = _damaged(3, torch.float64)
    settings = SearchSettings(iterations=30)
    expected = restore(prior, y, _inpainting(masks), settings, noise_level=0.05)
    for blank in (0.7, -20.0, 1e6):
        found = restore(prior, torch.where(masks > 0, y, blank), _inpainting(masks), settings, noise_level=0.05)
        for field in fields(Restoration):
            value, wanted = getattr(found, field.name), getattr(expected, field.name)
            same = (
                torch.equal(value.nan_to_num(-1), wanted.nan_to_num(-1))
                if isinstance(wanted, Tensor)
                else value == wanted
            )
            assert same, field.name


@pytest.mark.parametrize("held", [True, False])
def test_each_image_has_its_own_mask_and_the_operator_keeps_its_own(held: bool) -> None:
    prior, masks = _Linear(), _masks(5)
    x = prior.sample(5)
    physics = _inpainting(masks if held else masks[:1])
    before = physics.mask.clone()
    parameters = None if held else {"mask": masks}
    found = restore(prior, x * masks, physics, replace(EXACT, starts=2), parameters=parameters, fidelity=L2())
    torch.testing.assert_close(found.images, x, rtol=0, atol=1e-6)
    assert torch.equal(physics.mask, before)
    assert found.misfit.max() < 1e-10


def test_the_operator_keeps_its_own_parameters_where_restoring_fails() -> None:
    prior, masks = _Linear(), _masks(4)
    physics = _inpainting(masks[:1])

    class Broken(_Linear):
        def energy(self, z: Tensor) -> Tensor:
            raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        restore(Broken(), prior.sample(4) * masks, physics, EXACT, parameters={"mask": masks})
    assert torch.equal(physics.mask, masks[:1])


def test_parameters_of_each_image_are_told_from_those_of_all() -> None:
    from deepinv.physics import Blur

    masks = _masks(4)
    assert parameters_of(_inpainting(masks), 4).keys() == {"mask"}
    assert parameters_of(_inpainting(masks[:1]), 4) == {}
    assert parameters_of(_inpainting(masks[:1]), 1) == {}
    assert parameters_of(Blur(filter=torch.ones(1, 1, 3, 3)), 3) == {}


def _stacked():  # noqa: ANN202 - deepinv has no types
    from deepinv.physics import stack

    return stack(_projections(_matrix(6)), _projections(_matrix(30)[20:]))


def _complex():  # noqa: ANN202 - deepinv has no types
    from deepinv.physics import LinearPhysics

    return LinearPhysics(A=lambda x, **_: torch.fft.fft2(x)[..., :3].clone())


def _squares():  # noqa: ANN202 - deepinv has no types
    from deepinv.physics import Physics

    return Physics(A=lambda x, **_: torch.cat([x.square(), torch.exp(x)], 1))


def _halved():  # noqa: ANN202 - deepinv has no types
    from deepinv.physics import LinearPhysics

    return LinearPhysics(A=lambda x, **_: x[..., ::2, :])


PHYSICS: dict[str, Callable] = {"stacked": _stacked, "complex": _complex, "nonlinear": _squares, "own": _halved}


@pytest.mark.parametrize("name", PHYSICS)
@pytest.mark.parametrize("settings", [EXACT, replace(EXACT, starts=3)], ids=["one start", "three"])
def test_operators_of_every_kind_are_inverted_where_they_can_be(name: str, settings: SearchSettings) -> None:
    prior, physics = _Linear(), PHYSICS[name]()
    x = prior.sample(4)
    found = restore(prior, physics.A(x), physics, settings)
    torch.testing.assert_close(found.images, x, rtol=0, atol=1e-4)
    assert found.images.dtype == torch.float64


@pytest.mark.parametrize("name", PHYSICS)
def test_operators_of_every_kind_go_with_the_default(name: str) -> None:
    prior, physics = _Linear(), PHYSICS[name]()
    x = prior.sample(2)
    found = restore(prior, physics.A(x), physics)
    torch.testing.assert_close(found.images, x, rtol=0, atol=0.05)


@pytest.mark.parametrize("name", PHYSICS)
def test_restoring_works_where_gradients_are_off(name: str) -> None:
    prior, physics = _Linear(), PHYSICS[name]()
    with torch.no_grad():
        found = restore(prior, physics.A(prior.sample(2)), physics, replace(EXACT, iterations=20))
    assert not found.images.requires_grad
    assert found.error.max() < 0.1


def test_the_data_term_follows_noise_and_operator() -> None:
    from deepinv.physics import GaussianNoise, LinearPhysics, PoissonNoise, SaltPepperNoise, UniformNoise

    mask = _masks(1)
    assert isinstance(suggested(_inpainting(mask)), L1)
    assert isinstance(suggested(LinearPhysics(A=torch.sin)), L2)
    assert isinstance(suggested(LinearPhysics(A=torch.sin, noise_model=GaussianNoise(0.1))), Clipped)
    assert isinstance(suggested(LinearPhysics(A=torch.sin, noise_model=SaltPepperNoise())), L1)
    assert isinstance(suggested(LinearPhysics(A=torch.sin, noise_model=SaltPepperNoise()), 0.1), L1)
    known = suggested(_inpainting(mask, noise_model=UniformNoise(0.3)))
    assert isinstance(known, Clipped)
    assert known.sigma == pytest.approx(0.3 / math.sqrt(3), rel=1e-6)
    for physics in (_inpainting(mask), LinearPhysics(A=torch.sin)):
        physics.set_noise_model(PoissonNoise(gain=0.25))
        term = suggested(physics)
        assert isinstance(term, Poisson)
        assert term.gain == 0.25


def test_the_noise_of_the_operator_is_the_noise_that_counts() -> None:
    from deepinv.physics import GaussianNoise

    prior, y = _Linear(), torch.randn(2, 20, dtype=torch.float64)
    by_model = restore(prior, y, _projections(_matrix(), noise_model=GaussianNoise(0.3)))
    by_argument = restore(prior, y, _projections(_matrix()), noise_level=0.3)
    other = restore(prior, y, _projections(_matrix(), noise_model=GaussianNoise(0.1)), noise_level=0.3)
    torch.testing.assert_close(by_model.images, by_argument.images, rtol=0, atol=1e-6)
    torch.testing.assert_close(other.images, by_argument.images)


# Several solutions.


def _upper() -> object:
    mask = torch.ones(1, *SHAPE, dtype=torch.float64)
    mask[..., 3:, :] = 0
    return _inpainting(mask)


def test_two_solutions_are_both_found() -> None:
    prior, physics = _TwoHills(), _upper()
    z = torch.zeros(3, LATENTS, dtype=torch.float64)
    z[:, 0] = torch.tensor([0.5, -0.4, 0.6])
    y = physics.A(prior.decode(z))
    settings = SearchSettings(candidates=3, energy_weight=1e-9, iterations=200, tolerance=1e-9)
    found = restore(prior, y, physics, settings, fidelity=L2())
    assert found.candidate_counts.tolist() == [2, 2, 2]
    assert torch.equal(found.images, found.candidates[:, 0])
    assert torch.equal(found.latents, found.candidate_latents[:, 0])
    mirrored = prior.decode(-z)
    for i in range(3):
        both = found.candidates[i, :2]
        wanted = torch.stack([prior.decode(z)[i], mirrored[i]])
        apart = (both[:, None] - wanted[None]).abs().amax((2, 3, 4))
        assert sorted(apart.argmin(1).tolist()) == [0, 1]
        assert apart.amin(1).max() < 1e-3
        assert torch.equal(found.candidates[i, 2], found.images[i])
    expected = (prior.decode(z) - mirrored).abs() / 2
    torch.testing.assert_close(found.spread(), expected, rtol=0, atol=1e-3)


def test_candidates_come_in_the_order_of_their_misfits() -> None:
    prior, physics = _TwoHills(), _upper()
    y = physics.A(prior.decode(0.5 * torch.ones(4, LATENTS, dtype=torch.float64)))
    found = restore(prior, y, physics, SearchSettings(candidates=2), noise_level=0.1, fidelity=L2())
    misfits = [0.5 * (physics.A(x) - y).square().sum((1, 2, 3)) for x in found.candidates.unbind(1)]
    assert (misfits[0] <= misfits[1] + 1e-12).all()
    torch.testing.assert_close(misfits[0], found.misfit)
    torch.testing.assert_close(found.energy, prior.energy(found.latents))


@pytest.mark.parametrize("prior", [_Linear(), _Mirrored()], ids=["one latent", "many latents"])
def test_one_image_is_one_solution_however_many_latents_it_has(prior: _Linear) -> None:
    x = prior.sample(3)
    found = invert(prior, x, SearchSettings(candidates=3, iterations=200, tolerance=1e-9))
    assert found.candidate_counts.tolist() == [1, 1, 1]
    assert not found.spread().any()


# Verdicts.


def _far(count: int = 3) -> Tensor:
    return torch.rand(count, *SHAPE, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def test_an_image_outside_the_range_is_called_so() -> None:
    found = invert(_Linear(), _far())
    assert set(found.verdicts) == {RANGE}
    assert (found.starts == 8 + 8).all()


def test_after_one_try_nothing_is_said_of_the_range() -> None:
    found = invert(_Linear(), _far(), replace(EXACT, second_try=False))
    assert set(found.verdicts) == {STUCK}


def test_starts_that_end_at_different_residuals_disagree() -> None:
    class Walled(_Linear):
        """Nothing leads over z = 0: what starts on the wrong side stays there."""

        def start(self, count: int, generator: torch.Generator) -> Tensor:
            z = super().start(count, generator)
            z[:, 0] = -3.0 if count == 1 else 2.0
            return z

        def decode(self, z: Tensor) -> Tensor:
            bump = 0.5 + 0.2 * torch.sin(torch.arange(36)) * torch.tanh(4 * z[:, :1])
            wrong = torch.where(z[:, :1] > 0, 0.0, 0.6) + 0.25 * torch.cos(5.0 * torch.arange(36))
            return (bump + wrong).view(-1, *SHAPE)

    x = torch.full((2, *SHAPE), 0.5, dtype=torch.float64)
    found = invert(Walled(), x, SearchSettings(starts=1, energy_weight=0.0))
    assert set(found.verdicts) == {STUCK}


def test_fitted_noise_is_called_over_fitted() -> None:
    sigma, prior, matrix = 0.2, _Linear(), _matrix(100)
    y = (prior.sample(3).flatten(1)[:, None] * matrix).sum(2)
    settings = replace(EXACT, iterations=100)
    assert set(restore(prior, y, _projections(matrix), settings, noise_level=sigma).verdicts) == {OVERFITTED}
    noisy = y + sigma * torch.randn(y.shape, dtype=torch.float64)
    assert set(restore(prior, noisy, _projections(matrix), settings, noise_level=sigma).verdicts) == {GOOD}


# Memory.


class _Small(_Network):
    """A machine on which no more than so many rows go at once."""

    def __init__(self, rows: int, message: str) -> None:
        super().__init__()
        self.rows, self.message, self.asked = rows, message, []

    def decode(self, z: Tensor) -> Tensor:
        self.asked.append(len(z))
        if len(z) > self.rows:
            raise RuntimeError(self.message)
        return super().decode(z)


FULL = "[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."


@pytest.mark.parametrize("images", [4, 11])
def test_smaller_parts_are_tried_where_memory_is_full(images: int) -> None:
    settings = SearchSettings(starts=1, second_try=False, iterations=30)
    x = _Network().sample(images)
    expected = invert(_Network(), x, settings)
    prior = _Small(3, FULL)
    _assert_same(invert(prior, x, settings), expected, 1e-9)
    refused = [rows for rows in prior.asked if rows > 3]
    assert refused == sorted(set(refused), reverse=True), "the same rows were tried again"


def test_a_full_device_is_told_by_its_type() -> None:
    class Device(_Small):
        def decode(self, z: Tensor) -> Tensor:
            if len(z) > self.rows:
                raise torch.OutOfMemoryError("device")
            return super().decode(z)

    settings = SearchSettings(starts=1, second_try=False, iterations=30)
    x = _Network().sample(5)
    _assert_same(invert(Device(2, ""), x, settings), invert(_Network(), x, settings), 1e-9)


def test_one_image_that_needs_too_much_memory_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="can't allocate memory"):
        invert(_Small(0, FULL), _Network().sample(3), EXACT)


@pytest.mark.parametrize("message", ["mat1 and mat2 shapes cannot be multiplied", ""])
def test_other_errors_are_raised_as_they_are(message: str) -> None:
    prior = _Small(1, message)
    with pytest.raises(RuntimeError, match=f"^{message}$"):
        invert(prior, _Network().sample(3), EXACT)
    assert len(prior.asked) == 1


# Refusals.


@pytest.fixture
def prior() -> _Linear:
    return _Linear()


@pytest.mark.parametrize("shape", [(2, 1, 6, 5), (2, 3, 6, 6), (1, 6, 6), (0, 1, 6, 6), (2, 36)])
def test_images_of_another_shape_are_refused(prior: _Linear, shape: tuple[int, ...]) -> None:
    with pytest.raises(GenpriorError, match=r"^x: expected images of shape \('B', 1, 6, 6\), got "):
        invert(prior, torch.zeros(shape))


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
def test_values_that_are_not_finite_are_refused(prior: _Linear, wrong: float) -> None:
    x = prior.sample(2)
    x[0, 0, 1, 2:4] = wrong
    with pytest.raises(GenpriorError, match=r"^x: 2 of 72 values are not finite"):
        invert(prior, x)
    with pytest.raises(GenpriorError, match=r"^y: 2 of 72 values are not finite"):
        restore(prior, x, _inpainting(torch.ones(1, *SHAPE)))


@pytest.mark.parametrize("level", [-0.1, math.nan, math.inf])
def test_noise_levels_that_cannot_be_are_refused(prior: _Linear, level: float) -> None:
    message = r"^noise_level: expected a standard deviation of at least 0, got "
    with pytest.raises(GenpriorError, match=message):
        invert(prior, prior.sample(1), noise_level=level)
    with pytest.raises(GenpriorError, match=message):
        restore(prior, prior.sample(1), _inpainting(torch.ones(1, *SHAPE)), noise_level=level)


def test_images_of_whole_numbers_are_refused(prior: _Linear) -> None:
    with pytest.raises(GenpriorError, match=r"^x: expected floats.*uint8"):
        invert(prior, torch.zeros(2, *SHAPE, dtype=torch.uint8))


@pytest.mark.parametrize("shape", [(3, 1), (3, 19), (3, 21), (3, 1, 6, 6), (3,), (0, 20)])
def test_measurements_that_the_operator_cannot_have_made_are_refused(prior: _Linear, shape: tuple[int, ...]) -> None:
    with pytest.raises(GenpriorError, match=r"^y: "):
        restore(prior, torch.zeros(shape, dtype=torch.float64), _projections(_matrix()), EXACT)


@pytest.mark.parametrize("y", [None, 3.0, "y"])
def test_what_is_no_measurement_is_refused(prior: _Linear, y: object) -> None:
    with pytest.raises(GenpriorError, match=r"^y: "):
        restore(prior, y, _projections(_matrix()), EXACT)


@pytest.mark.parametrize("count", [2, 6])
def test_parameters_for_another_number_of_images_are_refused(prior: _Linear, count: int) -> None:
    masks = _masks(4)
    with pytest.raises(GenpriorError, match=r"^parameters: .*mask"):
        restore(prior, prior.sample(4), _inpainting(masks[:1]), EXACT, parameters={"mask": _masks(count)})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"starts": 0}, r"^starts: expected a whole number of at least 1, got 0"),
        ({"first": -1}, r"^first: expected a whole number of at least 0, got -1"),
        ({"starts": 1.5}, r"^starts: expected a whole number of at least 1, got 1.5"),
        ({"iterations": 0}, r"^iterations: expected a whole number of at least 1, got 0"),
        ({"candidates": True}, r"^candidates: expected a whole number of at least 1, got True"),
        ({"energy_weight": -1.0}, r"^energy_weight: expected a number of at least 0, got -1.0"),
        ({"energy_weight": math.nan}, r"^energy_weight: expected a number of at least 0, got nan"),
        ({"energy_weight": math.inf}, r"^energy_weight: expected a number of at least 0, got inf"),
        ({"tolerance": -1.0}, r"^tolerance: expected a number of at least 0, got -1.0"),
        ({"tolerance": math.nan}, r"^tolerance: expected a number of at least 0, got nan"),
    ],
)
def test_settings_that_cannot_be_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(GenpriorError, match=message):
        SearchSettings(**options)


def test_what_is_no_tensor_of_images_is_refused() -> None:
    with pytest.raises(GenpriorError, match=r"expected a tensor of images .* got list"):
        invert(_Linear(), [1.0])
    with pytest.raises(GenpriorError, match=r"expected an operator with A\(x\)"):
        restore(_Linear(), torch.ones(1, 20), None)


def test_images_in_0_to_255_are_refused() -> None:
    prior = _Linear()
    with pytest.raises(GenpriorError, match=r"expected values in about \[0, 1\], got up to 255"):
        invert(prior, torch.full((1, *prior.image_shape), 255.0))


def test_an_operator_that_is_not_differentiable_is_named() -> None:
    from deepinv.physics import Physics

    class Rounded(Physics):
        def A(self, x: Tensor, **_: object) -> Tensor:
            return x.detach().round() + 1

    prior, physics = _Linear(), Rounded()
    with pytest.raises(GenpriorError, match="is not differentiable"):
        restore(prior, physics.A(prior.sample(2)), physics)
