"""A discriminator that sees several images at once. Knows errors only."""

from collections.abc import Callable

from torch import Tensor, nn

from genprior.errors import GenpriorError

MakeDiscriminator = Callable[[tuple[int, int, int]], nn.Module]


class Packed(nn.Module):
    """x (B, C, H, W) -> logits (B / pack,): consecutive images side by side in the channels of one.

    All images of a pack are real, or all are fakes. That samples are too much alike, which no single one of them shows,
    is then seen (PacGAN, Lin et al. 2018, https://arxiv.org/abs/1712.04086, section 2).

    Arguments:
        discriminator: (B / pack, pack * C, H, W) -> logits (B / pack,), called with `parts` as any other.
        pack: Images in one, at least 1.

    Raises:
        GenpriorError: About `pack`: images that do not fill whole packs.
    """

    def __init__(self, discriminator: nn.Module, pack: int) -> None:
        super().__init__()
        self.discriminator, self.pack = discriminator, pack

    def forward(self, x: Tensor, parts: int = 1) -> Tensor:
        if len(x) % (self.pack * parts):
            raise GenpriorError(
                f"{len(x) // parts} images do not fill packs of {self.pack}; take a multiple of it", argument="pack"
            )
        logits: Tensor = self.discriminator(x.reshape(len(x) // self.pack, -1, *x.shape[2:]), parts=parts)
        return logits


def packed(make: MakeDiscriminator, image_shape: tuple[int, int, int], pack: int) -> nn.Module:
    """Returns the discriminator that `make` builds for packs of images of a shape; itself for packs of one."""
    channels, height, width = image_shape
    discriminator = make((pack * channels, height, width))
    return discriminator if pack == 1 else Packed(discriminator, pack)


def pack_of(discriminator: nn.Module) -> int:
    """Returns how many images one logit is about; 1 unless it is `Packed`, or says otherwise by a `pack` of its own."""
    pack: int = getattr(discriminator, "pack", 1)
    return pack
