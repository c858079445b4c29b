"""Solvers that others published for flow matching, and deepinv's plug-and-play, on one network beside ours.

    python benchmarks/flow_solvers.py RUN [--images 12] [--draws 4] [--only TASK ...] [--json FILE]

All see the same measurements of MNIST test digits, with the level of the noise known. Settings of each are those of its
grid with the smallest error on ten other digits: a choice that no user can make, and ours is not given.
"""

import itertools
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from measuring import parser_of, save_json
from restoring_methods import Case, drawn, largest_singular_value, plug_and_play
from torch import Tensor

import genprior
from genprior.evaluation.image_quality import psnr
from genprior.priors.flow_matching_prior import FlowMatchingPrior
from genprior.restoration.operators import OPERATORS
from genprior.specs import Spec
from restoration import SHAPE, TASKS, TUNED_ON

HARD = ("inpaint box 14", "inpaint 80 % random", "downsample 4", "compressed sensing 50")
ROUNDS = 40  # of conjugate gradients
Settings = Mapping[str, float]


class Solver(NamedTuple):
    """One way to restore.

    Attributes:
        restore: Prior, case, settings and a generator -> images (B, C, H, W), one draw or one estimate.
        grid: Values of each setting.
        is_random: Whether several of its images are draws, whose mean is an estimate.
    """

    restore: Callable[[FlowMatchingPrior, Case, Settings, torch.Generator], Tensor]
    grid: Mapping[str, tuple[float, ...]]
    is_random: bool


class Path01:
    """Images u_t = t u + (1 - t) n on the straight path from noise to images u of mean 0 and variance 1."""

    def __init__(self, prior: FlowMatchingPrior, steps: int, generator: torch.Generator) -> None:
        self.prior, self.generator = prior, generator
        self.spread = float(prior.field.spread)
        self.times = [(i + 0.5) / steps for i in range(steps)]

    def noise(self, x: Tensor) -> Tensor:
        return torch.randn(x.shape, generator=self.generator)

    def denoised(self, x: Tensor, t: float) -> Tensor:
        """E[image | x + spread (1 - t) / t n], for an image x that has that noise."""
        with torch.no_grad():
            return self.prior.denoise(x, self.level(t))

    def level(self, t: float) -> float:
        return self.spread * (1 - t) / t


def pnp_flow(prior: FlowMatchingPrior, case: Case, settings: Settings, generator: torch.Generator) -> Tensor:
    """PnP-Flow (Martin et al. 2025, https://arxiv.org/abs/2410.02423), 100 steps, five interpolations in each."""
    path, norm = Path01(prior, 100, generator), largest_singular_value(case)
    x = case.adjoint(case.y)
    for t in path.times:
        z = x - settings["rate"] * (1 - t) ** settings["alpha"] * case.adjoint(case.apply(x) - case.y) / norm**2
        each = [path.denoised(z + path.level(t) * path.noise(z), t) for _ in range(5)]
        x = torch.stack(each).mean(0)
    return x


def flower(prior: FlowMatchingPrior, case: Case, settings: Settings, generator: torch.Generator) -> Tensor:
    """Flower (Pourya et al. 2025, https://arxiv.org/abs/2509.26287), 100 steps, with its Gaussian draw (gamma 1)."""
    path = Path01(prior, 100, generator)
    x = path.level(path.times[0]) * path.noise(case.x)
    for t, following in itertools.pairwise([*path.times, 1.0]):
        about = path.denoised(x, t)
        deviation = settings["width"] * path.spread * (1 - t) / (t**2 + (1 - t) ** 2) ** 0.5
        about = gaussian_draw(case, about, deviation, generator)
        x = about + (path.level(following) * path.noise(x) if following < 1 else 0.0)
    return x


def gaussian_draw(case: Case, mean: Tensor, deviation: float, generator: torch.Generator) -> Tensor:
    """A draw of N(mean, deviation^2) given the measurement, by perturbing both and conjugate gradients."""
    y = case.y + case.sigma * torch.randn(case.y.shape, generator=generator)
    prior = mean + deviation * torch.randn(mean.shape, generator=generator)
    ratio = (deviation / max(case.sigma, 1e-3)) ** 2

    def curvature(x: Tensor) -> Tensor:
        return x + ratio * case.adjoint(case.apply(x))

    x = prior
    left = ratio * case.adjoint(y - case.apply(x))
    direction, size = left, left.flatten(1).square().sum(1)
    for _ in range(ROUNDS):
        along = curvature(direction)
        step = size / (along * direction).flatten(1).sum(1).clamp_min(1e-30)
        x = x + step[:, None, None, None] * direction
        left = left - step[:, None, None, None] * along
        new = left.flatten(1).square().sum(1)
        direction = left + (new / size.clamp_min(1e-30))[:, None, None, None] * direction
        size = new
    return x


def flow_dps(prior: FlowMatchingPrior, case: Case, settings: Settings, generator: torch.Generator) -> Tensor:
    """FlowDPS (Kim et al. 2025, https://arxiv.org/abs/2503.08136), 100 steps, three gradient steps in each."""
    path, norm = Path01(prior, 100, generator), largest_singular_value(case)
    x = path.level(path.times[0]) * path.noise(case.x)
    for t, following in itertools.pairwise([*path.times, 1.0]):
        clean = path.denoised(x, t)
        noise = (x - clean) / path.level(t)
        nearer = clean
        for _ in range(3):
            nearer = nearer - settings["rate"] * case.adjoint(case.apply(nearer) - case.y) / norm**2
        mixed = t * clean + (1 - t) * nearer
        left = 1 - following
        fresh = left**0.5 * noise + (1 - left) ** 0.5 * path.noise(x)
        x = mixed + (path.level(following) * fresh if following < 1 else 0.0)
    return x


def dpir(prior: FlowMatchingPrior, case: Case, settings: Settings, _: torch.Generator) -> Tensor:
    """Plug-and-play of deepinv; see `plug_and_play`."""
    return plug_and_play(prior, case, (settings["first"], settings["weight"], int(settings["rounds"])))


SOLVERS: dict[str, Solver] = {
    "plug-and-play (DPIR)": Solver(
        dpir, {"first": (0.2, 1.0, 3.0), "weight": (1.0, 4.0, 16.0), "rounds": (8, 40)}, False
    ),
    "PnP-Flow": Solver(pnp_flow, {"alpha": (0.2, 1.0), "rate": (1.0, 1.9)}, False),
    "FlowDPS": Solver(flow_dps, {"rate": (0.1, 0.5, 1.0, 1.9)}, True),
    "Flower": Solver(flower, {"width": (0.5, 1.0, 2.0)}, True),
}


def chosen(solver: Solver, prior: FlowMatchingPrior, case: Case) -> dict[str, float]:
    """Returns the settings of the grid with the smallest error on images that are known."""
    options = [dict(zip(solver.grid, values, strict=True)) for values in itertools.product(*solver.grid.values())]

    def error(settings: dict[str, float]) -> float:
        found = solver.restore(prior, case, settings, torch.Generator().manual_seed(1))
        return float((found.clamp(0, 1) - case.x).square().mean().nan_to_num(1e9))

    return min(options, key=error)


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--images", type=int, default=12)
    parser.add_argument("--draws", type=int, default=4)
    parser.add_argument("--only", nargs="*", default=list(HARD), choices=list(TASKS))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    prior = genprior.load_prior(options.run)
    assert isinstance(prior, FlowMatchingPrior)
    test = genprior.load_data("mnist:test")
    x, other = test.take(torch.arange(options.images)), test.take(torch.tensor(list(TUNED_ON)))
    rows: list[dict[str, Any]] = []
    for task in options.only:
        spec, sigma = TASKS[task]
        operator = Spec.parse(spec).build(OPERATORS, "operator", image_shape=SHAPE, seed=0)
        case, tuning = Case(operator, sigma, x, 0), Case(operator, sigma, other, TUNED_ON.start)

        def add(name: str, draws: Tensor, settings: Any, seconds: float, of: str = task) -> None:
            mean, one = psnr(draws.mean(1).clamp(0, 1), x), psnr(draws[:, 0].clamp(0, 1), x)
            error = float(mean.std()) / len(x) ** 0.5
            row = {"task": of, "solver": name, "mean": float(mean.mean()), "error": error, "one": float(one.mean())}
            rows.append(row | {"settings": settings, "seconds": seconds})
            print(
                f"{of:24} {name:22} mean of {draws.shape[1]} {row['mean']:5.2f} +- {error:.2f}, one {row['one']:5.2f}, "
                f"{seconds:.2f} CPU s an image, {settings}",
                flush=True,
            )

        began = time.process_time()
        ours = drawn(prior, case, options.draws).draws
        add("ours", ours, {}, (time.process_time() - began) / len(x) / options.draws)
        for name, solver in SOLVERS.items():
            settings = chosen(solver, prior, tuning)
            began, count = time.process_time(), options.draws if solver.is_random else 1
            each = [solver.restore(prior, case, settings, torch.Generator().manual_seed(2 + i)) for i in range(count)]
            add(name, torch.stack(each, 1), settings, (time.process_time() - began) / len(x) / count)
        save_json(options.json, rows)


if __name__ == "__main__":
    main()
