"""Whitened latents: m + L w and its inverse, number formats, and the generator behind it."""

import torch

from genprior.models.dcgan import DCGANGenerator
from genprior.models.derived_generators import WhitenedGenerator, Whitening, folded
from genprior.models.players import latent_size_of, output_range_of
from genprior.seeding import initialised

SHAPE = (1, 8, 8)


def _whitening(size: int = 4, dtype: torch.dtype = torch.float32) -> Whitening:
    factor = torch.randn(size, size, dtype=torch.float64).tril() + 3 * torch.eye(size)
    return Whitening(torch.randn(size).to(dtype), factor.to(dtype))


def _generator() -> DCGANGenerator:
    return initialised(lambda: DCGANGenerator(SHAPE, 4, 4), 0).eval()


def test_a_code_is_the_mean_and_the_factor_times_the_latent() -> None:
    own, w = _whitening(dtype=torch.float64), torch.randn(5, 4, dtype=torch.float64)
    expected = torch.stack([own.mean + own.factor @ row for row in w])
    torch.testing.assert_close(own(w), expected)


def test_inverse_undoes_forward() -> None:
    own, w = _whitening(dtype=torch.float64), torch.randn(5, 4, dtype=torch.float64)
    torch.testing.assert_close(own.inverse(own(w)), w)
    torch.testing.assert_close(own(own.inverse(w)), w)


def test_standard_normal_latents_give_codes_of_the_mean_and_covariance() -> None:
    own = _whitening(3)
    codes, scale = own(torch.randn(50_000, 3)), own.factor.norm(dim=1)
    assert ((codes.mean(0) - own.mean) / scale).abs().max() < 0.02
    off = (codes.T.cov() - own.factor @ own.factor.T) / torch.outer(scale, scale)
    assert off.abs().max() < 0.03


def test_rough_latents_are_computed_with_finely() -> None:
    own, w = _whitening(), torch.randn(6, 4).bfloat16()
    assert own(w).dtype == torch.bfloat16
    assert torch.equal(own(w), own(w.float()).bfloat16())


def test_fine_latents_stay_fine() -> None:
    own, w = _whitening(), torch.randn(6, 4, dtype=torch.float64)
    assert own(w).dtype == own.inverse(w).dtype == torch.float64
    torch.testing.assert_close(own.inverse(own(w)), w)


def test_the_generator_sees_codes() -> None:
    whitening, generator, w = _whitening(), _generator(), torch.randn(5, 4)
    whitened = WhitenedGenerator(whitening, generator)
    assert torch.equal(whitened(w), generator(whitening(w)))
    torch.testing.assert_close(whitened(w), torch.cat([whitened(row[None]) for row in w]))


def test_the_generator_tells_what_it_takes_and_makes() -> None:
    whitened = WhitenedGenerator(_whitening(), _generator())
    assert (latent_size_of(whitened), whitened.image_shape, output_range_of(whitened)) == (4, SHAPE, (0.0, 1.0))


def test_gradients_reach_the_latents() -> None:
    whitened, w = WhitenedGenerator(_whitening(), _generator()), torch.randn(2, 4, requires_grad=True)
    whitened(w).sum().backward()
    assert w.grad is not None
    assert (w.grad.abs().sum(1) > 0).all()


def test_folding_and_saving_change_nothing() -> None:
    w = torch.randn(3, 4)
    whitened = WhitenedGenerator(_whitening(), _generator())
    other = WhitenedGenerator(_whitening(), initialised(lambda: DCGANGenerator(SHAPE, 4, 4), 1).eval())
    other.load_state_dict(whitened.state_dict())
    assert torch.equal(other(w), whitened(w))
    torch.testing.assert_close(folded(whitened)(w), whitened(w))
