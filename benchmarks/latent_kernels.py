"""Which moves mix best for an evaluation: HMC as our sampler has it, MALA or pCN, on the posterior of a VAE's latents?

    python benchmarks/latent_kernels.py RUN [--images 4] [--evaluations 240] [--out FILE]

Each begins at the particles that annealing has left, and adapts its step for a quarter of its evaluations. Then
effective draws are counted over the rest, by autocorrelations of all chains together (Geyer 1992), of eight random
projections of the decoded image and of the log-density. A pCN move needs no slope: its evaluations are counted as a
third, about what they cost. R-hat compares four groups of chains in their last moves.
"""

import math
from collections.abc import Callable
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from measuring import mnist_test, parser_of, save_json
from torch import Tensor

import genprior
from genprior.restoration import latent_sampler
from genprior.restoration.fidelity import L2
from genprior.restoration.latent_sampler import POPULATIONS, between_and_within
from genprior.restoration.noise import gaussian, measure
from genprior.restoration.operators import OPERATORS
from genprior.restoration.problem import make_problem
from genprior.seeding import derived_generator
from genprior.specs import Spec

TASKS = {
    "inpaint box 14": ("inpaint:box=14", 0.1),
    "CS 50": ("compressed-sensing:m=50", 0.1),
    "denoise 0.3": ("denoise", 0.3),
}
CHAINS, FORWARD = 64, 1 / 3
WARM_UP, ACCEPTED_BY_PCN = 0.25, 0.25
Move = Callable[[Any], float]  # one move of all chains; returns the evaluations that it took


def hamiltonian(leaps: int, is_scaled: bool) -> Move:
    """Moves of so many leaps; one leap is MALA (Roberts & Tweedie 1996)."""

    def move(run: Any) -> float:
        kept, latent_sampler.LEAPS = (latent_sampler.LEAPS, run.whiten), leaps
        run.whiten = run.whiten if is_scaled else None
        run.move()
        latent_sampler.LEAPS, run.whiten = kept
        return leaps

    return move


def pcn(run: Any) -> float:
    """One move of preconditioned Crank-Nicolson (Cotter et al. 2013): a step that leaves the prior as it is."""
    step = min(run.step, 1.0)
    fresh = run._normal(run.z)
    z = math.sqrt(1 - step**2) * run.z + step * fresh
    here = run.problem.evaluate(z, run.who)
    gain = run.sharpness * (run.here.misfit - here.misfit)
    accepted = run._uniform(len(gain)).to(gain).log() < gain
    run.z, run.here = torch.where(accepted[:, None], z, run.z), here.where(accepted, run.here)
    rate = float(gain.clamp_max(0).exp().mean())
    run.step = min(max(run.step * math.exp(0.7 * (rate - ACCEPTED_BY_PCN)), 1e-4), 1.0)
    return FORWARD


KERNELS: dict[str, Move] = {
    "HMC, 4 leaps, by curvature (ours)": hamiltonian(4, True),
    "HMC, 4 leaps": hamiltonian(4, False),
    "MALA, by curvature": hamiltonian(1, True),
    "MALA": hamiltonian(1, False),
    "pCN": pcn,
}


def effective(values: Tensor) -> float:
    """Independent draws that chains (T, P, F) are worth, the mean over F; by initial positive sequences."""
    centred = values - values.mean((0, 1))
    count = len(values)
    rho = torch.stack([(centred[: count - k] * centred[k:]).mean((0, 1)) for k in range(count // 2)])
    rho = rho / rho[0].clamp_min(1e-30)
    pairs = rho[: len(rho) // 2 * 2].view(-1, 2, rho.shape[1]).sum(1)
    positive = (pairs > 0).cumprod(0)
    time = (2 * (pairs * positive).sum(0) - 1).clamp_min(1)
    return float((values.shape[0] * values.shape[1] / time).mean())


@torch.no_grad()
def walked(problem: Any, image: int, scale: float, move: Move, budget: float) -> tuple[float, float]:
    """Effective draws for an evaluation of all chains, and R-hat."""
    run = latent_sampler._Annealing(problem, image, scale, CHAINS, derived_generator(0, "kernels", image))
    while not run.is_cold and run.stages < latent_sampler.MOST_STAGES:
        run.cool()
        run.find_curvature()
        run.move()
    spent = 0.0
    while spent < WARM_UP * budget:
        spent += move(run)
    directions = torch.randn(math.prod(problem.prior.image_shape), 8, generator=derived_generator(1, "projections"))
    seen, used = [], 0.0
    while spent + used < budget:
        used += move(run)
        density = run._hamiltonian_parts()[:, None]
        seen.append(torch.cat([problem.prior.decode(run.z).flatten(1) @ directions, density], 1).double())
    between, within = between_and_within(seen[-1], POPULATIONS)
    return effective(torch.stack(seen)) / used / CHAINS, math.sqrt(1 + between / within)


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument("--evaluations", type=int, default=240)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    prior, x, rows = genprior.load_prior(options.run), mnist_test(options.images), []
    for task, (text, sigma) in TASKS.items():
        operator = Spec.parse(text).build(OPERATORS, "operator", image_shape=prior.image_shape, seed=0)
        problem = make_problem(prior, measure(x, operator, gaussian(sigma), seed=0), operator.physics, L2(), {})
        for name, move in KERNELS.items():
            found = [walked(problem, i, sigma**2, move, options.evaluations) for i in range(options.images)]
            each, r_hat = zip(*found, strict=True)
            rows.append({"task": task, "kernel": name, "effective": each, "r_hat": r_hat})
            print(
                f"{task:15} {name:34} effective draws of a chain in 100 evaluations {100 * fmean(each):.1f} "
                f"({100 * min(each):.1f} to {100 * max(each):.1f}), R-hat {fmean(r_hat):.2f}",
                flush=True,
            )
    save_json(options.out, rows)


if __name__ == "__main__":
    main()
