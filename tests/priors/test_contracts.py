"""What a prior declares: the defaults of a prior of one's own, and what each of ours says of itself."""

import pytest
import torch
from torch import Tensor

import genprior
from genprior.models.glow_flow import Glow
from genprior.models.image_flow import DEQUANTISATIONS, ImageFlow
from genprior.priors.contracts import SAMPLES_AT_ONCE, USUAL_STARTS, LatentPrior, dtype_of
from genprior.priors.flow_prior import FlowPrior

SHAPE = (1, 4, 4)


class _Own(LatentPrior):
    """No more than a prior of one's own must write."""

    latent_size, image_shape = 16, SHAPE

    def start(self, count: int, generator: torch.Generator) -> Tensor:
        return torch.randn(count, 16, generator=generator, dtype=torch.float64)

    def decode(self, z: Tensor) -> Tensor:
        return torch.sigmoid(z).view(-1, *SHAPE)

    def energy(self, z: Tensor) -> Tensor:
        return 0.5 * z.square().sum(1)


def _flow() -> FlowPrior:
    return FlowPrior(ImageFlow(Glow(SHAPE, 1, 1, 4), DEQUANTISATIONS["uniform"](image_shape=SHAPE)))


def test_a_prior_of_ones_own_can_do_no_more_than_it_says() -> None:
    prior = _Own()
    assert prior.preconditioner is prior.encode is prior.encode_damaged is prior.rough is None
    assert (prior.networks, prior.usual_starts, dtype_of(prior)) == ((), USUAL_STARTS, torch.float64)


def test_a_prior_of_ones_own_is_sampled_image_by_image_and_restores() -> None:
    prior = _Own()
    x = prior.sample(SAMPLES_AT_ONCE + 2, seed=3)
    assert torch.equal(x[:4], prior.sample(4, seed=3))
    assert prior.sample(0).shape == (0, *SHAPE)
    found = genprior.invert(prior, x[:2])
    torch.testing.assert_close(found.images, x[:2], rtol=0, atol=0.05)


@pytest.mark.parametrize("missing", ["start", "decode", "energy"])
def test_a_prior_that_lacks_what_every_search_needs_is_refused_at_once(missing: str) -> None:
    members = {name: value for name, value in vars(_Own).items() if name not in (missing, "__abstractmethods__")}
    with pytest.raises(TypeError, match=f"abstract method '?{missing}'?"):
        type("Incomplete", (LatentPrior,), members)()


def test_a_flow_says_that_its_likelihood_is_a_bound_and_finds_it_from_the_image_alone() -> None:
    prior = _flow()
    x = (255 * torch.rand(3, *SHAPE)).round() / 255
    together = prior.log_prob(x)
    assert prior.is_bound
    assert torch.equal(together, torch.cat([prior.log_prob(row[None]) for row in x]))
    assert not torch.equal(together, prior.log_prob(x, torch.Generator().manual_seed(1)))


def test_a_flow_encodes_whole_images_alone() -> None:
    prior = _flow()
    assert prior.encode_damaged is None
    assert prior.usual_starts == 1
    x = (255 * torch.rand(2, *SHAPE)).round() / 255
    torch.testing.assert_close(prior.decode(prior.encode(x)), x)
