"""Does the fast arithmetic cost quality? bf16 against float32 over several seeds.

    python benchmarks/precision_quality.py [--epochs 3] [--seeds 3] [--out FOLDER]

Trains the same non-saturating run in both, and compares 10,000 samples of each: the feature distance to the MNIST test
set, and the class histograms by a chi-square test of homogeneity, all seeds of one arithmetic against all of the
other, beside the same test between the seeds of float32, for seeds differ anyway.
"""

import itertools
import json
import statistics
from pathlib import Path

from measuring import genprior_command, median_and_range, parser_of, save_json
from three_losses import trained


def judged(run: Path) -> tuple[float, list[int]]:
    """Returns the feature distance of a run's samples, and how many of them are of each class; evaluates it once."""
    if not (run / "metrics.json").exists():
        genprior_command("evaluate", str(run), "--inversions", "0")
    metrics = json.loads((run / "metrics.json").read_text())
    return metrics["scores"]["frechet"]["value"], metrics["classes"]["counts"]


def chi_square(first: list[int], second: list[int]) -> float:
    """Returns the chi-square statistic per degree of freedom; about 1 for samples of one distribution."""
    from scipy.stats import chi2_contingency

    used = [(a, b) for a, b in zip(first, second, strict=True) if a + b > 0]
    result = chi2_contingency(list(zip(*used, strict=True)))
    return float(result.statistic / result.dof)


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--epochs", type=float, default=3)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("runs/precision"))
    arguments = parser.parse_args()
    found: dict[tuple[str, int], tuple[float, list[int]]] = {}
    for seed, precision in itertools.product(range(arguments.seeds), ("bf16", "float32")):
        settings = {"data": "mnist:all", "loss": "non-saturating", "preset": "dcgan-28", "precision": precision}
        run = trained(arguments.out / f"{precision}-{seed}", seed=seed, epochs=arguments.epochs, **settings)
        distance, classes = found[precision, seed] = judged(run)
        print(f"{precision} seed {seed}: feature distance {distance:.2f}", classes, flush=True)
    named = {f"{precision}-{seed}": numbers for (precision, seed), numbers in found.items()}
    save_json(arguments.out / "results.json", named)
    distances = {
        precision: [distance for (other, _), (distance, _) in found.items() if other == precision]
        for precision in ("bf16", "float32")
    }
    pairs = {
        "float32 seeds": itertools.combinations([("float32", seed) for seed in range(arguments.seeds)], 2),
        "arithmetics": itertools.product(*([(p, seed) for seed in range(arguments.seeds)] for p in distances)),
    }
    for precision, values in distances.items():
        print(f"{precision} feature distance: {median_and_range(values, '.2f')}")
    for name, each in pairs.items():
        statistic = statistics.median(chi_square(found[one][1], found[other][1]) for one, other in each)
        print(f"chi-square per degree of freedom between {name}: {statistic:.1f}")
    print(f"distance ratio: {statistics.mean(distances['bf16']) / statistics.mean(distances['float32']):.2f}")


if __name__ == "__main__":
    main()
