"""Restoration of MNIST test digits, fifteen kinds of damage, against the study's procedure and classical methods.

    python benchmarks/restoration.py RUN ... [--images 1000] [--few 100] [--only NAME ...] [--ours] [--theirs] [--brief]
                                      [--draws [64]] [--minutes 0] [--json out.json]

Each RUN is a run on `mnist` (training images only), a GAN with its encoder; its name stands in the table. Runs of all
families go into one call, and its last lines are a table of all methods on the same few images. With `--minutes 4` a
small U-Net learns each task for so many CPU minutes: give it what a run had. Methods, all
on the same measurements: nothing (what is seen, by the adjoint or the pseudo-inverse), total variation, the Lasso on
pixels and in wavelets, deepinv's plug-and-play with the first run of flow matching as its denoiser (their settings
tuned on ten other test images, 5000 to 5009, to the smallest error), the study's procedure (one
random z, 1000 steps of Adam, no energy), each run as `genprior restore` uses it, and with `--beyond`. Runs see
`--images` images, the slower methods and flows the first `--few` of them; "RUN, few" is a run on those few. With
`--ours` the methods that need no run are left out, with `--brief` `--beyond`, the study's procedure and the other data
terms, with `--theirs` the runs themselves. Seconds are those of the processor, so that other work disturbs them less.
Noise: sigma as named for denoising, 0.1 / sqrt(m) for compressed sensing (the protocol of Bora et al. 2017), 0.02
elsewhere; its level is known to all.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import torch
from measuring import errors_of, parser_of, save_json
from restoring_methods import (
    DRAWS,
    Case,
    covered,
    drawn,
    lasso,
    plug_and_play,
    restored,
    total_variation,
    tuned,
    wavelet_lasso,
)
from supervised_restorer import Supervised
from torch import Tensor

import genprior
from genprior.data.spec import data_root
from genprior.evaluation.features import features_and_classes
from genprior.evaluation.image_quality import psnr, ssim
from genprior.judges.trained_judge import CLASSIFIER, judge_of
from genprior.priors.flow_matching_prior import FlowMatchingPrior
from genprior.priors.flow_prior import FlowPrior
from genprior.progress import result_of
from genprior.report.collect import names_of
from genprior.restoration.fidelity import L1, L2
from genprior.restoration.latent_sampler import MIXED
from genprior.restoration.operators import OPERATORS
from genprior.restoration.search_settings import SEARCHES
from genprior.specs import Spec

Method = Callable[[Case], Tensor | genprior.Restoration]
SHAPE = (1, 28, 28)
TUNED_ON = range(5000, 5010)
# name: operator, standard deviation of the noise
TASKS: dict[str, tuple[str, float]] = {
    "denoise 0.1": ("denoise", 0.1),
    "denoise 0.3": ("denoise", 0.3),
    "denoise 0.5": ("denoise", 0.5),
    "inpaint box 14": ("inpaint:box=14", 0.02),
    "inpaint 50 % random": ("inpaint:random=0.5", 0.02),
    "inpaint 80 % random": ("inpaint:random=0.8", 0.02),
    "inpaint lower half": ("inpaint:half=lower", 0.02),
    "downsample 2": ("downsample:factor=2", 0.02),
    "downsample 4": ("downsample:factor=4", 0.02),
    "blur 2": ("blur:sigma=2", 0.02),
    **{f"compressed sensing {m}": (f"compressed-sensing:m={m}", 0.1 / m**0.5) for m in (25, 50, 100, 200, 500)},
}
WEIGHTS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
SMALLER_WEIGHTS = (1e-5, 1e-4, 1e-3, 1e-2, 0.03, 0.1, 0.2, 0.3, 0.5, 1.0)
WAVELETS = ("haar", "db2", "sym4")
PEERS: dict[str, tuple[Callable[[Case, Any], Tensor], list[Any]]] = {
    "total variation": (total_variation, list(WEIGHTS)),
    "lasso": (lasso, list(SMALLER_WEIGHTS)),
    "lasso, wavelets": (wavelet_lasso, list(product(WAVELETS, (1e-4, *WEIGHTS)))),
}
PLUG_AND_PLAY = list(product((0.2, 1.0, 3.0), (1.0, 4.0, 16.0, 64.0, 256.0), (8, 40)))


def peers_with(priors: list[genprior.LatentPrior]) -> dict[str, tuple[Callable[[Case, Any], Tensor], list[Any]]]:
    """Returns the methods of others with the settings to try; plug-and-play where there is a flow for it."""
    flows = [prior for prior in priors if isinstance(prior, FlowMatchingPrior)]
    return PEERS | ({"plug-and-play": (partial(plug_and_play, flows[0]), PLUG_AND_PLAY)} if flows else {})


def nothing(case: Case) -> Tensor:
    physics = case.operator.physics
    if case.y.shape == case.x.shape:
        return case.y.clamp(0, 1)
    each = [
        physics.A_dagger(case.y[i : i + 1], **{name: value[i : i + 1] for name, value in case.parameters.items()})
        for i in range(len(case.y))
    ]
    return torch.cat(each).clamp(0, 1)


class Table:
    """Rows that are printed as they come."""

    def __init__(self, classifier: torch.nn.Module) -> None:
        self.classifier, self.rows = classifier, []

    def add(self, task: str, method: str, case: Case, labels: Tensor, run: Method) -> None:
        began = time.process_time()
        answer = run(case)
        seconds = (time.process_time() - began) / len(case.x)
        found = answer if isinstance(answer, Tensor) else answer.images
        right = features_and_classes(self.classifier, found.clamp(0, 1))[1] == labels[: len(found)]
        error, quality = errors_of(found, case.x), psnr(found, case.x).clamp(max=99)
        row = {
            "task": task,
            "method": method,
            "images": len(found),
            "psnr": float(quality.mean()),
            "psnr_error": float(quality.std() / len(quality) ** 0.5),
            "ssim": float(ssim(found, case.x).mean()),
            "accuracy": float(right.float().mean()),
            "error": float(error.mean()),
            "standard_error": float(error.std() / len(error) ** 0.5),
            "seconds": seconds,
        }
        draws = ""
        if not isinstance(answer, Tensor):
            row["coverage"] = covered(answer, case.x)
            row["not mixed"] = float((answer.r_hat > MIXED).float().mean())
            draws = f"  90 % balls hold {row['coverage']:.2f}, not mixed {row['not mixed']:.2f}"
        self.rows.append(row)
        print(
            f"{task:24} {method:22} {len(found):5} images  PSNR {row['psnr']:5.2f} +- {row['psnr_error']:.2f}  "
            f"SSIM {row['ssim']:.3f}  accuracy {row['accuracy']:.3f}  "
            f"error {row['error']:.4f} +- {row['standard_error']:.4f}  {seconds:.4f} s each{draws}",
            flush=True,
        )

    def beside_one_another(self, count: int) -> str:
        """A table in Markdown: tasks, and in a cell of each method that saw `count` images what it came to."""
        rows = {(row["task"], row["method"]): row for row in self.rows if row["images"] == count}
        tasks, methods = (list(dict.fromkeys(key[i] for key in rows)) for i in (0, 1))
        lines = [["PSNR / SSIM / % right / % of balls", *methods], ["---"] * (len(methods) + 1)]
        lines += [[task, *(_cell(rows.get((task, method))) for method in methods)] for task in tasks]
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(row: dict[str, Any] | None) -> str:
    if row is None:
        return ""
    held = f" / {row['coverage']:.0%}" if "coverage" in row else ""
    return f"{row['psnr']:.1f} ± {row['psnr_error']:.1f} / {row['ssim']:.2f} / {row['accuracy']:.0%}{held}"


def _with(method: Callable[[Case, Any], Tensor], setting: object) -> Method:
    return lambda case: method(case, setting)


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--few", type=int, default=100)
    parser.add_argument("--only", nargs="*", default=list(TASKS), choices=list(TASKS))
    parser.add_argument("--ours", action="store_true")
    parser.add_argument("--theirs", action="store_true")
    parser.add_argument("--brief", action="store_true")
    parser.add_argument("--draws", type=int, nargs="?", const=DRAWS, default=0)
    parser.add_argument("--minutes", type=float, default=0.0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    priors = dict(zip(names_of(options.runs), map(genprior.load_prior, options.runs), strict=True))
    test = genprior.load_data("mnist:test")
    assert test.labels is not None
    labels = test.labels[: options.images]
    x, other = test.take(torch.arange(options.images)), test.take(torch.tensor(list(TUNED_ON)))
    learned = genprior.load_data("mnist:train")
    table = Table(result_of(judge_of(CLASSIFIER, learned, test, data_root())).network)
    beyond = replace(SEARCHES["default"], beyond=True)
    peers = {} if options.ours else peers_with(list(priors.values()))

    for task in options.only:
        spec, sigma = TASKS[task]
        operator = Spec.parse(spec).build(OPERATORS, "operator", image_shape=SHAPE, seed=0)
        case = Case(operator, sigma, x, 0)
        few, tuning = case.few(options.few), Case(operator, sigma, other, TUNED_ON.start)

        for name, prior in () if options.theirs else priors.items():
            ours = partial(restored, prior)
            is_flow = isinstance(prior, FlowPrior)
            if not is_flow and options.images > options.few:
                table.add(task, name, case, labels, ours)
            table.add(task, f"{name}, few", few, labels, ours)
            if options.draws:
                table.add(task, f"{name}, mean, few", few, labels, partial(drawn, prior, draws=options.draws))
            if options.brief:
                continue
            has_range = not is_flow and prior.conditional is None and prior.denoiser is None
            if has_range:
                table.add(task, f"{name}, beyond, few", few, labels, partial(ours, settings=beyond))
            if options.ours:
                continue
            if "inpaint" in task:
                table.add(task, f"{name}, L2, few", few, labels, partial(ours, fidelity=L2()))
            elif "denoise" in task:
                table.add(task, f"{name}, L1, few", few, labels, partial(ours, fidelity=L1()))
            if has_range:
                table.add(task, f"{name}, study", few, labels, partial(ours, settings=SEARCHES["study"], fidelity=L2()))
        if options.minutes:
            network = Supervised(operator, sigma, learned, options.minutes)
            print(
                f"{task:24} U-Net: {network.images_seen:,} pairs in {network.cpu_minutes:.1f} CPU minutes", flush=True
            )
            table.add(task, "U-Net", few, labels, network)
        for name, (method, settings) in peers.items():
            chosen = tuned(method, settings, tuning)
            table.add(task, name, few, labels, _with(method, chosen))
            print(f"{task:24} {name}: {chosen}", flush=True)
        if not options.ours:
            table.add(task, "nothing", few, labels, nothing)
        save_json(options.json, table.rows)
    print(table.beside_one_another(options.few))


if __name__ == "__main__":
    main()
