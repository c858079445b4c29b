"""How good samples are for their cost: of a flow-matching run by two ways, and of runs of other families.

    python benchmarks/flow_samples.py RUN [RUN ...] [--count 10000] [--levels 50 20 8] [--swapped] [--data mnist]
                                      [--threads 1]

"Ancestral" is what `genprior sample` does, "equation" the solution of the differential equation by the midpoint rule.
Samples of a run that has a base (`genprior train base`) begin there; take --levels 6 4 2 1 for them.
Samples of other families, such as a GAN that was distilled from a flow, are made in one way.
The distance is that of `genprior evaluate` (Fréchet, features of the data's classifier) to all held-out images. Its
classifier has learned the training images, and is surer of them than of others: they are farther from held-out images
than good samples are. With `--swapped` a classifier of the held-out images judges, and the distance is to a half of the
training images. Those of the other half are the first row, which tells what new images would have.
The network runs in float32.
"""

import time
from collections.abc import Callable
from pathlib import Path

import torch
from measuring import parser_of, save_json
from torch import Tensor

import genprior
from genprior.data.spec import data_root
from genprior.evaluation.distances import frechet_distance
from genprior.evaluation.features import features_and_classes, seen
from genprior.judges.trained_judge import CLASSIFIER, judge_data, judge_of
from genprior.priors.contracts import LatentPrior
from genprior.priors.flow_matching_prior import FlowMatchingPrior
from genprior.progress import result_of

AT_ONCE = 250


def ways_of(prior: LatentPrior, levels: list[int]) -> dict[str, Callable[[int], Tensor]]:
    """Each way makes `AT_ONCE` samples from the given number on."""
    if not isinstance(prior, FlowMatchingPrior):
        return {"samples": lambda first: prior.sample(AT_ONCE, 0, first)}
    found = {}
    for count in levels:
        found |= {f"{name}, {count} evaluations": make for name, make in ways(prior, count).items()}
    return found


def ways(prior: FlowMatchingPrior, levels: int) -> dict[str, Callable[[int], Tensor]]:
    """Each way makes `AT_ONCE` samples from the given number on, with `levels` evaluations each."""

    def by_equation(first: int) -> Tensor:
        z = torch.randn(AT_ONCE, prior.latent_size, generator=torch.Generator().manual_seed(first))
        with torch.no_grad():
            return prior.decode(z, steps=levels // 2).clamp(0, 1)

    def by_steps(first: int) -> Tensor:
        return prior.sample(AT_ONCE, 0, first, levels)

    if prior.base is not None:
        return {"from its base": by_steps}
    return {"ancestral": by_steps, "equation": by_equation}


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--levels", type=int, nargs="+", default=[50, 20, 8])
    parser.add_argument("--swapped", action="store_true")
    parser.add_argument("--data", default="mnist")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    settings = parser.parse_args()
    torch.set_num_threads(settings.threads)
    train, test = judge_data(settings.data, genprior.load_data)
    learned, reference = (test, train) if settings.swapped else (train, test)
    judge = result_of(judge_of(CLASSIFIER, learned, reference, data_root(None))).network
    real, rows = seen(judge, reference)[0], []
    if settings.swapped:
        real, other = real[torch.randperm(len(real), generator=torch.Generator().manual_seed(0))].chunk(2)
        rows.append({"run": "real", "distance": frechet_distance(real, other[: settings.count])})
        print(f"real images: distance {rows[0]['distance']:.2f}", flush=True)
    for run in settings.runs:
        for name, make in ways_of(genprior.load_prior(run), settings.levels).items():
            start = time.process_time()
            x = torch.cat([make(first) for first in range(0, settings.count, AT_ONCE)])
            seconds = time.process_time() - start
            x = (255 * x.clamp(0, 1)).round() / 255
            distance = frechet_distance(real, features_and_classes(judge, x)[0])
            rows.append({"run": str(run), "way": name, "distance": distance, "a_second": len(x) / seconds})
            print(f"{run}, {name}: distance {distance:.2f}, {len(x) / seconds:.0f} a second", flush=True)
    save_json(settings.json, rows)


if __name__ == "__main__":
    main()
