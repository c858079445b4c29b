"""Networks and likelihoods of VAEs: every shape, one by one, blind to what is unknown, and closed forms."""

import math
from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from genprior.errors import GenpriorError
from genprior.models.autoencoder import LIKELIHOODS, VAES, Autoencoder, Bernoulli, Gaussian, conv, dense
from genprior.models.derived_generators import folded
from genprior.specs import Spec

SHAPE = (1, 8, 8)
SMALL: dict[str, Callable[[tuple[int, int, int]], Autoencoder]] = {
    "dense": lambda shape: dense(shape, 5, width=16),
    "conv": lambda shape: conv(shape, 5, width=2),
}
every_model = pytest.mark.parametrize("name", VAES)


def _networks(name: str, shape: tuple[int, int, int] = SHAPE) -> Autoencoder:
    """In evaluation mode, with running statistics that differ from those of any batch."""
    networks = SMALL[name](shape)
    with torch.no_grad():
        for _ in range(5):
            networks.encoder(torch.rand(16, *shape))
            networks.decoder(torch.randn(16, 5))
    return networks.eval()


@every_model
@pytest.mark.parametrize("shape", [SHAPE, (3, 15, 15), (1, 28, 28), (3, 32, 32)], ids=str)
def test_every_shape_has_latents_and_images(name: str, shape: tuple[int, int, int]) -> None:
    networks = _networks(name, shape)
    mean, log_variance = networks.encoder(torch.rand(3, *shape))
    assert mean.shape == log_variance.shape == (3, 5)
    x = networks.decoder(100 * torch.randn(4, 5))
    assert x.shape == (4, *shape)
    assert x.min() >= 0
    assert x.max() <= 1
    for network in (networks.encoder, networks.decoder):
        assert (network.latent_size, network.image_shape) == (5, shape)


@every_model
def test_one_by_one_equals_together(name: str) -> None:
    networks, x, z = _networks(name), torch.rand(3, *SHAPE), torch.randn(3, 5)
    torch.testing.assert_close(torch.cat([networks.decoder(row[None]) for row in z]), networks.decoder(z))
    encode = networks.encoder.encode
    torch.testing.assert_close(torch.cat([encode(row[None]) for row in x]), encode(x))


@every_model
def test_a_folded_decoder_is_the_decoder(name: str) -> None:
    decoder, z = _networks(name).decoder, torch.randn(4, 5)
    torch.testing.assert_close(folded(decoder)(z), decoder(z))


@every_model
def test_the_decoder_shows_the_sigmoid_of_its_logits(name: str) -> None:
    decoder, z = _networks(name).decoder, torch.randn(4, 5)
    torch.testing.assert_close(decoder(z), 1 / (1 + torch.exp(-decoder.logits(z))))
    assert decoder.output_range == (0.0, 1.0)


@every_model
def test_logits_have_both_signs(name: str) -> None:
    logits = _networks(name).decoder.logits(100 * torch.randn(4, 5))
    assert logits.min() < -1
    assert logits.max() > 1


@every_model
@pytest.mark.parametrize("unknown", [7.0, math.nan, math.inf])
def test_unknown_pixels_count_as_zero(name: str, unknown: float) -> None:
    encoder, x = _networks(name).encoder, torch.rand(3, *SHAPE)
    known = (torch.rand(3, 1, 8, 8) < 0.5).float()
    expected = encoder.encode(x * known)
    assert torch.equal(encoder.encode(torch.where(known.bool(), x, unknown), known), expected)
    assert torch.equal(encoder.encode(x), encoder(x)[0])
    one = encoder.encode(x, known[:1])
    torch.testing.assert_close(one, encoder.encode(x * known[:1]))


@every_model
def test_bf16_rounds_and_posteriors_stay_wide(name: str) -> None:
    networks, x, z = _networks(name), torch.rand(3, *SHAPE), torch.randn(3, 5)
    mean, log_variance = networks.encoder(x.bfloat16())
    assert mean.dtype == log_variance.dtype == torch.float32
    torch.testing.assert_close(mean, networks.encoder(x)[0], rtol=0.1, atol=0.1)
    assert networks.decoder(z.bfloat16()).dtype == torch.bfloat16
    torch.testing.assert_close(networks.decoder(z.bfloat16()).float(), networks.decoder(z), rtol=0, atol=0.05)
    assert networks.encoder.encode(x.bfloat16()).dtype == torch.bfloat16


def test_the_dense_decoder_is_that_of_bora_et_al() -> None:
    sizes = [20, 500, 500, 784]
    decoder = dense((1, 28, 28), 20).decoder
    expected = sum(before * after + after for before, after in pairwise(sizes))
    assert sum(p.numel() for p in decoder.parameters()) == expected


@pytest.mark.parametrize(("width", "depth"), [(7, 1), (9, 3)])
def test_width_and_depth_are_those_asked_for(width: int, depth: int) -> None:
    networks = dense(SHAPE, 5, width, depth)
    hidden = depth * width + (depth - 1) * width**2
    assert sum(p.numel() for p in networks.encoder.parameters()) == hidden + 64 * width + (width + 1) * 10
    assert sum(p.numel() for p in networks.decoder.parameters()) == hidden + 5 * width + (width + 1) * 64


@pytest.mark.parametrize("spec", ["dense:width=0", "dense:depth=1.5", "conv:width=5000"])
def test_options_out_of_range_are_refused(spec: str) -> None:
    expected = r"^model: option '\w+' must be an integer from 1 to 4096, got [\d.]+$"
    with pytest.raises(GenpriorError, match=expected):
        Spec.parse(spec).build(VAES, "model", image_shape=SHAPE, latent_size=5)


@pytest.mark.parametrize("shape", [(1, 7, 7), (1, 8, 9), (1, 129, 129)])
def test_images_that_convolutions_cannot_make_are_refused(shape: tuple[int, int, int]) -> None:
    with pytest.raises(GenpriorError, match=r"^size: .* square images of 8 to 128 pixels"):
        conv(shape, 5)


@pytest.mark.parametrize("size", [(1, 7), (0, 8, 8), (2, 8, 8)])
def test_other_images_than_its_own_are_refused(size: tuple[int, ...]) -> None:
    expected = r"^x: expected \d+ times \(1, 8, 8\), got the shape \(3, "
    with pytest.raises(GenpriorError, match=expected):
        _networks("dense").encoder.encode(torch.rand(3, *size))


@pytest.mark.parametrize("shape", [(3, 1, 8, 9), (2, 1, 8, 8), (3, 2, 8, 8)])
def test_a_mask_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(GenpriorError, match=r"^known: expected 1 or 3 times \(1, 8, 8\), got the shape"):
        _networks("dense").encoder.encode(torch.rand(3, *SHAPE), torch.ones(shape))


# Likelihoods.


def _logits_and_images() -> tuple[Tensor, Tensor]:
    return 3 * torch.randn(4, *SHAPE, dtype=torch.float64), torch.rand(4, *SHAPE, dtype=torch.float64)


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_a_likelihood_has_one_value_an_image(name: str) -> None:
    likelihood, (logits, x) = LIKELIHOODS[name](), _logits_and_images()
    together = likelihood(logits, x)
    assert together.shape == (4,)
    torch.testing.assert_close(
        torch.cat([likelihood(a[None], b[None]) for a, b in zip(logits, x, strict=True)]), together
    )


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_a_likelihood_is_finite_and_has_a_gradient_at_far_logits(name: str) -> None:
    logits = torch.tensor([-50.0, 50.0]).view(1, 1, 1, 2).requires_grad_()
    value = LIKELIHOODS[name]()(logits, torch.tensor([1.0, 0.0]).view(1, 1, 1, 2))
    value.sum().backward()
    assert torch.isfinite(value).all()
    assert torch.isfinite(logits.grad).all()


def test_the_slope_of_a_bernoulli_likelihood_does_not_vanish_where_the_decoder_is_sure_and_wrong() -> None:
    logits, x = torch.tensor([-50.0, 50.0]).view(1, 1, 1, 2).requires_grad_(), torch.tensor([1.0, 0.0])
    (slope,) = torch.autograd.grad(Bernoulli()(logits, x.view(1, 1, 1, 2)).sum(), logits)
    torch.testing.assert_close(slope.flatten(), torch.tensor([1.0, -1.0]))  # x - sigmoid(logits)


def test_a_gaussian_likelihood_is_that_of_torch() -> None:
    logits, x = _logits_and_images()
    expected = torch.distributions.Normal(torch.sigmoid(logits), 0.3).log_prob(x).flatten(1).sum(1)
    torch.testing.assert_close(Gaussian(0.3)(logits, x), expected)


def test_a_bernoulli_likelihood_of_black_and_white_is_that_of_torch() -> None:
    logits, x = _logits_and_images()
    x = x.round()
    expected = torch.distributions.Bernoulli(logits=logits).log_prob(x).flatten(1).sum(1)
    torch.testing.assert_close(Bernoulli()(logits, x), expected)


def test_a_bernoulli_likelihood_is_largest_where_the_decoder_shows_the_image() -> None:
    logits, x = _logits_and_images()
    best = torch.logit(x).requires_grad_()
    (slope,) = torch.autograd.grad(Bernoulli()(best, x).sum(), best)
    torch.testing.assert_close(slope, torch.zeros_like(slope))
    assert (Bernoulli()(best, x) > Bernoulli()(logits, x)).all()


@pytest.mark.parametrize("sigma", [0, -1, math.inf, math.nan])
def test_a_deviation_that_is_none_is_refused(sigma: float) -> None:
    with pytest.raises(GenpriorError, match=r"^likelihood: option 'sigma' must be greater than 0"):
        Gaussian(sigma)
