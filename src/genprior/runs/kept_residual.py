"""What a run's images lack of real ones, as a file in its folder: written by `calibrate`, used by `restore`."""

import hashlib
import math
from pathlib import Path

import torch
from pydantic import BaseModel
from torch import Tensor

from genprior.errors import GenpriorError, raise_lack_of_memory
from genprior.models.range_residual import RangeResidual
from genprior.priors.contracts import LatentPrior
from genprior.stored_files import loads, weights_sha256
from genprior.writing import save_tensors

RESIDUAL = "residual.safetensors"


class ResidualRecord(BaseModel):
    """Where a residual comes from.

    Attributes:
        prior_sha256: Of the weights of the prior; the residual is of use for no others.
        images: How many it was learned from.
    """

    prior_sha256: str
    images: int


def networks_sha256(prior: LatentPrior) -> str:
    """Returns what tells all weights of a prior from others."""
    state = {f"{i}.{name}": value for i, net in enumerate(prior.networks) for name, value in net.state_dict().items()}
    return weights_sha256(state)


def keep_residual(run: Path, prior: LatentPrior, images: int) -> None:
    """Writes the residual of a prior that has one into its run's folder, whole or not at all.

    Arguments:
        run: The run's folder.
        prior: With the residual.
        images: How many it was learned from.
    """
    assert prior.residual is not None
    state = {"factors": prior.residual.factors.contiguous(), "noise": prior.residual.noise.contiguous()}
    text = ResidualRecord(prior_sha256=networks_sha256(prior), images=images).model_dump_json()
    save_tensors(state, run / RESIDUAL, {"record": text, "sha256": _checksum(text, state)})


def read_residual(file: Path) -> tuple[ResidualRecord, RangeResidual]:
    """Returns what `keep_residual` wrote; raises all kinds of errors where it is damaged."""
    from safetensors import safe_open

    with safe_open(file, framework="pt") as opened:
        metadata = opened.metadata()
        state = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - no mapping
    if metadata["sha256"] != _checksum(metadata["record"], state):
        raise ValueError("its checksum is wrong")
    return ResidualRecord.model_validate(loads(metadata["record"])), RangeResidual(**state)


def refuse_without_range(run: Path, prior: LatentPrior) -> None:
    """Raises `GenpriorError` where a prior has all images in its range, so that nothing is beside it."""
    size = math.prod(prior.image_shape)
    nothing = RangeResidual(torch.zeros(size, 0), torch.ones(size))
    if prior.with_residual(nothing).residual is None:
        raise GenpriorError(f"{run} has all images in its range; it goes with GAN, GLO, VAE", argument="residual")


def with_kept_residual(run: Path, prior: LatentPrior) -> LatentPrior:
    """Returns a run's prior with the residual in the run's folder.

    Raises:
        GenpriorError: About `residual`: there is none, it is damaged, or it belongs to other weights.
    """
    file, how = run / RESIDUAL, f"genprior calibrate {run} --operator denoise --noise gaussian:sigma=0.1 --residual 200"
    refuse_without_range(run, prior)
    if not file.exists():
        raise GenpriorError(f"{run} has none yet; learn one: {how} --overwrite", argument="residual")
    try:
        record, residual = read_residual(file)
    except Exception as error:  # safetensors has errors of its own, and what a damaged header holds may be anything
        raise_lack_of_memory(error)
        reason = str(error).partition("\n")[0]
        raise GenpriorError(
            f"{file} is damaged ({reason}); learn it anew: {how} --overwrite", argument="residual"
        ) from error
    if record.prior_sha256 != networks_sha256(prior):
        raise GenpriorError(f"{file} belongs to other weights; learn it anew: {how} --overwrite", argument="residual")
    return prior.with_residual(residual)


def _checksum(text: str, state: dict[str, Tensor]) -> str:
    return hashlib.sha256(f"{text}\n{weights_sha256(state)}".encode()).hexdigest()
