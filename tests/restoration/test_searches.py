"""Laws that every preset of a search keeps."""

import pytest
import torch
from torch import Tensor

from genprior.priors.contracts import LatentPrior
from genprior.restoration.restore import invert
from genprior.restoration.search_settings import SEARCHES, SearchSettings

LATENTS, SHAPE = 4, (1, 6, 6)
every_preset = pytest.mark.parametrize("settings", SEARCHES.values(), ids=SEARCHES)


class _Linear(LatentPrior):
    """x = W z + 1/2; sums row by row, so that rounding does not depend on the batch."""

    latent_size, image_shape = LATENTS, SHAPE

    def __init__(self) -> None:
        self.weights = 0.2 * torch.randn(36, LATENTS, generator=torch.Generator().manual_seed(5), dtype=torch.float64)

    def start(self, count: int, generator: torch.Generator) -> Tensor:
        return torch.randn(count, LATENTS, generator=generator, dtype=torch.float64)

    def decode(self, z: Tensor) -> Tensor:
        return (0.5 + (self.weights * z[:, None, :]).sum(2)).view(-1, *SHAPE)

    def energy(self, z: Tensor) -> Tensor:
        return 0.5 * z.square().sum(1)


@every_preset
def test_images_in_the_range_are_found(settings: SearchSettings) -> None:
    x = _Linear().sample(3)
    found = invert(_Linear(), x, settings)
    torch.testing.assert_close(found.images, x, rtol=0, atol=5e-3)


@every_preset
def test_an_image_is_the_same_alone_and_in_a_batch(settings: SearchSettings) -> None:
    x = _Linear().sample(3)
    whole = invert(_Linear(), x, settings)
    alone = invert(_Linear(), x[:1], settings)
    torch.testing.assert_close(alone.images, whole.images[:1], rtol=0, atol=1e-9)
    assert torch.equal(alone.iterations, whole.iterations[:1])
