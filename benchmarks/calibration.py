"""Faults planted in restorations by a mixture: how many culprits `genprior calibrate` names, and how often it is wrong.

    python benchmarks/calibration.py [--faults 200] [--faultless 100] [--images 60] [--draws 32] [--seed 0] [--out FILE]

The truth of all cases is a mixture of factor analysers that is fitted to digits; "real" images are drawn from it, so
that a case without a fault has none at all. Each fault is planted in each task where it makes sense, in turns:

    noise level     measurements have 1.5 times, or 1 / 1.5 of, the noise that is named
    operator        the mask is shifted by a pixel, or the blur is 1.4 times as wide as the one that is named
    prior           the prior was fitted to other classes of digits than those that are measured
    sampler         stopped early (draws at 0.6 of their distance from the mean), or steps too large (Gaussian noise of
                    half of each pixel's deviation on all draws)
"""

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import torch
from measuring import parser_of, save_json

import genprior
from genprior.calibration.calibration_experiment import judged, own_truths, residuals_of
from genprior.calibration.calibration_inputs import Assumed
from genprior.calibration.calibration_results import FALSE_ALARMS, culprit_of
from genprior.calibration.posterior_draws import PosteriorDraws, draws_of
from genprior.priors.mixture_prior import MixturePrior
from genprior.progress import result_of
from genprior.restoration.noise import gaussian, measure
from genprior.restoration.operators import OPERATORS
from genprior.seeding import derived_generator, derived_seed
from genprior.specs import Spec
from genprior.training.mixture_start import started

SIZE = 16  # pixels a side
TRUE, OTHER = (0, 1, 2, 3, 4), (5, 6, 7, 8, 9)  # classes
TASKS = (  # operator, and standard deviation of the noise
    ("denoise", 0.1),
    ("denoise", 0.3),
    ("inpaint:box=8", 0.05),
    ("inpaint:half=lower", 0.05),
    ("inpaint:random=0.5", 0.1),
    ("inpaint:random=0.8", 0.05),
    ("downsample:factor=2", 0.05),
    ("blur:sigma=1", 0.05),
    ("blur:motion=5", 0.05),
    ("compressed-sensing:m=64", 0.05),
)
ELSEWHERE = {  # what measures where the named operator is wrong
    "inpaint:box=8": "inpaint:box=8,top=4,left=5",
    "blur:sigma=1": "blur:sigma=1.4",
    "blur:motion=5": "blur:motion=7",
}


@dataclass(frozen=True)
class Planted:
    """A case.

    Attributes:
        fault: What is wrong; "none".
        culprit: Who should be named; None: nobody.
        task: Operator and noise that are named.
        true: What measures instead.
        factor: Of the noise, beside the one that is named.
        sampler: Makes draws.
        is_other: Whether the prior knows other classes alone.
    """

    fault: str
    culprit: str | None
    task: tuple[str, float]
    true: str
    factor: float = 1.0
    sampler: Callable[..., PosteriorDraws] = draws_of
    is_other: bool = False


def stopped_early(*given: Any) -> PosteriorDraws:
    """Draws that have not spread yet."""
    drawn = draws_of(*given)
    mean = drawn.x.mean(1, keepdim=True)
    return drawn._replace(x=mean + 0.6 * (drawn.x - mean))


def steps_too_large(*given: Any) -> PosteriorDraws:
    """Draws with what a discretised walk adds."""
    drawn = draws_of(*given)
    generator = derived_generator(given[5], "steps", given[6])
    noise = torch.randn(drawn.x.shape, generator=generator)
    return drawn._replace(x=drawn.x + 0.5 * drawn.x.std(1, keepdim=True) * noise)


def without_fault() -> Iterator[Planted]:
    """Yields the tasks, again and again."""
    for task in cycle(TASKS):
        yield Planted("none", None, task, task[0])


def with_fault() -> Iterator[Planted]:
    """Yields faults in turns, each time in the next task where it makes sense."""
    makers = [
        (Planted("noise x 1.5", "noise level", task, task[0], factor=1.5) for task in cycle(TASKS)),
        (Planted("noise / 1.5", "noise level", task, task[0], factor=1 / 1.5) for task in cycle(TASKS)),
        (Planted("operator", "operator", task, ELSEWHERE[task[0]]) for task in cycle(_elsewhere())),
        (Planted("other classes", "prior", task, task[0], is_other=True) for task in cycle(TASKS)),
        (Planted("stopped early", "sampler", task, task[0], sampler=stopped_early) for task in cycle(TASKS)),
        (Planted("large steps", "sampler", task, task[0], sampler=steps_too_large) for task in cycle(TASKS)),
    ]
    for maker in cycle(makers):
        yield next(maker)


def _elsewhere() -> list[tuple[str, float]]:
    return [task for task in TASKS if task[0] in ELSEWHERE]


def fitted(classes: tuple[int, ...]) -> MixturePrior:
    """A mixture of the digits of some classes."""
    data = genprior.load_data("digits", size=(SIZE, SIZE))
    assert data.labels is not None
    own = torch.isin(data.labels, torch.tensor(classes)).nonzero()[:, 0]
    return MixturePrior(started(data.take(own).flatten(1), 5, 8, 0.01**2, 0), (1, SIZE, SIZE))


def named(case: Planted, priors: tuple[MixturePrior, MixturePrior], options: Any, number: int) -> dict[str, Any]:
    """Who is named in a case, and the probabilities behind."""
    truth, other = priors
    seed = derived_seed(options.seed, case.fault, number)
    text, sigma = case.task
    assumed_operator, true = (
        Spec.parse(each).build(OPERATORS, "operator", image_shape=truth.image_shape, seed=seed)
        for each in (text, case.true)
    )
    given = Assumed(truth, assumed_operator, gaussian(sigma), sigma, options.draws, seed, case.sampler)
    given = replace(given, prior=other) if case.is_other else given
    own = result_of(judged(given, *own_truths(given, options.images), "own")).level
    x = truth.sample(options.images, derived_seed(seed, "real"))
    y = measure(x, true, gaussian(case.factor * sigma), seed=derived_seed(seed, "real noise"))
    left, real = residuals_of(given, x, y), result_of(judged(given, x, y, "held-out")).level
    return {
        "fault": case.fault,
        "task": f"{text}, {sigma}",
        "expected": case.culprit,
        "named": culprit_of(own, left, real),
        "factors": [own.needed, real.needed],
        "p": [own.p, left.image_p, left.size_p, left.neighbours_p, real.p],
    }


def main() -> None:
    parser = parser_of(__doc__)
    for name, default in (("faults", 200), ("faultless", 100), ("images", 60), ("draws", 32), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    priors, began, rows = (fitted(TRUE), fitted(OTHER)), time.perf_counter(), []
    cases = [*islice(with_fault(), options.faults), *islice(without_fault(), options.faultless)]
    for number, case in enumerate(cases):
        rows.append(named(case, priors, options, number))
        if rows[-1]["named"] != case.culprit:
            print(json.dumps(rows[-1]), flush=True)
    save_json(options.out, rows)
    faults = list(dict.fromkeys(row["fault"] for row in rows))
    counts = Counter((row["fault"], row["named"] == row["expected"]) for row in rows)
    for fault in faults:
        print(f"{fault}: {counts[fault, True]} right of {counts[fault, True] + counts[fault, False]}")
    right = sum(counts[fault, True] for fault in faults if fault != "none")
    print(f"culprits named right: {right} of {options.faults}")
    print(
        f"faultless cases called faulty: {counts['none', False]} of {options.faultless} (promised: {FALSE_ALARMS:.1%})"
    )
    print(f"seconds: {time.perf_counter() - began:.0f}")


if __name__ == "__main__":
    main()
