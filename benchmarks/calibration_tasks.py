"""Which families draw right? Truths of each run's own prior among their draws, in the fifteen tasks of restoration.py.

    python benchmarks/calibration_tasks.py RUN ... [--images 20] [--draws 15] [--only NAME ...] [--held-out SPEC]
                                           [--preset NAME] [--seed 0] [--out FILE]

Truths are drawn from the prior itself, so that what fails is the sampler. With `--held-out mnist:test` the first images
of that spec are judged beside them, with the factor of split-conformal repair. Draws have what `train residual` has
kept in the run, if anything. Noise has one level, which is known: as in restoration.py.
"""

from functools import partial
from pathlib import Path
from typing import Any

import torch
from judged_draws import row_of, shown
from measuring import parser_of, save_json

import genprior
from genprior.calibration.calibration_experiment import own_truths
from genprior.calibration.calibration_inputs import Assumed
from genprior.calibration.calibration_results import ALARM
from genprior.calibration.posterior_draws import draws_of
from genprior.restoration.noise import gaussian, measure
from genprior.restoration.operators import OPERATORS
from genprior.restoration.search_settings import SEARCHES
from genprior.seeding import derived_seed
from genprior.specs import Spec
from restoration import TASKS as FIFTEEN

OWN = "own truths"
# Beside the fifteen the one of a published table with coverage (Tachella & Pereyra 2024, equivariant bootstrapping).
TASKS = {**FIFTEEN, "compressed sensing 256": ("compressed-sensing:m=256", 0.05)}


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("runs", type=Path, nargs="+")
    for name, default in (("images", 20), ("draws", 15), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--only", nargs="*", default=list(FIFTEEN), choices=list(TASKS))
    parser.add_argument("--held-out")
    parser.add_argument("--preset", default="default", choices=list(SEARCHES))
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for path in options.runs:
        prior = genprior.load_prior(path)
        for task in options.only:
            text, sigma = TASKS[task]
            seed = derived_seed(options.seed, task)
            operator = Spec.parse(text).build(OPERATORS, "operator", image_shape=prior.image_shape, seed=seed)
            sampler = partial(draws_of, preset=options.preset)
            given = Assumed(prior, operator, gaussian(sigma), sigma, options.draws, seed, sampler)
            kinds = {OWN: own_truths(given, options.images)}
            if options.held_out:
                x = genprior.load_data(options.held_out).take(torch.arange(options.images))
                kinds["held out"] = x, measure(x, operator, given.noise, seed=derived_seed(seed, "noise"))
            for kind, (x, y) in kinds.items():
                rows.append({"run": str(path), "preset": options.preset, "task": task, **row_of(given, x, y, kind)})
                repaired = f"; repaired balls, {rows[-1]['ball factor']:.2f} times: {rows[-1]['repaired balls']:.0%}"
                print(f"{task:24} {path} {kind}: {shown(rows[-1])}{repaired if kind != OWN else ''}", flush=True)
            save_json(options.out, rows)
    for run in dict.fromkeys(row["run"] for row in rows):
        own = [row for row in rows if row["run"] == run and row["kind"] == OWN]
        print(f"{run}: {sum(row['passes'] for row in own)} of {len(own)} tasks pass on its own truths")
    print(f"a right sampler is called faulty in a task in {ALARM:.2%}")


if __name__ == "__main__":
    main()
