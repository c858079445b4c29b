"""The scores of `genprior evaluate`: a published example, and what 10,000 against 10,000 MNIST images cost.

    python benchmarks/metrics.py [--count 10000] [--threads 2] [--data-root FOLDER]

The example is that of prdc's README (https://github.com/clovaai/generative-evaluation-prdc): two sets of 10,000 draws
from N(0, I_1000), k = 5, for which it gives precision 0.4772, recall 0.4705, density 1.0555, coverage 0.9735. Time and
memory are those of every score of `SCORES` with its interval, of test images in place of samples, without the
classifier. Prints `name: value` lines; memory is the largest that the process has held beyond what it held before.
"""

import resource
import time
from pathlib import Path

import torch
from measuring import parser_of

import genprior
from genprior.data.spec import data_root
from genprior.evaluation.distances import closeness, expected_coverage, neighbours
from genprior.evaluation.features import seen
from genprior.evaluation.scores import SCORES, Evidence
from genprior.judges.trained_judge import CLASSIFIER, judge_data, judge_of
from genprior.progress import result_of
from genprior.seeding import derived_generator

PUBLISHED = {"precision": 0.4772, "recall": 0.4705, "density": 1.0555, "coverage": 0.9735}


def example(count: int) -> None:
    """Prints the scores of prdc's example beside the published ones."""
    draws = [torch.randn(count, 1000, generator=derived_generator(0, "prdc example", i)) for i in range(2)]
    found = neighbours(*draws, k=5)
    parts = {
        "precision": found.precise,
        "recall": found.recalled,
        "density": found.density,
        "coverage": found.covered,
    }
    for name, part in parts.items():
        print(f"{name} of prdc's example (published {PUBLISHED[name]}): {float(part.mean()):.4f}")
    print(f"expected coverage of one distribution: {expected_coverage(count, count):.4f}", flush=True)


def cost(count: int, root: Path | None) -> None:
    """Prints scores, time and memory of training images in place of samples, beside test images."""
    train, test = judge_data("mnist", lambda spec: genprior.load_data(spec, root=root))
    judge = result_of(judge_of(CLASSIFIER, train, test, data_root(root)))
    print(f"accuracy of the classifier: {judge.record.accuracy:.4f}", flush=True)
    classifier = judge.network
    features, held_out = seen(classifier, train)[0], seen(classifier, test)[0][:count]
    before, began = _peak(), time.perf_counter()
    near = closeness(held_out, features)
    print(f"seconds for nearest training images: {time.perf_counter() - began:.1f}", flush=True)
    errors = torch.rand(100, generator=derived_generator(0, "errors"))  # of inversions; they are not timed
    evidence = Evidence(held_out, features[:count], near, near, errors, errors)
    for name, score in SCORES.items():
        start = time.perf_counter()
        found = score.estimate(evidence, derived_generator(0, name))
        seconds = time.perf_counter() - start
        print(f"{score.title}: {found.value:.4g} [{found.low:.4g}, {found.high:.4g}] in {seconds:.1f} s", flush=True)
    print(f"seconds for all scores of {count} against {count}: {time.perf_counter() - began:.1f}")
    print(f"peak memory of all scores in MB: {(_peak() - before):.0f}")
    print(f"peak memory of the process in MB: {_peak():.0f}")


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--data-root", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    cost(arguments.count, arguments.data_root)
    example(arguments.count)


if __name__ == "__main__":
    main()
