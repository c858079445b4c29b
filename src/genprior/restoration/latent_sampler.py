"""Draws of latents from their posterior, by annealing a population of them. Knows problems and seeds.

The posterior of a latent z is exp(-misfit(z) / s - energy(z)), up to a factor, where s is the scale of the noise.
Particles begin as draws of the prior, for which s is infinite. It falls in steps, as far as their weights allow; the
likely particles are doubled, the others dropped (sequential Monte Carlo, Del Moral et al. 2006), and all are moved by
Hamiltonian Monte Carlo (Neal 2011, https://arxiv.org/abs/1206.1901). Directions are scaled by the curvature of the
data term, averaged over the particles. So draws reach several modes, and have their weights.

What a prior cannot represent acts as noise: where s would fall below the residual that the particles leave, it stops
there, and is drawn with the rest. Particles live in populations that never meet: where these disagree at the end, the
draws are no draws of the posterior yet.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from genprior.restoration.problem import ROWS_AT_ONCE, MisfitAndEnergy, Problem

POPULATIONS = 4
LEAST_PARTICLES = 64  # in all: fewer find no second mode
WORTH = 0.5  # share of the particles that a step leaves effective
MOST_STAGES = 100
LEAPS = 4  # evaluations of a trajectory
LAST_TRAJECTORIES = 6
ACCEPTED = 0.75  # share of trajectories
FIRST_STEP, LEAST_STEP, MOST_STEP = 0.7, 0.01, 1.5
MOST_DENSE = 1024  # latents of more dimensions are moved without the curvature
KEPT = 0.5  # share of the curvature that is kept from stage to stage
DEVIATIONS = 3.0  # of the residual, beyond which the prior leaves something
LEAST_SCALE = 1e-6  # of the square of a residual: less is no noise
MIXED = 1.2  # R-hat up to which populations agree


@dataclass(frozen=True)
class LatentDraws:
    """Draws of the latents of one image.

    Attributes:
        z: (S, k), in random order.
        scale: Of the noise with each (S,).
        r_hat: Potential scale reduction of the populations (Gelman & Rubin 1992), of log-densities or of images,
            whichever is larger; 1 where they agree, `MIXED` at most where they do well enough. None: each draw was
            made by itself.
        effective: Independent draws that the populations are worth, at most as many as there are particles.
        evaluations: Of the objective, for each particle.
    """

    z: Tensor
    scale: Tensor
    r_hat: float | None
    effective: float
    evaluations: int


@torch.no_grad()
def draw_latents(
    problem: Problem, image: int, scale: float | None, count: int, generator: torch.Generator
) -> LatentDraws:
    """Returns draws of the latents of one image, the same whatever is restored beside it.

    Arguments:
        problem: What is to be explained.
        image: Place of the image in the problem.
        scale: Of the noise, at least 0; None where it is not known.
        count: S, at least 1.
        generator: All that is random comes from it.
    """
    run = _Annealing(problem, image, scale, _particles(count), generator)
    while not run.is_cold and run.stages < MOST_STAGES:
        run.cool()
        run.find_curvature()
        run.move()
    for _ in range(LAST_TRAJECTORIES):
        run.move()
        run.draw_scale()
    r_hat, effective = run.agreement()
    if r_hat > MIXED:
        run.exchange()
    chosen = torch.randperm(len(run.z), generator=generator)[:count]
    return LatentDraws(run.z[chosen], run.scale[chosen], r_hat, effective, run.evaluations)


def _particles(count: int) -> int:
    return max(LEAST_PARTICLES, -(-count // POPULATIONS) * POPULATIONS)


class _Annealing:
    """Particles (P, k) of one image, all populations one after another, and what the objective is at each."""

    def __init__(
        self, problem: Problem, image: int, scale: float | None, particles: int, generator: torch.Generator
    ) -> None:
        self.problem, self.generator = problem, generator
        self.who = torch.full((particles,), image, device=problem.y.device)
        self.z = torch.cat([problem.prior.draw(generator) for _ in range(particles)]).to(problem.y)
        self.here, self.evaluations = problem.evaluate(self.z, self.who), 1
        self.coldest = 1 / max(LEAST_SCALE, 0.0 if scale is None else scale)
        self.sharpness = torch.zeros_like(self.here.misfit)  # 1 / s, of each particle
        self.is_cold, self.is_inflated, self.stages = False, False, 0
        self.step = FIRST_STEP
        self.log_weights = torch.zeros(POPULATIONS, dtype=torch.float64)
        self.curvature: Tensor | None = None
        self.whiten: Tensor | None = None

    @property
    def scale(self) -> Tensor:
        """Of the noise with each particle (P,)."""
        return 1 / self.sharpness

    def cool(self) -> None:
        """Sharpens the data term as far as `WORTH` allows, and gives each population new particles by weight."""
        misfit, now = self.here.misfit.double(), float(self.sharpness[0])
        by = _largest_step(misfit, self.coldest - now)
        weight = -by * misfit
        groups = weight.view(POPULATIONS, -1)
        self.log_weights += (torch.logsumexp(groups, 1) - math.log(groups.shape[1])).cpu()
        self._take(torch.cat([self._chosen(own) + len(own) * i for i, own in enumerate(groups)]))
        self.sharpness = torch.full_like(self.sharpness, now + by)
        self.stages += 1
        self.is_cold = now + by >= self.coldest * (1 - 1e-9)
        self._stop_at_residual()

    def _stop_at_residual(self) -> None:
        """Ends the cooling where the particles leave more than the noise: that is what the prior cannot represent."""
        count = float(self.problem.counts[self.who[0]])
        shown = float(self.problem.fidelity.scale(self.here.misfit.mean() / count))
        if shown * float(self.sharpness[0]) > 1 + DEVIATIONS * math.sqrt(2 / count):
            self.sharpness.fill_(1 / shown)
            self.is_cold = self.is_inflated = True

    def _chosen(self, log_weight: Tensor) -> Tensor:
        """Places of a population's new particles (n,), by systematic resampling (Kitagawa 1996)."""
        ends = torch.softmax(log_weight, 0).cumsum(0)
        points = (self._uniform(1).to(ends) + torch.arange(len(ends)).to(ends)) / len(ends)
        return torch.searchsorted(ends, points).clamp_max(len(ends) - 1)

    def _take(self, places: Tensor) -> None:
        self.z, self.here = self.z[places], self.here.taken(places)

    def find_curvature(self) -> None:
        """Averages J^T A^T W A J over the particles, W the data term's curvature, and scales directions by it."""
        if self.z.shape[1] > MOST_DENSE:
            return
        slopes = self._random_slopes()
        new = slopes.T @ slopes / len(slopes)
        self.curvature = new if self.curvature is None else KEPT * self.curvature + (1 - KEPT) * new
        unit = torch.eye(len(new)).to(new)
        factor = torch.linalg.cholesky(unit + self.sharpness[0] * self.curvature)
        self.whiten = torch.linalg.solve_triangular(factor, unit, upper=False).T  # T T^T is the inverse curvature

    @torch.enable_grad()
    def _random_slopes(self) -> Tensor:
        """J^T A^T v (P, k) with v standard normal: the mean of their squares is J^T A^T A J."""
        parts = []
        for z, who in zip(torch.split(self.z, ROWS_AT_ONCE), torch.split(self.who, ROWS_AT_ONCE), strict=True):
            z = z.detach().requires_grad_()
            prediction = self.problem.predict(z, who)
            v = self._normal(prediction) * self.problem.seen[who]
            parts.append(torch.autograd.grad(prediction, z, v)[0])
        self.evaluations += 1
        return torch.cat(parts)

    def move(self) -> None:
        """One trajectory of each particle, accepted or not."""
        start, u, z, here = self._hamiltonian_parts(), self._normal(self.z), self.z, self.here
        step = self.step * (0.8 + 0.4 * float(self._uniform(1)))
        before = start + 0.5 * u.square().sum(1)
        for _ in range(LEAPS):
            u = u - 0.5 * step * self._pull(here)
            z = z + step * (u if self.whiten is None else u @ self.whiten.T)
            here = self.problem.evaluate(z, self.who)
            u = u - 0.5 * step * self._pull(here)
        self.evaluations += LEAPS
        gain = before - (self.sharpness * here.misfit + here.energy + 0.5 * u.square().sum(1))
        gain = torch.where(gain.isfinite(), gain, -torch.inf)
        accepted = self._uniform(len(gain)).to(gain).log() < gain
        self.z = torch.where(accepted[:, None], z, self.z)
        self.here = here.where(accepted, self.here)
        rate = float(gain.clamp_max(0).exp().mean())
        self.step = min(max(self.step * math.exp(0.7 * (rate - ACCEPTED)), LEAST_STEP), MOST_STEP)

    def _hamiltonian_parts(self) -> Tensor:
        return self.sharpness * self.here.misfit + self.here.energy

    def _pull(self, here: MisfitAndEnergy) -> Tensor:
        """The slope of the objective (P, k) in scaled directions."""
        slope = self.sharpness[:, None] * here.misfit_slope + here.energy_slope
        return slope if self.whiten is None else slope @ self.whiten

    def draw_scale(self) -> None:
        """Draws the scale with each particle where the noise is not known or not all: an inverse gamma, from s on.

        The data term is -log p(y) up to n log s, where n is half of the measurements for a squared residual and all of
        them for an absolute one; the prior of s is 1 / s.
        """
        if not self.is_inflated:
            return
        from scipy.special import gammainc, gammaincinv

        count = self.problem.counts[self.who]
        misfit = self.here.misfit.clamp_min(LEAST_SCALE**2)
        shape = (misfit / self.problem.fidelity.scale(misfit / count)).double().cpu().numpy()
        least = gammainc(shape, (self.coldest * misfit).double().cpu().numpy())
        drawn = gammaincinv(shape, self._uniform(len(misfit)).double().numpy() * least)
        sharpness = torch.from_numpy(drawn).to(misfit) / misfit
        self.sharpness = torch.where(sharpness > 0, sharpness, self.coldest)  # where the tail is below any number

    def agreement(self) -> tuple[float, float]:
        """Returns R-hat and the effective number of draws."""
        x = torch.cat([self.problem.prior.decode(part) for part in torch.split(self.z, ROWS_AT_ONCE)]).flatten(1)
        density = self._hamiltonian_parts()[:, None]
        found = [between_and_within(each.double(), POPULATIONS) for each in (x, density)]
        r_hat = max(math.sqrt(1 + between / within) if within > 0 else math.inf for between, within in found)
        between, within = found[0]
        effective = min(float(len(x)), POPULATIONS * within / between) if between > 0 else float(len(x))
        return r_hat, effective

    def exchange(self) -> None:
        """Draws all particles anew from populations by their evidence: those that disagree are not equally likely."""
        share = torch.softmax(self.log_weights, 0).repeat_interleave(len(self.z) // POPULATIONS)
        self._take(self._chosen(share.log().to(self.z.device)))
        self.move()

    def _uniform(self, count: int) -> Tensor:
        return torch.rand(count, generator=self.generator)

    def _normal(self, like: Tensor) -> Tensor:
        return torch.randn(like.shape, generator=self.generator).to(like)


def _largest_step(misfit: Tensor, most: float) -> float:
    """Returns the step of 1 / s, at most `most`, that leaves `WORTH` of the particles effective (Jasra et al. 2011)."""

    def effective(by: float) -> float:
        return float(1 / torch.softmax(-by * misfit, 0).square().sum())

    wanted = WORTH * len(misfit)
    if effective(most) >= wanted:
        return most
    low, high = 0.0, most
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if effective(middle) >= wanted else (low, middle)
    return low


def between_and_within(values: Tensor, groups: int) -> tuple[float, float]:
    """Returns the variance of the groups' means and the mean variance in the groups, summed over columns.

    Arguments:
        values: (P, F), the groups one after another, equally large.
        groups: At least 2.
    """
    own = values.view(groups, -1, values.shape[1])
    return float(own.mean(1).var(0).sum()), float(own.var(1).mean(0).sum())
