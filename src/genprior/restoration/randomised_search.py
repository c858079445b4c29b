"""Latents by many searches, each from a draw of the prior to a measurement with noise of its own. Knows problems.

Every search minimises misfit / s + |z - a|^2 / 2, where a is a draw of the prior and the measurement has fresh noise
(randomise then optimise, Bardsley et al. 2014, https://doi.org/10.1137/140964023). Where the prior decodes linearly
these are exact draws of the posterior; elsewhere they are near. They keep the typical norm of latents, which the most
likely z does not have: in 784 dimensions its images are no likely images.
"""

from dataclasses import replace

import torch
from torch import Tensor

from genprior.priors.contracts import LatentPrior
from genprior.restoration.fidelity import noise_scale
from genprior.restoration.latent_sampler import LatentDraws
from genprior.restoration.minimise import minimise
from genprior.restoration.problem import Problem
from genprior.restoration.search_settings import SearchSettings

ITERATIONS = 15  # in each form of the prior


class Anchored(LatentPrior):
    """A prior whose energy is that of a standard normal around an anchor; latents are z and a side by side (B, 2 k).

    Arguments:
        prior: Decodes; its density of z is standard normal.
    """

    def __init__(self, prior: LatentPrior) -> None:
        self.prior, self.image_shape, self.latent_size = prior, prior.image_shape, 2 * prior.latent_size

    def start(self, count: int, generator: torch.Generator) -> Tensor:
        """Returns z and anchors (count, 2 k), both the same draws of the prior."""
        z = torch.cat([self.prior.draw(generator) for _ in range(count)])
        return torch.cat([z, z], 1)

    def decode(self, z: Tensor) -> Tensor:
        """Returns x (B, C, H, W) of z alone."""
        return self.prior.decode(z.chunk(2, 1)[0])

    def energy(self, z: Tensor) -> Tensor:
        """Returns |z - a|^2 / 2 (B,)."""
        own, anchor = z.chunk(2, 1)
        return 0.5 * (own - anchor.detach()).square().sum(1)


@torch.no_grad()
def randomised_latents(
    problem: Problem, image: int, level: float, count: int, generator: torch.Generator
) -> LatentDraws:
    """Returns nearly drawn latents of one image; each search goes through the prior's easier forms.

    Arguments:
        problem: What is to be explained.
        image: Place of the image in the problem.
        level: Standard deviation of the noise, above 0.
        count: Of draws, at least 1.
        generator: All that is random comes from it.
    """
    z = Anchored(problem.prior).start(count, generator).to(problem.y)
    who = torch.full((count,), image, device=problem.y.device)
    fresh = level * torch.randn(count, problem.y.shape[1], generator=generator).to(problem.y)
    parts = torch.arange(count, device=problem.y.device)

    def measure(x: Tensor, rows: Tensor) -> Tensor:
        return problem.measure(x, who[rows])

    own = replace(problem, measure=measure, y=problem.y[who] + fresh * problem.seen[who], seen=problem.seen[who])
    settings = SearchSettings(iterations=ITERATIONS, tolerance=0.0, candidates=count)  # none is dropped
    forms = (*problem.prior.easier, (problem.prior, level))
    for prior, noise in forms:
        weight = noise_scale(problem.fidelity, problem.y.new_full((count,), max(noise, level)))
        z = minimise(replace(own, prior=Anchored(prior)), z, parts, weight, None, settings).z
    scale = noise_scale(problem.fidelity, problem.y.new_full((count,), level))
    return LatentDraws(z.chunk(2, 1)[0], scale, None, float(count), ITERATIONS * len(forms))
