"""Restoration of somebody's own images: four kinds of damage, on images that were never learned, beside tuned TV.

    python benchmarks/own_images.py DATA --runs RUN ...  [--size 64] [--images 100] [--draws 16] [--json out.json]
    python benchmarks/own_images.py DATA --minutes 10 [--families glo vae glow gan] [--out own-images] [--threads 2]

DATA is a folder of images or an array file. Images are held out as every run holds them out by itself: a tenth, chosen
by content, no near copy of a learned image among them. Runs come trained, on DATA and with the usual share held out
(others are refused), or are trained here, one after another, each for `--minutes`: a GLO of the preset `pyramid`,
a convolutional VAE, a Glow, and a GAN of the preset `pyramid`, which has no encoder. A run that is in `--out` already
is not trained again.

Damage: Gaussian noise of 0.1 and of 0.3; a central hole of 20 pixels (10 where a side has 32 or less) and noise of
0.05; 80 % of the pixels missing and noise of 0.02. All methods see the same measurements, know the level of the noise,
and restore all images at once. Total variation (isotropic, of each channel alone, to convergence) has its weight tuned
on as many learned images. `--beyond` leaves a prior's range where that leaves more than noise. The standard error is
that of the mean over the images; "above total variation" is the mean of the differences image by image, with its own.
With `--draws` the mean of so many draws of the posterior has a row of its own, but where only noise is to be removed.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from measuring import genprior_command, parser_of, save_json
from restoring_methods import Case, exact_total_variation, restored, tuned
from torch import Tensor

import genprior
from genprior.data import Dataset
from genprior.data.held_out import Split
from genprior.evaluation.image_quality import psnr
from genprior.families import parse_config
from genprior.restoration.operators import OPERATORS
from genprior.restoration.search_settings import SEARCHES
from genprior.runs.run_folder import open_run, refuse_other_data
from genprior.specs import Spec

# by family: name of the run, flags of its training
FAMILIES = {
    "glo": ("glo-pyramid", ["--preset", "pyramid"]),
    "vae": ("vae-conv", ["--model", "conv", "--latent-size", "100", "--likelihood", "gaussian:sigma=0.1"]),
    "glow": ("glow", ["--preset", "glow-32"]),
    "gan": ("gan-pyramid", ["--preset", "pyramid"]),
}
WEIGHTS = (0.003, 0.005, 0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.2, 0.3, 0.4)
REFERENCE = "total variation"
BEYOND = replace(SEARCHES["default"], beyond=True)


def tasks(image_shape: tuple[int, int, int]) -> dict[str, tuple[str, float]]:
    """Returns operator and standard deviation of the noise, by name."""
    side = 10 if min(image_shape[1:]) <= 32 else 20
    return {
        "denoise 0.1": ("denoise", 0.1),
        "denoise 0.3": ("denoise", 0.3),
        f"hole of {side} pixels, noise 0.05": (f"inpaint:box={side}", 0.05),
        "80 % missing, noise 0.02": ("inpaint:random=0.8", 0.02),
    }


def trained(family: str, data: str, size: str | None, minutes: float, threads: int | None, out: Path) -> Path:
    """Returns a run, trained in a process of its own unless it is there."""
    name, flags = FAMILIES[family]
    path = out / name
    if not path.exists():
        sizes = [] if size is None else ["--size", size]
        several = [] if threads is None else ["--threads", str(threads)]
        budget = ["--minutes", f"{minutes:g}"]
        genprior_command(
            "train", family, *flags, "--data", data, *sizes, *several, *budget, "--out", str(path), quiet=True
        )
    return path


def split_of(data: str, size: str | None, runs: list[Path]) -> tuple[Split, Dataset]:
    """Returns the images as runs split them, and the held-out ones; refuses runs that have learned others."""
    split = parse_config({"family": "glo", "data": data, **({} if size is None else {"size": size})}).load_split()
    held_out = split.load_held_out()
    if held_out is None:
        raise SystemExit(f"{data} has too few images to hold some out")
    for path in runs:
        refuse_other_data(open_run(path), split.learned, "runs")
    return split, held_out


def row_of(task: str, method: str, case: Case, run: Callable[[Case], Tensor]) -> tuple[dict[str, Any], Tensor]:
    run(case.few(1))  # what is loaded on first use is not timed
    began = time.perf_counter()
    found = run(case)
    seconds = (time.perf_counter() - began) / len(case.x)
    each = psnr(found.clamp(0, 1), case.x).clamp(max=99)
    return {"task": task, "method": method, "images": len(each), "seconds": seconds}, each


def mean_and_error(values: Tensor) -> tuple[float, float]:
    return float(values.mean()), float(values.std() / len(values) ** 0.5)


def measured(
    task: str, case: Case, tuning: Case, priors: dict[str, genprior.LatentPrior], draws: int = 0
) -> list[dict[str, Any]]:
    """Returns a row for each method; total variation comes first, the others stand beside it."""
    weight = tuned(exact_total_variation, WEIGHTS, tuning)
    print(f"{task}: total variation with weight {weight:g}, of {WEIGHTS[0]:g} to {WEIGHTS[-1]:g}", flush=True)
    runs: dict[str, Callable[[Case], Tensor]] = {REFERENCE: partial(exact_total_variation, weight=weight)}
    for name, prior in priors.items():
        runs[name] = partial(restored, prior)
        if draws and not task.startswith("denoise"):
            runs[f"{name}, mean"] = partial(restored, prior, settings=replace(SEARCHES["default"], draws=draws))
        if prior.conditional is None and prior.denoiser is None:  # a density of all images has no range to leave
            runs[f"{name} --beyond"] = partial(restored, prior, settings=BEYOND)
    rows, reference = [], None
    for name, run in runs.items():
        row, each = row_of(task, name, case, run)
        row["psnr"], row["standard_error"] = mean_and_error(each)
        if reference is None:
            reference = each
        else:
            row["above"], row["above_error"] = mean_and_error(each - reference)
        rows.append(row)
        print(f"{task:30} {name:20} {row['psnr']:.2f} +- {row['standard_error']:.2f} dB", flush=True)
    return rows


def report(rows: list[dict[str, Any]]) -> None:
    names = {
        "psnr": "PSNR in dB",
        "standard_error": "standard error in dB",
        "above": "above total variation in dB",
        "above_error": "standard error of that in dB",
        "seconds": "seconds an image",
    }
    for row in rows:
        for key, name in names.items():
            if key in row:
                print(f"{row['task']}, {row['method']}, {name}: {row[key]:.3f}")


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("data", metavar="DATA")
    parser.add_argument("--size")
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--runs", type=Path, nargs="+")
    parser.add_argument("--draws", type=int, default=0)
    parser.add_argument("--families", nargs="+", default=list(FAMILIES), choices=list(FAMILIES))
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--out", type=Path, default=Path("own-images"))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    train = partial(trained, data=options.data, size=options.size, minutes=options.minutes, threads=options.threads)
    runs = options.runs or [train(family, out=options.out) for family in options.families]
    split, held_out = split_of(options.data, options.size, runs)
    priors = {path.name: genprior.load_prior(path) for path in runs}
    x, other = held_out.some(options.images), split.learned.some(options.images)
    print(f"{len(x)} of {len(held_out)} held-out images, {len(split.learned)} learned ones", flush=True)
    rows: list[dict[str, Any]] = []
    for task, (spec, sigma) in tasks(held_out.image_shape).items():
        operator = Spec.parse(spec).build(OPERATORS, "operator", image_shape=held_out.image_shape, seed=0)
        rows += measured(task, Case(operator, sigma, x, 0), Case(operator, sigma, other, len(x)), priors, options.draws)
        save_json(options.json, rows)
    report(rows)


if __name__ == "__main__":
    main()
