"""Whether the recipe of the mode benchmark owes its modes to its longer training: other rows with its budget.

    python benchmarks/mode_budget.py [--data ring grid] [--rows non-saturating relativistic+r1+r2] [--seeds 3]
                                     [--out runs/mode-budget]

Trains rows of `genprior benchmark modes` with the recipe's number of points and its batch, all else as in the row, and
prints the modes and the share of high-quality samples. Goes on where it was ended.
"""

import argparse
from pathlib import Path

import torch

from genprior.jobs.cells import Cell, measure_cell
from genprior.jobs.mode_finder import Finder, run_finder
from genprior.jobs.remedies import BASES, config_of


def finder_of(data: str) -> Finder:
    config = config_of(data, "recipe", 0, 1, None)
    finding = run_finder(config, config.load_data())
    while True:
        try:
            next(finding)
        except StopIteration as found:
            finder: Finder = found.value
            return finder


def with_budget(data: str, row: str, seed: int, out: Path) -> Cell:
    recipe = config_of(data, "recipe", seed, 1, None)
    config = config_of(data, row, seed, 1, None)
    config = config.model_copy(update={"images_seen": recipe.images_seen, "batch_size": recipe.batch_size})
    cell = Cell(data, row, seed, out / data / row / str(seed), config, BASES[data].samples, BASES[data].seconds)
    cell.check()
    return cell


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", choices=("ring", "grid"), default=["ring", "grid"])
    parser.add_argument("--rows", nargs="+", default=["non-saturating", "relativistic+r1+r2"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("runs/mode-budget"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for data in arguments.data:
        finder = finder_of(data)
        for row in arguments.rows:
            for seed in range(arguments.seeds):
                cell = with_budget(data, row, seed, arguments.out)
                if cell.measured() is None:
                    for _ in measure_cell(cell, finder):
                        pass
                found = cell.measured()
                assert found is not None
                if found["modes"] is None:
                    print(f"{cell.name}: {found['failed']}", flush=True)
                    continue
                modes = found["modes"]
                share = f"{100 * modes['high_quality']:.1f} % of high quality"
                print(f"{cell.name}: {modes['found']} of {modes['of']} modes, {share}", flush=True)


if __name__ == "__main__":
    main()
