"""Mixtures of factor analysers for tests, made without training."""

import torch

from genprior.models.factor_analysers import FactorAnalysers
from genprior.seeding import derived_generator


def made_mixture(size: int, components: int = 3, rank: int = 2, seed: int = 0) -> FactorAnalysers:
    """A mixture over vectors in float64, its components a few deviations apart."""
    generator = derived_generator(seed, "mixture", size)

    def drawn(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    weights = torch.rand(components, generator=generator, dtype=torch.float64) + 0.2
    noise = 0.1 + 0.3 * torch.rand(components, size, generator=generator, dtype=torch.float64)
    return FactorAnalysers(weights / weights.sum(), drawn(components, size), drawn(components, size, rank), noise)


def image_mixture(shape: tuple[int, int, int], components: int = 3, rank: int = 2) -> FactorAnalysers:
    """A mixture over images in about [0, 1], float32."""
    model = made_mixture(shape[0] * shape[1] * shape[2], components, rank)
    return FactorAnalysers(
        model.weights.float(),
        (0.5 + 0.06 * model.means).float(),
        (0.05 * model.factors).float(),
        (0.005 * model.noise).float(),
    )
