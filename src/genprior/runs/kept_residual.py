"""What a run's images lack of real ones, as a file in its folder: written by `train residual`, used by draws."""

import hashlib
import math
import warnings
from pathlib import Path

import torch
from pydantic import BaseModel
from torch import Tensor

from genprior.errors import GenpriorError
from genprior.models.range_residual import RangeResidual
from genprior.priors.contracts import LatentPrior
from genprior.runs.signed_tensors import keep_tensors, read_or_refuse, read_tensors
from genprior.stored_files import loads, weights_sha256

RESIDUAL = "residual.safetensors"


class ResidualRecord(BaseModel):
    """Where a residual comes from.

    Attributes:
        generator_sha256: Of the generator's weights; the residual is of use for no others.
        learned: Checksums of the images that it was learned from: no calibration judges these.
    """

    generator_sha256: str
    learned: list[str]


def image_sha256(x: Tensor) -> str:
    """Returns what tells an image (C, H, W) from others, to the last bit."""
    return hashlib.sha256(x.float().cpu().contiguous().numpy().tobytes()).hexdigest()[:16]


def keep_residual(run: Path, residual: RangeResidual, record: ResidualRecord) -> None:
    """Writes a residual into its run's folder, whole or not at all."""
    state = {"factors": residual.factors, "noise": residual.noise}
    keep_tensors(run / RESIDUAL, state, "record", record.model_dump_json())


def read_residual(file: Path) -> tuple[ResidualRecord, RangeResidual]:
    """Returns what `keep_residual` wrote; raises all kinds of errors where it is damaged."""
    text, state = read_tensors(file, "record")
    return ResidualRecord.model_validate(loads(text)), RangeResidual(**state)


def has_range(prior: LatentPrior) -> bool:
    """Returns whether a prior lacks some images, so that there is something beside its range."""
    size = math.prod(prior.image_shape)
    return prior.with_residual(RangeResidual(torch.zeros(size, 0), torch.ones(size))).residual is not None


def refuse_without_range(run: Path, prior: LatentPrior) -> None:
    """Raises `GenpriorError` where a prior has all images in its range, so that nothing is beside it."""
    if not has_range(prior):
        raise GenpriorError(f"{run} has all images in its range; a residual goes with GAN, GLO, VAE", argument="run")


def generator_sha256(prior: LatentPrior) -> str:
    """Returns what tells the weights that decode latents from others; whether there is an encoder does not matter."""
    return weights_sha256(prior.networks[0].state_dict())


def load_residual(run: Path, prior: LatentPrior) -> RangeResidual | None:
    """Returns the residual in a run's folder; None where there is none, or none for these weights.

    Arguments:
        run: The run's folder.
        prior: With the weights that are in use.

    Raises:
        GenpriorError: The residual's file is damaged.
    """
    file = run / RESIDUAL
    again = f"genprior train residual {run} --overwrite"
    found = read_or_refuse(file, read_residual, f"learn it anew: {again}")
    if found is None:
        return None
    record, residual = found
    if record.generator_sha256 != generator_sha256(prior):
        warnings.warn(f"{file} belongs to other weights and is not used; learn it anew: {again}", stacklevel=4)
        return None
    return residual


def learned_images(run: Path) -> set[str]:
    """Returns checksums of the images that the residual in a run's folder was learned from."""
    file = run / RESIDUAL
    return set(read_residual(file)[0].learned) if file.exists() else set()
