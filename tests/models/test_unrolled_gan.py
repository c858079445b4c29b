"""The small networks of Unrolled GANs."""

import pytest
import torch

from genprior.errors import GenpriorError
from genprior.models.dcgan import UnrolledGANGenerator, unrolled_gan_discriminator
from genprior.models.players import parameter_count


def test_parameters_are_those_of_the_table() -> None:
    """Dense 256 -> 1024; 64-32-16-8 transposed; 8 -> 3; four normalisations. Convolutions 3-2-4-8; dense 128 -> 1."""
    generator = 257 * 1024 + 9 * (64 * 32 + 32 * 16 + 16 * 8) + (9 * 8 + 1) * 3 + 2 * (64 + 32 + 16 + 8)
    assert parameter_count(UnrolledGANGenerator((3, 28, 28))) == generator
    discriminator = (9 * 3 + 1) * 2 + (9 * 2 + 1) * 4 + (9 * 4 + 1) * 8 + 2 * (2 + 4 + 8) + 129
    assert parameter_count(unrolled_gan_discriminator((3, 28, 28))) == discriminator


def test_images_lie_in_0_to_1_and_logits_are_one_each() -> None:
    x = UnrolledGANGenerator((3, 28, 28), 5)(torch.randn(3, 5, generator=torch.Generator().manual_seed(0)))
    assert x.shape == (3, 3, 28, 28)
    assert 0 <= x.min() <= x.max() <= 1
    assert unrolled_gan_discriminator((3, 28, 28), 4)(x).shape == (3,)


@pytest.mark.parametrize("make", [UnrolledGANGenerator, unrolled_gan_discriminator])
def test_other_sizes_are_refused(make: type) -> None:
    with pytest.raises(GenpriorError, match=r"model: metz builds images of 28x28, got 32x32"):
        make((3, 32, 32))
