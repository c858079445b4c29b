"""Images beyond a prior's range: x = G(z) + v with a deviation v that costs energy. Knows priors and problems."""

from dataclasses import replace

import torch
from torch import Tensor

from genprior.priors.contracts import LatentPrior
from genprior.restoration.fidelity import weight_from_noise
from genprior.restoration.minimise import minimise
from genprior.restoration.problem import Problem
from genprior.restoration.search_methods import MEMORY
from genprior.restoration.search_settings import SearchSettings

TYPICAL = 0.05  # mean size of a deviation, in units of x, that costs one nat a pixel
MEGABYTES = 256  # for the state of searches: each has as many unknowns as pixels
ITERATIONS = 300  # more unknowns than the latents alone, and a cost with corners
LEAST_NOISE = 0.01  # standard deviation; without noise a deviation explains anything, and nothing limits it
ROUND = 0.01  # deviations below this share of it cost less than their absolute value: the cost has a slope everywhere


class BeyondPrior(LatentPrior):
    """A prior widened by sparse deviations, itself a prior: latents are z and v side by side, (B, k + C H W).

    The energy is that of z plus |v| / b summed over pixels, the negative log density of a Laplace distribution, which
    leaves most pixels as the prior has them (Dhar, Grover & Ermon 2018, https://arxiv.org/abs/1807.01442). How far the
    result may leave the range follows from the energy's weight, and that from the noise.

    Arguments:
        prior: What to widen.
        scale: b, mean of |v|, in units of x, above 0.
    """

    def __init__(self, prior: LatentPrior, scale: float = TYPICAL) -> None:
        self.prior, self.scale = prior, scale
        self.image_shape = prior.image_shape
        channels, height, width = prior.image_shape
        self.latent_size = prior.latent_size + channels * height * width

    def widened(self, z: Tensor) -> Tensor:
        """Returns latents (B, k + C H W) without deviation, for z (B, k)."""
        return torch.cat([z, z.new_zeros(len(z), self.latent_size - self.prior.latent_size)], 1)

    def start(self, count: int, generator: torch.Generator) -> Tensor:
        """Returns starts of the prior, without deviation."""
        return self.widened(self.prior.start(count, generator))

    def decode(self, z: Tensor) -> Tensor:
        """Returns x (B, C, H, W), which may leave [0, 1]."""
        inner, v = self._split(z)
        return self.prior.decode(inner) + self.scale * v.view(-1, *self.image_shape)

    def energy(self, z: Tensor) -> Tensor:
        """Returns the energy (B,) in nats."""
        inner, v = self._split(z)
        return self.prior.energy(inner) + ((v.square() + ROUND**2).sqrt() - ROUND).sum(1)

    def sample(self, count: int, seed: int = 0) -> Tensor:
        """Returns samples of the prior itself."""
        return self.prior.sample(count, seed)

    def _split(self, z: Tensor) -> tuple[Tensor, Tensor]:
        k = self.prior.latent_size
        return z[:, :k], z[:, k:]


def beyond_range(
    problem: Problem, who: Tensor, z: Tensor, noise_level: Tensor | None, energy_weight: float | None = None
) -> Tensor:
    """Returns x (R, C, H, W), images in [0, 1], that start at G(z) and deviate from it as far as the noise tells.

    Arguments:
        problem: What is to be explained.
        who: Image of each row (R,).
        z: Latents within the range (R, k).
        noise_level: Standard deviation of the noise (B,), or None where it is not known.
        energy_weight: At least 0; None: from the noise.
    """
    prior = BeyondPrior(problem.prior)
    level = (torch.zeros_like(problem.counts) if noise_level is None else noise_level).clamp_min(LEAST_NOISE)
    weight, follow = weight_from_noise(problem.fidelity, problem.counts, level)
    weigh = follow if energy_weight is None else None
    weight = weight if energy_weight is None else torch.full_like(weight, energy_weight)
    wide = replace(problem, prior=prior)
    settings = SearchSettings(iterations=ITERATIONS, tolerance=1e-4, candidates=len(z))
    at_once = max(1, MEGABYTES * 2**20 // (2 * MEMORY * prior.latent_size * z.element_size()))
    parts = []
    for some, rows in zip(torch.split(prior.widened(z), at_once), torch.split(who, at_once), strict=True):
        found = minimise(wide, some, rows, weight[rows], weigh, settings)
        with torch.no_grad():
            parts.append(prior.decode(found.z))
    x = torch.cat(parts)
    return x.clamp(0, 1) if x.shape[2] > 1 else x  # 2-D points have units of their own
