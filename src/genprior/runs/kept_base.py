"""Where samples of a flow begin, as a file in its run's folder: a mixture of images, written by `train base`."""

import math
import shlex
from pathlib import Path

import torch

from genprior.errors import GenpriorError
from genprior.models.factor_analysers import FactorAnalysers
from genprior.priors.contracts import LatentPrior
from genprior.runs.base_settings import BASE_WEIGHTS, BaseTable
from genprior.runs.signed_tensors import keep_tensors, read_or_refuse, read_tensors


def keep_base(run: Path, base: FactorAnalysers, table: BaseTable) -> None:
    """Writes a base into its run's folder, whole or not at all."""
    keep_tensors(run / BASE_WEIGHTS, dict(base.named_buffers()), "table", table.as_json())


def read_base(file: Path) -> FactorAnalysers:
    """Returns the mixture that `keep_base` wrote; raises all kinds of errors where it is damaged."""
    _, state = read_tensors(file, "table")
    return FactorAnalysers(**state)


def load_base(run: Path, prior: LatentPrior) -> FactorAnalysers | None:
    """Returns the base in a run's folder; None where there is none.

    Arguments:
        run: The run's folder.
        prior: Of the run; it tells the shape of images.

    Raises:
        GenpriorError: The base's file is damaged, or is for images of another shape.
    """
    again = f"learn it anew: genprior train base {run} --overwrite"
    found = read_or_refuse(run / BASE_WEIGHTS, read_base, again)
    size = math.prod(prior.image_shape)
    if found is not None and found.means.shape[1] != size:
        raise GenpriorError(
            f"{run / BASE_WEIGHTS} has images of {found.means.shape[1]} values, the run of {size}; {again}",
            argument="run",
        )
    return found


def takes_base(prior: LatentPrior) -> bool:
    """Returns whether samples of a prior may begin at a mixture of images; those of points do not."""
    size = math.prod(prior.image_shape)
    some = FactorAnalysers(torch.ones(1), torch.zeros(1, size), torch.zeros(1, size, 0), torch.ones(1, size))
    return prior.image_shape[1:] != (1, 1) and prior.with_base(some) is not prior


def refuse_without_base(run: Path, prior: LatentPrior) -> None:
    """Raises `GenpriorError` where samples of a prior begin at latents of its own, or are points."""
    if not takes_base(prior):
        raise GenpriorError(f"{run} takes none; a base goes with images of flow matching", argument="run")


def base_note(run: Path, prior: LatentPrior) -> str:
    """Returns how samples of a prior become better, or "" where they have what they need."""
    return (
        f"better after: genprior train base {shlex.quote(str(run))}" if takes_base(prior) and not prior.has_base else ""
    )
