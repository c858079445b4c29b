"""What the recipes of the mode benchmark owe to their parts, and to their longer training.

    python benchmarks/mode_parts.py [--data ring grid stacked-mnist] [--seeds 3] [--out runs/mode-parts]

On points, other rows with the recipe's number of points and its batch; on stacks, the recipe with one part changed. All
else is as in `genprior benchmark modes`. Prints the modes, the share of high-quality samples and the divergence from
the uniform distribution. An interrupted run is resumed.
"""

from pathlib import Path
from typing import Any

from measuring import parser_of

from genprior.data.spec import data_root
from genprior.judges.mode_finder import Finder, run_finder
from genprior.modes.benchmark_run import BenchmarkRun, measure
from genprior.modes.remedies import BASES, config_of
from genprior.progress import result_of


def _budget(data: str) -> dict[str, Any]:
    """Of the recipe."""
    return {name: BASES[data].own["recipe"][name] for name in ("batch_size", "images_seen")}


# By data set and name: a row, and what is changed in it.
PARTS: dict[str, dict[str, tuple[str, dict[str, Any]]]] = {
    **{
        data: {row: (row, _budget(data)) for row in ("non-saturating", "relativistic+r1+r2")}
        for data in ("ring", "grid")
    },
    "stacked-mnist": {
        "non-saturating": ("recipe", {"loss": "non-saturating"}),
        "no-penalty": ("recipe", {"penalty": ()}),
        "packs-of-8": ("recipe", {"pack": 8}),
        "packs-of-2": ("recipe", {"pack": 2}),
        "no-packs": ("recipe", {"pack": 1}),
        "three-times-the-steps": ("recipe", {"images_seen": 3 * BASES["stacked-mnist"].images("recipe")}),
    },
}


def finder_of(data: str) -> Finder:
    config = config_of(data, "recipe", 0, 1, data_root())
    return result_of(run_finder(config, config.load_data()))


def run_of(data: str, name: str, seed: int, out: Path) -> BenchmarkRun:
    row, changes = PARTS[data][name]
    config = config_of(data, row, seed, 1, data_root()).model_copy(update=changes)
    run = BenchmarkRun(data, row, seed, out / data / name / str(seed), config, BASES[data].samples)
    run.check()
    return run


def described(run: BenchmarkRun) -> str:
    found = run.measured()
    assert found is not None
    if found.modes is None:
        return str(found.failed)
    modes, divergence = found.modes, found.modes.divergences["uniform"]
    nats = "" if divergence is None else f", KL {divergence.raw:.3f}"
    return f"{modes.found} of {modes.of} modes, {100 * modes.high_quality:.1f} % of high quality{nats}"


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--data", nargs="+", choices=tuple(PARTS), default=list(PARTS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("runs/mode-parts"))
    arguments = parser.parse_args()
    for data in arguments.data:
        finder = finder_of(data)
        for name in PARTS[data]:
            for seed in range(arguments.seeds):
                run = run_of(data, name, seed, arguments.out)
                if run.measured() is None:
                    measure((run, finder))
                print(f"{data}, {name}, seed {seed}: {described(run)}", flush=True)


if __name__ == "__main__":
    main()
