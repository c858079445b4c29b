"""Draws under photon counts, with what `genprior train residual` has learned of a run and without it.

    python benchmarks/photon_draws.py RUN [--images 12] [--draws 16]

Of MNIST test digits: PSNR of the mean; how many pixels lie in their central intervals of 90 %, on ink (above 0.1) and
on black ground apart; CPU seconds an image.
"""

import time
from pathlib import Path

import torch
from measuring import parser_of
from torch import Tensor

import genprior
from genprior.evaluation.image_quality import psnr
from genprior.restoration.fidelity import Poisson
from genprior.restoration.noise import NOISES, measure, stacked
from genprior.restoration.operators import OPERATORS
from genprior.specs import Spec

TASKS = (("denoise", 0.05), ("denoise", 0.2), ("inpaint:random=0.5", 0.05), ("blur:sigma=1", 0.05))
LEVEL, INK = 0.9, 0.1
ROUNDING = 0.5 / 255  # by which an interval may miss: files hold whole levels


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("run", type=Path)
    for name, default in (("images", 12), ("draws", 16)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    prior = genprior.load_prior(options.run)
    x = genprior.load_data("mnist:test").take(torch.arange(options.images))
    for spec, gain in TASKS:
        operator = Spec.parse(spec).build(OPERATORS, "operator", image_shape=prior.image_shape, seed=0)
        y = measure(x, operator, NOISES["poisson"](gain=gain), seed=0)
        for name, own in (("range", prior.with_residual(None)), ("with a residual", prior)):
            began = time.process_time()
            found = genprior.restore(
                own,
                y,
                operator.physics,
                genprior.SearchSettings(draws=options.draws),
                parameters=stacked(operator, range(len(x))),
                fidelity=Poisson(gain),
            )
            seconds, each = (time.process_time() - began) / len(x), psnr(found.images, x)
            spread = float(each.std()) / len(x) ** 0.5
            ink, ground = held(x, found.draws)
            print(
                f"{spec:20} gain {gain:4} {name:16} {float(each.mean()):5.2f} +- {spread:.2f} dB, "
                f"{LEVEL:.0%} hold {ink:.0%} of ink, {ground:.0%} of ground, {seconds:.1f} CPU s an image",
                flush=True,
            )


def held(x: Tensor, draws: Tensor) -> tuple[float, float]:
    """Shares of the pixels of ink and of ground of x (B, C, H, W) that intervals of draws (B, S, C, H, W) hold."""
    low, high = (draws.quantile(q, dim=1) for q in ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    inside = ((x >= low - ROUNDING) & (x <= high + ROUNDING)).float()
    return float(inside[x > INK].mean()), float(inside[x <= INK].mean())


if __name__ == "__main__":
    main()
