"""What truths say of draws, as a row of a table: the verdict of all tests, coverage, and the quality of the mean.

A library, not a script: it measures nothing by itself.
"""

import time
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from genprior.calibration.calibration_experiment import LEVEL, judged
from genprior.calibration.calibration_inputs import Assumed
from genprior.calibration.calibration_results import ALARM
from genprior.calibration.posterior_draws import PosteriorDraws
from genprior.evaluation.image_quality import psnr
from genprior.evaluation.interval_widening import conformal
from genprior.progress import result_of


def row_of(assumed: Assumed, x: Tensor, y: Tensor, kind: str, contrast: float = 1.0) -> dict[str, Any]:
    """Returns what truths x (N, C, H, W) say of draws for their measurements y.

    Arguments:
        assumed: What draws are made with.
        x: Truths.
        y: Their measurements.
        kind: Name of the truths; another one gives other draws.
        contrast: Of the images, for the PSNR of the mean.
    """
    drawn: list[Tensor] = []

    def kept(*given: Any) -> PosteriorDraws:
        found = assumed.sampler(*given)
        drawn.append(found.x)
        return found

    began = time.perf_counter()
    found = result_of(judged(replace(assumed, sampler=kept), x, y, kind))
    seconds, level = (time.perf_counter() - began) / len(x), found.level
    quality = psnr(torch.cat(drawn).mean(1) / contrast, x / contrast)
    repaired, nominal = conformal(found.intervals), level.reliability.nominal
    at = min(range(len(nominal)), key=lambda i: abs(nominal[i] - LEVEL))
    return {
        "kind": kind,
        "p": level.p,
        "passes": level.p > ALARM,
        "strongest": level.strongest,
        "factor": float(level.needed),
        "nominal": nominal[at],
        "balls": level.reliability.balls[at],
        "pixels": level.reliability.pixels[at],
        "repaired balls": repaired.balls_after,
        "ball factor": float(repaired.ball_factor),
        "psnr": float(quality.mean()),
        "psnr_error": float(quality.std() / len(x) ** 0.5),
        "not_mixed": level.not_mixed,
        "seconds": seconds,
    }


def shown(row: dict[str, Any]) -> str:
    """Returns a row in words."""
    mixing = "" if row["not_mixed"] is None else f", {row['not_mixed']} did not mix"
    verdict = "passes" if row["passes"] else f"fails by {row['strongest']}"
    held = f"balls of {row['nominal']:.0%} hold {row['balls']:.0%}, pixels {row['pixels']:.0%}"
    return (
        f"p {row['p']:.2g} {verdict}; {held}, factor {row['factor']:.2f}; PSNR {row['psnr']:.2f} +- "
        f"{row['psnr_error']:.2f}; {row['seconds']:.2f} s an image{mixing}"
    )
