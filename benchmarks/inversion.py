"""Speed and error of inversion: the study's procedure, one image at a time, against ours, in one call.

    python benchmarks/inversion.py RUN [--images 1000] [--one-by-one 16] [--json out.json]

RUN is a run of the study's networks on `mnist` (training images only) with its encoder (`genprior train encoder RUN`).
The study: one random z, 1000 steps of Adam at learning rate 0.01, its last iterate judged by the mean squared error.
Its speed is measured on a few images one at a time, as it is described; its error on more, in batches. Ours: the
presets as `genprior invert` runs them, images in memory and the prior's curvature known (a second, once).
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from measuring import errors_of, mnist_test, parser_of, save_json
from torch import Tensor, nn
from train_throughput import student_networks

import genprior
from genprior.restoration.search_settings import SEARCHES
from genprior.runs.run_folder import open_run
from genprior.runs.trained_prior import load_generator


def study_generator(run: Path) -> nn.Module:
    """The run's generator as the study writes it down: torch's own layers, in evaluation mode and frozen."""
    state = load_generator(open_run(run)).state_dict()
    network, _ = student_networks()
    network.load_state_dict({name.removeprefix("layers."): value for name, value in state.items()})
    return network.eval().requires_grad_(False)


def study(generator: nn.Module, x: Tensor, seed: int = 0, steps: int = 1000) -> Tensor:
    """Images (B, C, H, W) that the study's procedure ends with."""
    z = torch.randn(len(x), 100, 1, 1, generator=torch.Generator().manual_seed(seed)).requires_grad_()
    adam = torch.optim.Adam([z], lr=0.01)
    for _ in range(steps):
        adam.zero_grad()
        (generator(z) - x).square().mean((1, 2, 3)).sum().backward()
        adam.step()
    with torch.no_grad():
        return generator(z)


def timed(invert: Callable[[Tensor], Tensor], x: Tensor, at_once: int) -> tuple[float, Tensor]:
    """Seconds an image, and the mean squared error of each (B,)."""
    began = time.perf_counter()
    found = torch.cat([invert(part) for part in torch.split(x, at_once)])
    return (time.perf_counter() - began) / len(x), errors_of(found, x)


def line(name: str, seconds: float, errors: Tensor) -> dict[str, float | str]:
    row = {
        "name": name,
        "images": len(errors),
        "seconds_an_image": seconds,
        "mean": float(errors.mean()),
        "median": float(errors.median()),
        "p95": float(errors.quantile(0.95)),
    }
    print(
        f"{name:34} {len(errors):5} images  {seconds:.4f} s each  error mean {row['mean']:.5f} "
        f"median {row['median']:.5f} 95 % {row['p95']:.5f}",
        flush=True,
    )
    return row


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--one-by-one", type=int, default=16)
    parser.add_argument("--study-images", type=int, default=250, help="in batches, for the error")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    prior, reference = genprior.load_prior(options.run), study_generator(options.run)
    x = mnist_test(options.images)

    ours = {
        "fast": SEARCHES["fast"],
        "default": SEARCHES["default"],
        "default, no encoder": replace(SEARCHES["default"], encoder=False),
    }
    found: dict[str, list[tuple[float, Tensor]]] = {}
    assert prior.preconditioner is not None  # found once in a second, before the clock starts
    few = x[:: max(1, len(x) // options.one_by_one)][: options.one_by_one]
    each = max(1, len(few) // options.rounds)
    for turn in range(options.rounds):  # interleaved: a noisy machine disturbs all alike
        share = few[:each]
        found.setdefault("study, one at a time", []).append(timed(lambda part: study(reference, part), share, 1))
        few = few[each:] if len(few) > each else few
        for name, settings in ours.items():
            if turn and not settings.encoder:
                continue  # slow, and no figure that is compared
            invert = lambda part, s=settings: genprior.invert(prior, part, s).images  # noqa: E731
            found.setdefault(name, []).append(timed(invert, x, 256))
    found["study, in batches"] = [timed(lambda part: study(reference, part), x[: options.study_images], 256)]

    rows = {}
    for name, rounds in found.items():
        errors = torch.cat([e for _, e in rounds]) if name.startswith("study, one") else rounds[0][1]
        rows[name] = line(name, statistics.median(seconds for seconds, _ in rounds), errors)
    seconds = rows["study, one at a time"]["seconds_an_image"]
    for name in ours:
        print(f"{name}, throughput ratio: {seconds / rows[name]['seconds_an_image']:.0f}")
        print(f"{name}, error ratio: {rows[name]['mean'] / rows['study, in batches']['mean']:.3f}")
    save_json(options.json, list(rows.values()))


if __name__ == "__main__":
    main()
