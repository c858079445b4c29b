"""Does the fast arithmetic cost quality? bf16 against float32 over several seeds.

    python benchmarks/precision_quality.py [--epochs 3] [--seeds 3] [--out FOLDER]

Trains the same non-saturating run in both, and compares 10,000 samples of each: the feature distance to the MNIST test
set, and the class histograms by a chi-square test of homogeneity, all seeds of one arithmetic against all of the
other, beside the same test between the seeds of float32, for seeds differ anyway.
"""

import argparse
import itertools
import json
import statistics
from pathlib import Path

from three_losses import Judge, trained


def histogram(numbers: dict[str, float]) -> list[float]:
    return [numbers[f"samples_of_{digit}"] for digit in range(10)]


def chi_square(first: list[float], second: list[float]) -> float:
    """Returns the chi-square statistic per degree of freedom; about 1 for samples of one distribution."""
    from scipy.stats import chi2_contingency

    used = [(a, b) for a, b in zip(first, second, strict=True) if a + b > 0]
    result = chi2_contingency(list(zip(*used, strict=True)))
    return float(result.statistic / result.dof)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=float, default=3)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("runs/precision"))
    arguments = parser.parse_args()
    runs = {}
    for seed, precision in itertools.product(range(arguments.seeds), ("bf16", "float32")):
        folder = arguments.out / f"{precision}-{seed}"
        runs[precision, seed] = trained(
            folder, data="mnist:all", seed=seed, epochs=arguments.epochs, precision=precision
        )
    judge = Judge()
    found = {key: judge.numbers(run, arguments.out / f"{key[0]}-{key[1]}.png") for key, run in runs.items()}
    (arguments.out / "results.json").write_text(json.dumps({f"{p}-{s}": n for (p, s), n in found.items()}, indent=2))
    for (precision, seed), numbers in found.items():
        print(f"{precision} seed {seed}: feature distance {numbers['feature_distance']:.2f}", histogram(numbers))
    distances = {
        precision: [numbers["feature_distance"] for (other, _), numbers in found.items() if other == precision]
        for precision in ("bf16", "float32")
    }
    between_seeds = [
        chi_square(histogram(found["float32", a]), histogram(found["float32", b]))
        for a, b in itertools.combinations(range(arguments.seeds), 2)
    ]
    between_precisions = [
        chi_square(histogram(found["float32", a]), histogram(found["bf16", b]))
        for a, b in itertools.product(range(arguments.seeds), repeat=2)
    ]
    for precision, values in distances.items():
        print(f"{precision} feature distance: {statistics.mean(values):.2f} ({min(values):.2f} to {max(values):.2f})")
    print(f"chi-square per degree of freedom between float32 seeds: {statistics.median(between_seeds):.1f}")
    print(f"chi-square per degree of freedom between arithmetics: {statistics.median(between_precisions):.1f}")
    print(f"distance ratio: {statistics.mean(distances['bf16']) / statistics.mean(distances['float32']):.2f}")


if __name__ == "__main__":
    main()
