"""Latents of experiments. Knows networks only."""

import torch
from torch import Tensor, nn

from genprior.models.players import latent_size_of
from genprior.seeding import derived_generator


def draw_latents(generator: nn.Module, count: int, seed: int, purpose: str, index: int = 0) -> Tensor:
    """Returns standard normal z (count, k) for a generator, in its arithmetic; other purposes get other ones."""
    draws = derived_generator(seed, purpose, index)
    return torch.randn(count, latent_size_of(generator), generator=draws, dtype=arithmetic(generator))


def arithmetic(network: nn.Module) -> torch.dtype:
    """Returns the dtype of a network's weights."""
    return next(network.parameters()).dtype
