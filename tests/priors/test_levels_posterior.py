"""A posterior whose level of noise is drawn, too: against what it is made of."""

import torch

from genprior.priors.levels_posterior import LevelsPosterior
from genprior.priors.mixture_prior import MixturePrior
from mixtures import image_mixture

SHAPE = (1, 3, 3)
LEVELS = (0.05, 0.2, 0.6)


def _made() -> tuple[LevelsPosterior, list[object], torch.Tensor]:
    prior = MixturePrior(image_mixture(SHAPE), SHAPE)
    y = prior.sample(2) + 0.2 * torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(0))
    parts = [prior.posterior(y, lambda x: x, level) for level in LEVELS]
    evidence = torch.stack([each.log_evidence for each in parts], 1)
    evidence[1, 0] = -torch.inf
    return LevelsPosterior(parts, evidence), parts, torch.softmax(evidence, 1)  # type: ignore[return-value]


def test_it_is_the_mean_over_levels() -> None:
    found, parts, shares = _made()
    torch.testing.assert_close(found.levels, shares)
    expected = sum(shares[:, i, None, None, None] * part.mean for i, part in enumerate(parts))  # type: ignore[attr-defined]
    torch.testing.assert_close(found.mean, expected)
    torch.testing.assert_close(found.weights.sum(1), torch.ones(2))
    torch.testing.assert_close(torch.einsum("bk,kbchw->bchw", found.weights, found.means), expected)


def test_draws_have_its_mean_and_deviation_and_depend_on_seed_and_place_alone() -> None:
    found, parts, shares = _made()
    x = found.draws(4000)
    torch.testing.assert_close(x.mean(1), found.mean, atol=0.03, rtol=0)
    each = [part.draws(4000, 1) for part in parts]  # type: ignore[attr-defined]
    square = sum(shares[:, i, None, None, None] * own.square().mean(1) for i, own in enumerate(each))
    torch.testing.assert_close(x.square().mean(1), square, atol=0.03, rtol=0.05)
    one, other = found.draws(5, 3, [7, 8]), found.draws(5, 3, [9, 8])
    assert torch.equal(one[1], other[1])
    assert not torch.equal(one[0], other[0])
    assert not torch.equal(found.draws(5, 3), found.draws(5, 4))
