"""Are deepinv's samplers calibrated? Each with a mixture's exact denoiser as prior, on truths drawn from that mixture.

    python benchmarks/samplers_calibrated.py [--images 24] [--draws 15] [--tuned-on 4] [--only NAME ...]
                                             [--tasks NAME ...] [--seed 0] [--out FILE]

The prior is a mixture of 8 factor analysers of rank 8, fitted to 6,000 MNIST training images. Its contrast is halved,
x -> 1/4 + x/2, so that samplers that cut at 0 and 1 lose nothing. Prior, operator and noise are right by construction,
and the posterior is known exactly. So what fails here is the sampler. Settings of each are those of its grid whose
draws come nearest to the exact posterior on other truths: a choice that is kinder than any user could make.
"""

import time
import warnings
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from deepinv.physics import GaussianNoise, LinearPhysics
from deepinv_samplers import FLOOR, SAMPLERS, ExactDenoiser, Method
from judged_draws import row_of, shown
from measuring import parser_of, save_json
from torch import Tensor

import genprior
from genprior.calibration.calibration_experiment import own_truths
from genprior.calibration.calibration_inputs import Assumed
from genprior.calibration.posterior_draws import PosteriorDraws, draws_of
from genprior.models.factor_analysers import FactorAnalysers
from genprior.priors.mixture_prior import MixturePrior
from genprior.restoration.fidelity import L2
from genprior.restoration.image_sampler import ImageSampler, evaluations
from genprior.restoration.noise import gaussian
from genprior.restoration.operators import OPERATORS, Operator, masked
from genprior.restoration.problem import make_problem
from genprior.restoration.search_settings import SearchSettings
from genprior.seeding import derived_seed
from genprior.specs import Spec
from genprior.training.mixture_start import started

SHAPE = (1, 28, 28)
TASKS = {  # operator, and standard deviation of the noise, of images with half of the contrast
    "box 14": ("inpaint:box=14", 0.025),
    "CS 100": ("compressed-sensing:m=100", 0.05),
    "denoise": ("denoise", 0.15),
    "80 % missing": ("inpaint:random=0.8", 0.025),
}
EXACT, GUIDED = "exact", "guided"


def fitted(seed: int) -> MixturePrior:
    """The mixture of images with half of the contrast."""
    data = genprior.load_data("mnist:train[:6000]")
    own = started(data.take(torch.arange(len(data))).flatten(1), 8, 8, 4 * FLOOR, seed)
    return MixturePrior(FactorAnalysers(own.weights, 0.25 + own.means / 2, own.factors / 2, own.noise / 4), SHAPE)


def operator_of(text: str, seed: int) -> Operator:
    """An operator that is the same for all images; missing pixels, too, are."""
    built = Spec.parse(text).build(OPERATORS, "operator", image_shape=SHAPE, seed=seed)
    own = built.parameters(0)
    return masked(own["mask"] > 0.5, SHAPE) if own else built


def guided(denoiser: ExactDenoiser, *given: Any) -> PosteriorDraws:
    """Draws of our sampler for flow matching, with the exact denoiser in place of a network."""
    prior, y, operator, sigma, count, seed, first = given
    problem = make_problem(prior, y, operator.physics, L2(), {})
    own: Any = denoiser
    sampler = ImageSampler(problem, own, SearchSettings().levels, True, seed, first)
    x, _ = sampler.draw(count, sigma**2)
    return PosteriorDraws(x, None)


def theirs(method: Method, settings: dict[str, float], denoiser: ExactDenoiser, *given: Any) -> PosteriorDraws:
    """Draws of a sampler of deepinv."""
    _, y, operator, _, count, seed, first = given
    torch.manual_seed(derived_seed(seed, "draws", first) % 2**31)
    rows = y.repeat_interleave(count, 0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        x = method.draw(denoiser, rows, operator.physics, settings).detach().float()
    return PosteriorDraws(x.view(len(y), count, *SHAPE), None)


def off(drawn: Tensor, exact: Tensor) -> float:
    """How far mean and deviations of draws (B, S, C, H, W) are from those of exact ones, in the exact variance."""
    variance = exact.var(1)
    wrong = (drawn.mean(1) - exact.mean(1)).square() + (drawn.std(1) - variance.sqrt()).square()
    found = float(wrong.sum() / variance.sum())
    return found if found == found else float("inf")


def tuned(method: Method, denoiser: ExactDenoiser, assumed: Assumed, count: int) -> tuple[dict[str, float], float]:
    """The best settings of a grid on `count` truths, and the seconds of the search."""
    began = time.perf_counter()
    other = replace(assumed, seed=derived_seed(assumed.seed, "tuning"), draws=8)
    _, y = own_truths(other, count)
    given = (other.prior, y, other.operator, other.sigma)
    exact = draws_of(*given, 400, other.seed).x
    errors = [(off(theirs(method, own, denoiser, *given, 8, 1, 0).x, exact), own) for own in method.settings()]
    return min(errors, key=lambda each: each[0])[1], time.perf_counter() - began


def main() -> None:
    parser = parser_of(__doc__)
    for name, default in (("images", 24), ("draws", 15), ("tuned-on", 4), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=default)
    names = [EXACT, GUIDED, *SAMPLERS]
    parser.add_argument("--only", nargs="*", default=names, choices=names)
    parser.add_argument("--tasks", nargs="*", default=list(TASKS), choices=list(TASKS))
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    prior, rows = fitted(options.seed), []
    denoiser, began = ExactDenoiser(FactorAnalysers(*prior.model.state_dict().values()), SHAPE), time.perf_counter()
    for task in options.tasks:
        text, sigma = TASKS[task]
        operator = operator_of(text, options.seed)
        physics: LinearPhysics = operator.physics
        physics.noise_model = GaussianNoise(sigma)
        assumed = Assumed(prior, operator, gaussian(sigma), sigma, options.draws, options.seed)
        for name in options.only:
            settings, searched, sampler = {}, 0.0, draws_of if name == EXACT else partial(guided, denoiser)
            if name in SAMPLERS:
                method = SAMPLERS[name]
                if not method.fits(physics):
                    continue
                settings, searched = tuned(method, denoiser, assumed, options.tuned_on)
                sampler = partial(theirs, method, settings, denoiser)
            truths = own_truths(assumed, options.images)
            found = row_of(replace(assumed, sampler=sampler), *truths, "own", contrast=0.5)
            rows.append({"task": task, "sampler": name, "settings": settings, "searched": searched, **found})
            chosen = ", ".join(f"{key} {value:g}" for key, value in settings.items())
            print(f"{task}, {name}: {shown(found)}; {chosen} ({searched:.0f} s of search)", flush=True)
        save_json(options.out, rows)
    print(f"evaluations of a guided draw: {evaluations(SearchSettings().levels)}")
    print(f"seconds: {time.perf_counter() - began:.0f}")


if __name__ == "__main__":
    main()
