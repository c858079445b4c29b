"""Images beyond a prior's range: one that it has found, and a deviation with few edges. Knows priors and problems."""

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from genprior.errors import GenpriorError
from genprior.priors.contracts import LatentPrior
from genprior.restoration.fidelity import noise_scale
from genprior.restoration.minimise import minimise
from genprior.restoration.problem import Problem
from genprior.restoration.search_methods import MEMORY
from genprior.restoration.search_settings import SearchSettings

PRIOR_SHARE = 0.3  # of the energy that counts edges of x - G(z); the rest counts those of x itself
MEGABYTES = 256  # for the state of searches: each has as many unknowns as pixels
ITERATIONS = 300  # more unknowns than latents, and a cost with corners
LEAST_NOISE = 0.01  # standard deviation; without noise a deviation explains anything, and nothing limits it
ROUND = 0.003  # edges below this, in units of x, cost less than their height: the cost has a slope everywhere
SURELY = 2  # standard deviations of the mean square of noise


class PriorImage(LatentPrior):
    """Images near one that a prior has found: latents are that image g and a deviation v side by side, (B, 2 C H W).

    The energy is `PRIOR_SHARE` TV(v) + (1 - `PRIOR_SHARE`) TV(g + v), TV the isotropic total variation of each channel:
    images have few edges, and most of them are where the prior has them (prior image constrained compressed sensing,
    Chen, Tang & Leng 2008, https://doi.org/10.1118/1.2836423). Where nothing is measured the deviation goes on smoothly
    from what is around. g stays as it is; it is carried along because searches that have ended leave their batch.

    Arguments:
        image_shape: (C, H, W).
    """

    def __init__(self, image_shape: tuple[int, int, int]) -> None:
        self.image_shape = image_shape
        channels, height, width = image_shape
        self.latent_size = 2 * channels * height * width

    def widened(self, x: Tensor) -> Tensor:
        """Returns latents (B, 2 C H W) without deviation, for images of the prior (B, C, H, W)."""
        return torch.cat([x.flatten(1), torch.zeros_like(x).flatten(1)], 1)

    def start(self, count: int, generator: torch.Generator) -> Tensor:
        """Returns black images without deviation: a search begins at an image of the prior instead."""
        return torch.zeros(count, self.latent_size)

    def decode(self, z: Tensor) -> Tensor:
        """Returns x (B, C, H, W), which may leave [0, 1]."""
        g, v = self._split(z)
        return g + v

    def energy(self, z: Tensor) -> Tensor:
        """Returns the energy (B,), in units of x times pixels."""
        g, v = self._split(z)
        return PRIOR_SHARE * total_variation(v) + (1 - PRIOR_SHARE) * total_variation(g + v)

    def sample(self, count: int, seed: int = 0, first: int = 0) -> Tensor:
        """Returns black images: it knows no others."""
        return torch.zeros(count, *self.image_shape)

    def _split(self, z: Tensor) -> tuple[Tensor, Tensor]:
        g, v = z.view(-1, 2, *self.image_shape).unbind(1)
        return g.detach(), v


def total_variation(x: Tensor) -> Tensor:
    """Returns the isotropic total variation (B,) of images (B, C, H, W), each channel alone (Rudin et al. 1992).

    Its corners are rounded within `ROUND`.
    """
    return ((_slopes(x).square().sum(0) + ROUND**2).sqrt() - ROUND).flatten(1).sum(1)


def _slopes(x: Tensor) -> Tensor:
    """Differences (2, B, C, H, W) to the pixel below and to the one on the right; 0 at the last ones."""
    below = F.pad(x.diff(dim=-2), (0, 0, 0, 1))
    return torch.stack([below, F.pad(x.diff(dim=-1), (0, 1))])


def needs_more(error: Tensor, noise_level: Tensor, counts: Tensor) -> Tensor:
    """Returns which images (B,) leave a residual that noise surely does not explain: the prior cannot represent them.

    Arguments:
        error: Root mean square (B,) of the residual.
        noise_level: Standard deviation of the noise (B,).
        counts: Number of measurements (B,).
    """
    return error.square() * counts > noise_level.square() * (counts + SURELY * (2 * counts).sqrt())


def own_edges(g: Tensor, x: Tensor) -> Tensor:
    """Returns how many pixels (B,) of images have edges that are neither absent nor those of the prior.

    A flat piece counts once among the degrees of freedom of total variation (Tibshirani & Taylor 2012,
    https://doi.org/10.1214/12-AOS1003), and so does one that goes as the prior has it; here its border counts, which is
    a little too many.

    Arguments:
        g: Images of the prior (B, C, H, W).
        x: What `beyond_range` made of them (B, C, H, W).
    """
    both = (_slopes(x).abs().amax(0) > ROUND) & (_slopes(x - g).abs().amax(0) > ROUND)
    return both.flatten(1).sum(1)


def beyond_range(problem: Problem, who: Tensor, x: Tensor, noise_level: Tensor) -> Tensor:
    """Returns images (R, C, H, W) in [0, 1] that begin at images of the prior and deviate as far as the noise tells.

    With s the standard deviation of the noise an edge weighs s times its height beside a squared data term; beside
    others as much as that is of the scale of the noise.

    Arguments:
        problem: What is to be explained.
        who: Image of each row (R,).
        x: What the prior has found (R, C, H, W).
        noise_level: Standard deviation of the noise of each of the problem's images (B,).

    Raises:
        GenpriorError: The prior is one of points.
    """
    if x.shape[2] == 1:
        raise GenpriorError("goes with images, this prior makes points", argument="beyond")
    prior = PriorImage(problem.prior.image_shape)
    level = noise_level.clamp_min(LEAST_NOISE)
    weight = noise_scale(problem.fidelity, level) / level
    wide = replace(problem, prior=prior)
    settings = SearchSettings(iterations=ITERATIONS, tolerance=1e-4, candidates=max(1, len(x)))
    at_once = max(1, MEGABYTES * 2**20 // (2 * MEMORY * prior.latent_size * x.element_size()))
    parts = []
    for some, rows in zip(torch.split(x, at_once), torch.split(who, at_once), strict=True):
        found = minimise(wide, prior.widened(some), rows, weight[rows], None, settings)
        parts.append(prior.decode(found.z))
    return torch.cat(parts).clamp(0, 1)
