"""A mixture of factor analysers as a prior: samples, likelihood and posterior, all exact."""

from collections.abc import Callable
from functools import cached_property

import torch
from torch import Tensor, nn

from genprior.models.factor_analysers import FactorAnalysers
from genprior.priors.contracts import ConditionalPrior, DenoisingPrior, LatentPrior, LikelihoodPrior
from genprior.priors.gaussian_posterior import LinearMap, MixturePosterior


class MixturePrior(LatentPrior, LikelihoodPrior, ConditionalPrior, DenoisingPrior):
    """A mixture over images themselves. Latents are images, moved and scaled to mean 0 and variance 1 on average.

    Arguments:
        model: The mixture; its numbers decide the dtype.
        image_shape: (C, H, W).

    Attributes:
        is_bound: The density is exact.
    """

    is_bound = False

    def __init__(self, model: FactorAnalysers, image_shape: tuple[int, int, int]) -> None:
        self.model, self.image_shape = model.eval(), image_shape
        self.latent_size = model.means.shape[1]

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
        """A search is used for operators that are not linear alone."""
        return 1

    @cached_property
    def _centre(self) -> Tensor:
        return self.model.weights @ self.model.means

    @cached_property
    def _scale(self) -> Tensor:
        own = self.model
        spread = (own.means - self._centre).square() + own.factors.square().sum(2) + own.noise
        return (own.weights @ spread).mean().sqrt()

    def start(self, count: int, generator: torch.Generator) -> Tensor:
        """Returns z (count, D) of draws of the mixture."""
        return self.encode(torch.stack([self.model.draw(generator) for _ in range(count)]))

    def decode(self, z: Tensor) -> Tensor:
        """Returns x (B, C, H, W) for z (B, D); as exact draws carry noise they leave [0, 1] by a little."""
        return (self._centre.to(z) + self._scale.to(z) * z).view(-1, *self.image_shape)

    def encode(self, x: Tensor) -> Tensor:
        """Returns z (B, D) with decode(z) = x."""
        return (x.flatten(1) - self._centre.to(x)) / self._scale.to(x)

    @torch.no_grad()
    def local_factors(self, z: Tensor) -> Tensor:
        """Returns the factors (D, r), in units of z, of the component that the image of z (D,) most likely is of."""
        component = int(self.model.log_joint(self.decode(z[None]).flatten(1).to(self.model.means)).argmax())
        return self.model.factors[component].to(z) / self._scale.to(z)

    def energy(self, z: Tensor) -> Tensor:
        """Returns -log p(x) (B,) of the decoded image."""
        return -self.log_prob(self.decode(z))

    def log_prob(self, x: Tensor) -> Tensor:
        """Returns the log-density (B,) in nats of images x (B, C, H, W) as real numbers."""
        return self.model.log_prob(x.flatten(1).to(self.model.means)).to(x)

    @property
    def conditional(self) -> "MixturePrior":
        """Itself."""
        return self

    @torch.no_grad()
    def posterior(self, y: Tensor, A: Callable[[Tensor], Tensor], sigma: Tensor | float) -> MixturePosterior:
        """Returns the posterior for y = A x + sigma n; exact for masks and small matrices, else nearly.

        Arguments:
            y: Measurements (B, ...).
            A: A linear map of images (R, C, H, W) for any R, the same for all; such as `physics.A` of deepinv.
            sigma: Standard deviation of the noise, above 0: one, or one for each number of a measurement (M,).

        Raises:
            GenpriorError: A is not linear (or adds noise), y has not the numbers that it gives, or sigma is none.
        """
        flat = y.flatten(1).to(self.model.means)
        return MixturePosterior(
            self.model, LinearMap(A, self.image_shape, self.model.means), flat, torch.as_tensor(sigma)
        )

    def denoise(self, x_noisy: Tensor, sigma: Tensor | float) -> Tensor:
        """Returns E[x | x_noisy] (B, C, H, W), for noise of standard deviation sigma above 0, one or (B,)."""
        levels = torch.as_tensor(sigma).expand(len(x_noisy))
        found = torch.empty_like(x_noisy)
        for level in torch.unique(levels):
            own = levels == level
            found[own] = self.posterior(x_noisy[own], lambda x: x, level).mean.to(x_noisy)
        return found
