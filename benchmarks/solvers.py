"""Ways to search for latents, on the same images: error over seconds.

    python benchmarks/solvers.py RUN [--images 64]

RUN has an encoder. Images are MNIST test images from 5000 on, which the other benchmarks do not use: settings were
chosen here. Adam and L-BFGS are the library's; Levenberg-Marquardt (batched, full Jacobians by forward-mode products, a
damping for each image) stands here alone, because it lost.
"""

import time
from functools import partial
from pathlib import Path

import torch
from measuring import errors_of, mnist_test, parser_of
from torch import Tensor

import genprior
from genprior.restoration.fidelity import L2
from genprior.restoration.problem import Problem, make_problem
from genprior.restoration.search_methods import LBFGS, Adam

Settings = partial(genprior.SearchSettings, tolerance=0.0, second_try=False)
METHODS = {
    "Adam 0.01": partial(Adam, learning_rate=0.01),
    "Adam 0.03": partial(Adam, learning_rate=0.03),
    "Adam 0.1": partial(Adam, learning_rate=0.1),
    "L-BFGS, no first guess": lambda z, value, slope, guess: LBFGS(z, value, slope),
    "L-BFGS": LBFGS,
}


def jacobian(problem: Problem, z: Tensor, who: Tensor) -> Tensor:
    """d prediction / d z (R, M, k), by forward-mode products with all k directions."""

    def along(direction: Tensor) -> Tensor:
        return torch.func.jvp(lambda at: problem.predict(at, who), (z,), (direction.expand_as(z),))[1]

    return torch.func.vmap(along, chunk_size=10)(torch.eye(z.shape[1])).permute(1, 2, 0)


def levenberg_marquardt(problem: Problem, z: Tensor, iterations: int) -> Tensor:
    """Latents (R, k) after steps (J^T J + damping diag) d = -slope (Marquardt 1963), damped image by image."""
    who, damping = torch.arange(len(z)), torch.full((len(z),), 1e-2)
    misfit, _, slope, _ = problem.evaluate(z, who)
    for _ in range(iterations):
        with torch.no_grad():
            slopes = jacobian(problem, z, who)
        matrix = slopes.transpose(1, 2) @ slopes
        diagonal = matrix.diagonal(dim1=1, dim2=2)
        floor = 1e-6 * diagonal.amax(1, keepdim=True)
        damped = matrix + torch.diag_embed(damping[:, None] * (diagonal + floor) + 1e-3 * floor)
        trial = z + torch.linalg.solve_ex(damped.double(), -slope.double()[:, :, None])[0][:, :, 0].float()
        new_misfit, _, new_slope, _ = problem.evaluate(trial, who)
        better = new_misfit < misfit
        z, slope = (torch.where(better[:, None], new, old) for new, old in ((trial, z), (new_slope, slope)))
        misfit = torch.where(better, new_misfit, misfit)
        damping = torch.where(better, damping * 0.2, damping * 4).clamp(1e-9, 1e6)
    return z


def line(name: str, began: float, errors: Tensor) -> None:
    seconds = (time.perf_counter() - began) / len(errors)
    print(
        f"{name:44} {seconds:.4f} s each  error mean {errors.mean():.5f} median {errors.median():.5f} "
        f"95 % {errors.quantile(0.95):.5f}",
        flush=True,
    )


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--images", type=int, default=64)
    options = parser.parse_args()
    prior = genprior.load_prior(options.run)
    assert prior.preconditioner is not None  # found before the clock starts
    x = mnist_test(options.images, first=5000)

    def run(name: str, settings: genprior.SearchSettings) -> None:
        began = time.perf_counter()
        found = genprior.invert(prior, x, settings)
        line(name, began, errors_of(found.images, x))

    for name, method in METHODS.items():
        for iterations in (20, 60, 200):
            run(f"encoder, {name}, {iterations}", Settings(method=method, starts=1, iterations=iterations))
    for name in ("Adam 0.1", "L-BFGS, no first guess", "L-BFGS"):
        run(f"1 random, {name}, 200", Settings(method=METHODS[name], starts=1, iterations=200, encoder=False))
    for starts in (2, 4, 8, 16):
        run(f"{starts} random, halved, L-BFGS, 60", Settings(starts=starts, iterations=60, encoder=False))
    everything = Settings(starts=8, iterations=60, encoder=False, candidates=8)
    run("8 random, none dropped, L-BFGS, 60", everything)
    problem = make_problem(prior, x, None, L2())
    for iterations in (5, 10, 20):
        began = time.perf_counter()
        z = levenberg_marquardt(problem, prior.encode(x), iterations)
        with torch.no_grad():
            line(f"encoder, Levenberg-Marquardt, {iterations}", began, errors_of(prior.decode(z), x))


if __name__ == "__main__":
    main()
