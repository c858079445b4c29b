"""What the range of a run lacks of real images, learned from inversions of some and kept in the run's folder."""

import math

import torch

from genprior.calibration.calibration_inputs import renamed
from genprior.calibration.residual_results import FEWEST, ResidualSettings, ResidualTable
from genprior.errors import GenpriorError
from genprior.judges.run_images import held_out_images, run_split, with_data_root
from genprior.models.range_residual import RangeResidual
from genprior.progress import Stage, Task
from genprior.restoration.restore import invert
from genprior.runs.best_weights import used_checkpoint
from genprior.runs.kept_residual import (
    ResidualRecord,
    generator_sha256,
    image_sha256,
    keep_residual,
    refuse_without_range,
)
from genprior.runs.run_folder import locked, open_run
from genprior.runs.trained_prior import in_float32, prior_of
from genprior.seeding import derived_generator

RANK = 20  # of the covariance, beside the variance of each pixel
AT_ONCE = 50  # images


def learn_residual(settings: ResidualSettings, _: ResidualTable | None = None) -> Task[ResidualTable]:
    """Inverts images that a run has not learned, and keeps what is left of them as a Gaussian in the run's folder.

    At most half of the images are taken, but `FEWEST` at least, so that some are left for a calibration.

    Raises:
        GenpriorError: No run, a prior that has all images in its range, or too few images.
    """
    run = open_run(settings.run)
    with in_float32():
        prior = prior_of(run, used_checkpoint(run).tensors, residual=False)  # the old one may be damaged
    refuse_without_range(settings.run, prior)
    split = run_split(run, settings.data_root) if settings.images is None else None
    try:
        config = with_data_root(run.config, settings.data_root)
        data = held_out_images(config, prior.image_shape, settings.images, split)
    except GenpriorError as error:
        raise renamed(error) from error
    count = min(settings.count, len(data), max(FEWEST, len(data) // 2))
    if count < FEWEST:
        raise GenpriorError(f"at least {FEWEST} images are needed, {data.name} has {len(data)}", argument="images")
    order = torch.randperm(len(data), generator=derived_generator(settings.seed, "beside the range"))[:count]
    table = ResidualTable(
        settings=settings,
        is_complete=False,
        generator_sha256=generator_sha256(prior),
        source=data.name,
        images=count,
        rank=None,
        size=math.nan,
    )
    yield Stage(0.0, "run opened")
    x, found = data.take(order), []
    for first in range(0, count, AT_ONCE):
        found.append(invert(prior, x[first : first + AT_ONCE], seed=settings.seed).images)
        yield Stage(min(1.0, (first + AT_ONCE) / count), f"{min(first + AT_ONCE, count):,} of {count:,} inverted")
    off = x - torch.cat(found)
    residual = RangeResidual.learned(off, RANK)
    with locked(run):
        record = ResidualRecord(generator_sha256=table.generator_sha256, learned=[image_sha256(one) for one in x])
        keep_residual(settings.run, residual, record)
    rank, size = residual.factors.shape[1], float(off.square().mean().sqrt())
    return table.model_copy(update={"rank": rank, "size": size, "is_complete": True})
