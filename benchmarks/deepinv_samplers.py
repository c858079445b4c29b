"""Samplers of posteriors that deepinv has, with a mixture's exact denoiser as their prior, and the settings to try.

A library, not a script: it measures nothing by itself. `SAMPLERS`, at the end, is the place to add one.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import torch
from deepinv.optim import L2, ScorePrior
from deepinv.physics import CompressedSensing, LinearPhysics
from deepinv.sampling import (
    DDRM,
    DPS,
    AncestralSolver,
    DDPMSolver,
    DiffPIR,
    MomentMatchingDataFidelity,
    PiGDMDataFidelity,
    PosteriorDiffusion,
    VariancePreservingDiffusion,
    sampling_builder,
)
from torch import Tensor, nn

from genprior.models.factor_analysers import FactorAnalysers

FLOOR = 0.02**2  # variance of a pixel, at least: no score is steeper than one over it
LONG, STAGES = 2000, 10  # evaluations of a Langevin walk; those in a step of SKROCK
STEPS = 200  # of a diffusion
Settings = Mapping[str, float]


class ExactDenoiser(nn.Module):
    """E[x | x + s n] of a mixture of factor analysers, all components at once, differentiable, in float64.

    With S_c = F F^T + diag(d), d = noise + s^2, it is x - s^2 sum_c p(c | x) S_c^-1 (x - m_c) (Tweedie), and S_c^-1 by
    Woodbury's identity.

    Arguments:
        model: The mixture.
        image_shape: (C, H, W).
    """

    def __init__(self, model: FactorAnalysers, image_shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.model, self.image_shape = model.double(), image_shape
        self._known: tuple[float, tuple[Tensor, ...]] | None = None

    def forward(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        """Returns E[x | x_noisy] (B, C, H, W), in the dtype of x; one sigma above 0 for all images."""
        s = float(sigma if isinstance(sigma, (int, float)) else sigma.flatten()[0])
        means, flat = self.model.means, x.flatten(1).double()
        d, weighted, inner, constant = self._prepared(s)
        count, rank = self.model.count, self.model.rank
        v = (flat @ weighted.flatten(1)).view(-1, count, rank) - torch.einsum("kd,dkr->kr", means, weighted)
        t = torch.einsum("bkr,krq->bkq", v, inner)
        square = flat.square() @ (1 / d).T - 2 * flat @ (means / d).T + (means.square() / d).sum(1)
        p = torch.softmax(constant - 0.5 * (square - (v * t).sum(2)), 1)
        explained = p @ (means / d) + (p[:, :, None] * t).flatten(1) @ weighted.flatten(1).T
        found = flat - s**2 * ((p @ (1 / d)) * flat - explained)
        return found.view_as(x).to(x)

    def denoise(self, x_noisy: Tensor, sigma: Tensor | float) -> Tensor:
        """The same, as our samplers call it."""
        return self(x_noisy, sigma)

    @torch.no_grad()
    def _prepared(self, s: float) -> tuple[Tensor, ...]:
        """d (K, D), F / d (D, K, r), (1 + F^T F / d)^-1 (K, r, r), and log weights less half of log det S (K,)."""
        if self._known is None or self._known[0] != s:
            own = self.model
            d = own.noise + s**2
            weighted = own.factors / d[:, :, None]
            inner = torch.eye(own.rank).double() + own.factors.transpose(1, 2) @ weighted
            constant = own.weights.log() - 0.5 * (d.log().sum(1) + torch.logdet(inner))
            self._known = s, (d, weighted.transpose(0, 1).contiguous(), torch.linalg.inv(inner), constant)
        return self._known[1]


@dataclass(frozen=True)
class Method:
    """A sampler.

    Attributes:
        draw: (denoiser, y (R, ...), physics with its noise, settings) -> one draw (R, C, H, W) for each row.
        grid: Settings that are tried.
        evaluations: Of the denoiser for a draw, in words.
        fits: Whether it takes an operator.
    """

    draw: Callable[[ExactDenoiser, Tensor, LinearPhysics, Settings], Tensor]
    grid: Mapping[str, Sequence[float]]
    evaluations: str
    fits: Callable[[LinearPhysics], bool] = lambda physics: True

    def settings(self) -> list[dict[str, float]]:
        """Returns all of the grid."""
        return [dict(zip(self.grid, values, strict=True)) for values in product(*self.grid.values())]


def steepest(denoiser: ExactDenoiser, physics: LinearPhysics, sigma: float) -> float:
    """Returns the Lipschitz constant of the posterior's score, at most, with a denoiser of level sigma."""
    probe = torch.rand(1, *denoiser.image_shape, generator=torch.Generator().manual_seed(0))
    norm = float(physics.compute_sqnorm(probe, verbose=False))
    return 1 / (FLOOR + sigma**2) + norm / float(physics.noise_model.sigma) ** 2


def _walk(
    name: str, denoiser: ExactDenoiser, y: Tensor, physics: LinearPhysics, step: float, own: Settings, length: int
) -> Tensor:
    """The last state of a chain for each row."""
    chain = sampling_builder(
        name,
        data_fidelity=L2(sigma=float(physics.noise_model.sigma)),
        prior=ScorePrior(denoiser),
        params_algo={"step_size": step, "alpha": 1.0, **own},
        max_iter=length,
        burnin_ratio=0.99,
        thinning=1,
        history_size=1,
        clip=(-1.0, 2.0),
    )
    chain.sample(y, physics)
    last: Tensor = chain.get_chain()[-1]["x"]
    return last


def ula(denoiser: ExactDenoiser, y: Tensor, physics: LinearPhysics, settings: Settings) -> Tensor:
    """Unadjusted Langevin; `step` counts in the largest that its documentation allows."""
    step = settings["step"] / steepest(denoiser, physics, settings["sigma"])
    return _walk("ULA", denoiser, y, physics, step, {"sigma": settings["sigma"]}, LONG)


def skrock(denoiser: ExactDenoiser, y: Tensor, physics: LinearPhysics, settings: Settings) -> Tensor:
    """Stabilised Langevin; `step` counts in the largest that Pereyra et al. 2020 (section 3.2) allow for its stages."""
    eta = 0.05
    longest = ((STAGES - 0.5) ** 2 * (2 - 4 / 3 * eta) - 1.5) / steepest(denoiser, physics, settings["sigma"])
    own = {"sigma": settings["sigma"], "eta": eta, "inner_iter": STAGES}
    return _walk("SKRock", denoiser, y, physics, settings["step"] * longest, own, LONG // STAGES)


def diffpir(denoiser: ExactDenoiser, y: Tensor, physics: LinearPhysics, settings: Settings) -> Tensor:
    """DiffPIR with 100 steps, as is its default."""
    level = float(physics.noise_model.sigma)
    model = DiffPIR(denoiser, L2(), sigma=level, zeta=settings["zeta"], lambda_=settings["lambda"])
    found: Tensor = model(y, physics)
    return found


def ddrm(denoiser: ExactDenoiser, y: Tensor, physics: LinearPhysics, settings: Settings) -> Tensor:
    """DDRM with 100 levels, as is its default."""
    found: Tensor = DDRM(denoiser, eta=settings["eta"], etab=settings["etab"])(y, physics)
    return found


def _times() -> Tensor:
    """From 1 to 0, denser near 0: evenly spaced, 200 times end at noise that covers the finest of the prior."""
    return torch.linspace(1, 0, STEPS + 1, dtype=torch.float64) ** 2


def dps(denoiser: ExactDenoiser, y: Tensor, physics: LinearPhysics, settings: Settings) -> Tensor:
    """DPS with the guidance whose weight is about 1 by its documentation."""
    model = DPS(denoiser, solver=DDPMSolver(_times()), weight=settings["weight"], guidance="annealed")
    found: Tensor = model(y, physics, x_init=(len(y), *denoiser.image_shape))
    return found.float()


def dps_by_norm(denoiser: ExactDenoiser, y: Tensor, physics: LinearPhysics, settings: Settings) -> Tensor:
    """DPS as published, guided by the norm of the residual."""
    model = DPS(denoiser, solver=DDPMSolver(_times()), weight=settings["weight"], guidance="norm")
    found: Tensor = model(y, physics, x_init=(len(y), *denoiser.image_shape))
    return found.float()


def _diffused(
    denoiser: ExactDenoiser, y: Tensor, physics: LinearPhysics, fidelity: nn.Module, settings: Settings
) -> Tensor:
    solver = AncestralSolver(timesteps=_times())
    sde = VariancePreservingDiffusion(alpha=1.0)
    model = PosteriorDiffusion(data_fidelity=fidelity, denoiser=denoiser, sde=sde, solver=solver)
    found: Tensor = model(y, physics, x_init=(len(y), *denoiser.image_shape))
    return found.float()


def pigdm(denoiser: ExactDenoiser, y: Tensor, physics: LinearPhysics, settings: Settings) -> Tensor:
    """Pseudo-inverse guidance."""
    return _diffused(denoiser, y, physics, PiGDMDataFidelity(denoiser, weight=settings["weight"]), settings)


def moments(denoiser: ExactDenoiser, y: Tensor, physics: LinearPhysics, settings: Settings) -> Tensor:
    """Moment matching by the denoiser's Jacobian."""
    fidelity = MomentMatchingDataFidelity(denoiser, cg_max_iter=int(settings["rounds"]))
    return _diffused(denoiser, y, physics, fidelity, settings)


def _has_svd(physics: LinearPhysics) -> bool:
    return not isinstance(physics, CompressedSensing)


SAMPLERS: dict[str, Method] = {
    "ULA": Method(ula, {"sigma": (0.01,), "step": (0.5, 1.0)}, f"{LONG}"),
    "SKROCK": Method(skrock, {"sigma": (0.01,), "step": (0.3, 0.8)}, f"{LONG}"),
    "DiffPIR": Method(diffpir, {"zeta": (0.1, 0.5, 1.0), "lambda": (0.5, 2.0, 7.0, 20.0)}, "100"),
    "DDRM": Method(ddrm, {"eta": (0.7, 0.85, 1.0), "etab": (0.7, 1.0)}, "100", _has_svd),
    "DPS": Method(dps, {"weight": (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)}, f"{STEPS} and backward"),
    "DPS, norm": Method(dps_by_norm, {"weight": (30.0, 100.0, 300.0, 1000.0)}, f"{STEPS} and backward"),
    "PiGDM": Method(pigdm, {"weight": (1.0, 2.0, 4.0, 8.0)}, f"{STEPS} and backward"),
    "moment matching": Method(moments, {"rounds": (3,)}, f"{STEPS} and 4 times backward"),
}
