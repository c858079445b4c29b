"""A run as a report shows it, of rows and tables made up, without a folder."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from genprior.families import GANConfig, RunConfig
from genprior.report.collect import Reported
from genprior.runs.run_folder import Environment, Run
from genprior.runs.step_rows import StepRows
from genprior.scoring.scoring_results import (
    ClassHistogram,
    DiagnosisResult,
    DiagnosisSettings,
    Evaluation,
    EvaluationSettings,
    FoundModes,
    JudgeRecord,
    ScoreBesideFloor,
    ScoreInterval,
    SignRecord,
)

Row = dict[str, Any]
FACTORS = ("loss_factor", "discriminator_slope", "generator_jacobian", "effective_share")
SCORE = ScoreBesideFloor(
    title="Frechet distance",
    value=12.34,
    low=11.0,
    high=13.5,
    floor=ScoreInterval(value=1.2, low=1.1, high=1.3),
    better="lower",
    unit="",
)
METRICS = Evaluation(
    settings=EvaluationSettings(run=Path("run")),
    images_seen=3840,
    samples=1000,
    real=900,
    held_out="digits[64:]",
    judge=JudgeRecord(data="digits", accuracy=0.97, hash="abc"),
    scores={"frechet": SCORE},
    classes=ClassHistogram(
        names=["zero", "one"],
        counts=[600, 400],
        expected=[500.0, 500.0],
        chi_square=40.0,
        degrees=1,
        p_value=2.5e-10,
        floor_chi_square=0.9,
    ),
    modes=FoundModes(found=2, of=2),
    notes=["few images"],
)
DIAGNOSIS = DiagnosisResult(
    settings=DiagnosisSettings(run=Path("run")),
    verdict="saturated",
    is_ill=True,
    images_seen=3840,
    since_images=1920,
    evidence=["the loss factor fell below 1 %"],
    remedy="use the non-saturating loss",
    signs=[SignRecord(name="saturation", since_images=1920, until_images=3840, text="factor 0.001")],
    notes=[],
)


def gan_rows(count: int = 10, *, is_old: bool = False, **changes: float | None) -> list[Row]:
    """Rows of a GAN, 384 images a step; older ones lack what tells saturation."""
    own = {
        **{"discriminator_loss": 1.2, "generator_loss": 0.8, "d_real": 0.6, "d_fake": 0.4},
        **{"accuracy_real": 0.7, "accuracy_fake": 0.8},
        **{"discriminator_gradient_norm": 2.0, "generator_gradient_norm": 0.5},
    }
    new = dict.fromkeys((*FACTORS, "loss_factor_saturating", "loss_factor_non-saturating", "loss_factor_hinge"), 0.5)
    row = {**own, **({} if is_old else new), **changes}
    return [{"step": i + 1, "images_seen": 384 * (i + 1), **row} for i in range(count)]


def made_up(
    name: str = "run",
    config: RunConfig | None = None,
    rows: list[Row] | None = None,
    **changes: Any,  # noqa: ANN401
) -> Reported:
    """A run that saw 3840 images of 8 x 8 pixels, as `collect` would return it."""
    reported = Reported(
        Run(Path(name), config or GANConfig(data="digits[:64]", size=8)),
        name,
        Environment(images=64, image_shape=(1, 8, 8), data_sha256="same", device="cpu"),
        step=10,
        images_seen=3840,
        seconds=60.0,
        rows=StepRows(gan_rows() if rows is None else rows),
        events=[],
        samples=torch.rand(64, 1, 8, 8, generator=torch.Generator().manual_seed(0)),
        metrics=METRICS,
        diagnosis=DIAGNOSIS,
    )
    return replace(reported, **changes)
