"""Inverting by an exact encoder: it is the encoder's answer, of a search's quality and verdict, and takes no search."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from genprior.models.glow_flow import Glow
from genprior.models.image_flow import ImageFlow, VariationalNoise
from genprior.priors.contracts import LatentPrior
from genprior.priors.flow_prior import FlowPrior
from genprior.priors.mixture_prior import MixturePrior
from genprior.restoration.exact_inverse import ENCODED
from genprior.restoration.fidelity import FIDELITIES
from genprior.restoration.operators import OPERATORS
from genprior.restoration.restore import invert, restore
from genprior.restoration.search_settings import SearchSettings
from genprior.seeding import initialised
from mixtures import image_mixture

SHAPES = [(1, 8, 8), (3, 8, 12)]


def _flow(shape: tuple[int, int, int]) -> LatentPrior:
    return FlowPrior(initialised(lambda: ImageFlow(Glow(shape, 1, 2, 8), VariationalNoise(shape)), 0))


def _mixture(shape: tuple[int, int, int]) -> LatentPrior:
    return MixturePrior(image_mixture(shape), shape)


PRIORS = {"flow": _flow, "mixture": _mixture}


def _images(shape: tuple[int, int, int]) -> Tensor:
    return (255 * torch.rand(3, *shape, generator=torch.Generator().manual_seed(1))).round() / 255


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", PRIORS)
def test_inverting_equals_encoding(name: str, shape: tuple[int, int, int]) -> None:
    prior, x = PRIORS[name](shape), _images(shape)
    assert prior.encodes_exactly
    assert prior.encode is not None
    found = invert(prior, x, SearchSettings(candidates=2))
    assert found.stopped == (ENCODED,) * 3
    assert torch.equal(found.latents, prior.encode(x))
    torch.testing.assert_close(found.images, x, rtol=0, atol=1e-5)
    assert torch.equal(found.images, prior.decode(found.latents))
    assert float(found.error.max()) < 1e-5
    torch.testing.assert_close(found.energy, prior.energy(found.latents))
    assert found.candidate_latents.shape == (3, 2, prior.latent_size)
    assert found.candidate_counts.tolist() == found.starts.tolist() == found.iterations.tolist() == [1, 1, 1]


@pytest.mark.parametrize("name", PRIORS)
def test_the_verdict_is_that_of_a_search(name: str) -> None:
    prior, x = PRIORS[name](SHAPES[0]), _images(SHAPES[0])
    exact, searched = invert(prior, x), invert(prior, x, SearchSettings(encoder=False, iterations=5))
    assert ENCODED not in searched.stopped
    assert exact.verdicts == searched.verdicts
    assert bool((exact.error <= searched.error + 1e-6).all())


@pytest.mark.parametrize("name", PRIORS)
def test_images_in_double_precision_are_taken_in_that_of_the_prior(name: str) -> None:
    found = invert(PRIORS[name](SHAPES[0]), _images(SHAPES[0]).double())
    assert found.stopped == (ENCODED,) * 3
    assert found.latents.dtype == torch.float32


def test_what_asks_for_more_than_the_closest_image_is_searched_for() -> None:
    prior, x = _flow(SHAPES[0]), _images(SHAPES[0])[:1]
    quick = SearchSettings(iterations=2, starts=1, second_try=False)
    assert ENCODED not in invert(prior, x, replace(quick, energy_weight=0.1)).stopped
    assert ENCODED not in invert(prior, x, quick, noise_level=0.1).stopped
    assert ENCODED not in invert(prior, x, quick, fidelity=Leaning()).stopped
    for name in ("l1", "l2"):
        assert invert(prior, x, quick, fidelity=FIDELITIES[name]()).stopped == (ENCODED,)


def test_restoring_is_a_search_as_before() -> None:
    prior, x = _flow(SHAPES[0]), _images(SHAPES[0])[:1]
    found = restore(prior, x, OPERATORS["denoise"](image_shape=SHAPES[0], seed=0).physics, SearchSettings(iterations=2))
    assert ENCODED not in found.stopped


class Leaning:
    """A data term that finds darker images closer."""

    def __call__(self, prediction: Tensor, y: Tensor) -> Tensor:
        """Returns half the squared distance to y - 0.1 (B, M)."""
        return (prediction - y + 0.1).square() / 2

    def scale(self, mean: Tensor) -> Tensor:
        """Returns the root of the mean (B,)."""
        return mean.sqrt()
