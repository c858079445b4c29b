"""The average curvature of a decoder."""

import torch

from genprior.models.dcgan import DCGANGenerator
from genprior.priors.generator_prior import FLOOR, GeneratorPrior, inverse_curvature


def test_of_a_linear_decoder_it_is_the_inverse_of_its_gram_matrix() -> None:
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(30, 4, generator=generator, dtype=torch.float64) * torch.tensor([1.0, 2.0, 3.0, 4.0])
    found = inverse_curvature(lambda z: z @ matrix.T, torch.zeros(20_000, 4, dtype=torch.float64))
    gram = matrix.T @ matrix
    expected = torch.linalg.inv(gram + FLOOR * torch.linalg.eigvalsh(gram)[-1] * torch.eye(4))
    expected *= 4 / expected.trace()
    assert torch.allclose(found, expected, rtol=0.1, atol=0.02)


def test_it_is_symmetric_positive_and_of_trace_k() -> None:
    prior = GeneratorPrior(DCGANGenerator((1, 8, 8), 5, width=8), 5, (1, 8, 8))
    guess = prior.preconditioner
    assert torch.allclose(guess, guess.T)
    assert bool((torch.linalg.eigvalsh(guess) > 0).all())
    assert torch.isclose(guess.trace(), torch.tensor(5.0))


def test_it_is_found_once_and_needs_no_gradients_switched_on() -> None:
    prior = GeneratorPrior(DCGANGenerator((1, 8, 8), 5, width=8), 5, (1, 8, 8))
    with torch.no_grad():
        first = prior.preconditioner
    assert prior.preconditioner is first
