"""An invertible network as a prior."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from genprior.models.image_flow import LEVELS, ImageFlow
from genprior.priors.contracts import LatentPrior, LikelihoodPrior, sampled
from genprior.priors.densities import StandardNormal
from genprior.seeding import derived_generator

# How much softer the step from logits to images is, and the noise that is assumed: from nearly straight to its own.
EASIER = ((100.0, 0.2), (4.0, 0.1), (2.0, 0.05), (1.3, 0.02))


class FlowPrior(LatentPrior, LikelihoodPrior):
    """A trained flow, frozen and in evaluation mode: as many latents as pixels, standard normal, found exactly.

    What passes from layer to layer is float64, and the couplings' convolutions are float32: at the same cost decoding
    then undoes encoding to 1e-14, where rounding in float32 would grow from layer to layer to 1e-4. Latents and images
    come in the type that they are given in.

    Arguments:
        model: x <-> z; it is frozen and converted in place.

    Attributes:
        is_bound: Images of 8 bits have a bound, which one draw of the dequantising noise gives.
    """

    is_bound = True

    def __init__(self, model: ImageFlow) -> None:
        self.model = model.eval().requires_grad_(False).double()
        self.model.flow.dtype = torch.float32
        self.model.flow.freeze()
        self.latent_size, self.image_shape = model.latent_size, model.image_shape
        self._normal = StandardNormal(model.latent_size)

    @property
    def networks(self) -> tuple[nn.Module, ...]:
        """All that was trained."""
        return (self.model,)

    @property
    def encodes_exactly(self) -> bool:
        """Yes."""
        return True

    @property
    def usual_starts(self) -> int:
        """A search from z = 0 needs no others (Asim et al. 2020, https://arxiv.org/abs/1905.11672)."""
        return 1

    @property
    def easier(self) -> "Sequence[tuple[LatentPrior, float]]":
        """Flows whose black and white pixels still have a slope: without them a search from z = 0 stays where it is."""
        return tuple((SoftFlowPrior(self.model, softness), noise) for softness, noise in EASIER)

    def start(self, count: int, generator: torch.Generator) -> Tensor:
        """Returns z (count, D): 0 first, for the mean, then draws of the standard normal."""
        z = self._normal.draw(count, generator)
        z[:1] = 0
        return z

    def decode(self, z: Tensor) -> Tensor:
        """Returns x (B, C, H, W) for z (B, D); differentiable, and within half a level of [0, 1]."""
        return self.model.decode(z.double()).to(z.dtype)

    def encode(self, x: Tensor) -> Tensor:
        """Returns z (B, D) with decode(z) = x, for x (B, C, H, W) in [0, 1].

        Not of damaged images: that would carry the damage into z, where it is unlikely in many directions at once.
        """
        return self.model.encode(x.double()).to(x.dtype)

    def energy(self, z: Tensor) -> Tensor:
        """Returns |z|^2 / 2 (B,), the negative log density of z up to a constant."""
        return self._normal.energy(z)

    @torch.no_grad()
    def log_prob(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Returns one draw (B,), in nats, of the lower bound of log P of 8-bit images x (B, C, H, W).

        Arguments:
            x: In [0, 1].
            generator: Of the dequantising noise; None: all images get the same noise, which never changes.
        """
        if generator is None:
            noise = self.model.draw_noise(1, derived_generator(0, "log_prob")).expand(len(x), -1, -1, -1)
        else:
            noise = self.model.draw_noise(len(x), generator)
        return self.model.log_prob(x.double(), noise.double()).to(x.dtype)

    def sample(self, count: int, seed: int = 0, first: int = 0, temperature: float = 1.0) -> Tensor:
        """Returns x (count, C, H, W) in [0, 1]; image i depends on (seed, i) alone, whatever the count.

        Arguments:
            count: At least 0.
            seed: Any integer.
            first: Number of the first image, at least 0.
            temperature: Standard deviation of z, at least 0; at 0 every image is decode(0).
        """
        return sampled(self, lambda generator: temperature * self.draw(generator), count, seed, first).clamp(0, 1)

    def draw(self, generator: torch.Generator) -> Tensor:
        """Returns z (1, D) of one sample, standard normal: the first start is none."""
        return self._normal.draw(1, generator)


class SoftFlowPrior(FlowPrior):
    """A flow whose logits v become images by sigmoid(v / softness), stretched so that black and white stay in place.

    The slope of the sigmoid is 0.002 at the logit of a black pixel, and so is that of every data term: whoever searches
    cannot tell that the pixel should be white. Softer ones have a slope everywhere, and lead on to the flow's own.

    Arguments:
        model: That of a `FlowPrior`, which has frozen it.
        softness: At least 1, where images are those of the flow.
    """

    def __init__(self, model: ImageFlow, softness: float) -> None:
        self.model, self.softness = model, softness
        self.latent_size, self.image_shape = model.latent_size, model.image_shape
        self._normal = StandardNormal(model.latent_size)

    @property
    def easier(self) -> "Sequence[tuple[LatentPrior, float]]":
        """Nothing: it is one itself."""
        return ()

    def decode(self, z: Tensor) -> Tensor:
        """Returns x (B, C, H, W) for z (B, D), a little beyond [0, 1] where logits are beyond black and white."""
        v = self.model.flow.decode(z.double())
        black = 1 / (1 + math.exp(math.log(2 * LEVELS - 1) / self.softness))
        return ((torch.sigmoid(v / self.softness) - black) / (1 - 2 * black)).to(z.dtype)
