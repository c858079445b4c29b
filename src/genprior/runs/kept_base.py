"""Where samples of a flow begin, as a file in its run's folder: a mixture of images, written by `train base`."""

import shlex
from pathlib import Path

from pydantic import BaseModel

from genprior.errors import GenpriorError
from genprior.models.factor_analysers import FactorAnalysers
from genprior.runs.base_settings import BASE_WEIGHTS, BaseTable
from genprior.runs.run_folder import Environment, Run, Side, read_environment
from genprior.runs.signed_tensors import checksum_of, keep_tensors, read_or_refuse, read_tensors
from genprior.stored_files import loads


class BaseOrigin(BaseModel):
    """What of a base's table it is loaded with; the rest of the table is left unread.

    Attributes:
        data_sha256: Of the images that it was learned from; it is of use for runs on the same ones.
        image_shape: (C, H, W).
    """

    data_sha256: str
    image_shape: tuple[Side, Side, Side]


def keep_base(run: Path, base: FactorAnalysers, table: BaseTable) -> None:
    """Writes a base into its run's folder, whole or not at all."""
    keep_tensors(run / BASE_WEIGHTS, dict(base.named_buffers()), "table", table.as_json())


def read_base(file: Path) -> tuple[BaseOrigin, FactorAnalysers]:
    """Returns what `keep_base` wrote; raises all kinds of errors where it is damaged."""
    text, state = read_tensors(file, "table")
    return BaseOrigin.model_validate(loads(text)), FactorAnalysers(**state)


def load_base(run: Run) -> FactorAnalysers | None:
    """Returns the base in a run's folder; None where there is none.

    Raises:
        GenpriorError: The base's file is damaged, or was learned from other images.
    """
    if not run.config.TAKES_BASE:
        return None
    file, again = run.path / BASE_WEIGHTS, f"learn it anew: genprior train base {run.path} --overwrite"
    found = read_or_refuse(file, read_base, again)
    if found is None:
        return None
    origin, base = found
    if not _is_of(origin, read_environment(run)):
        raise GenpriorError(f"{file} was learned from other images than the run; {again}", argument="run")
    return base


def _is_of(origin: BaseOrigin, environment: Environment) -> bool:
    own = environment.data_sha256, environment.image_shape
    return (origin.data_sha256, origin.image_shape) == own


def base_sha256(run: Path) -> str:
    """Returns what tells the base in a run's folder from others; "" where there is none, or a damaged one."""
    return checksum_of(run / BASE_WEIGHTS)


def refuse_without_base(run: Run) -> None:
    """Raises `GenpriorError` where samples of a run begin at latents of its own, or are points."""
    if not _takes_base(run):
        raise GenpriorError(f"{run.path} takes no base: only flow matching on images does", argument="run")


def base_note(run: Run) -> str:
    """Returns how samples of a run become better, or "" where they have what they need."""
    lacks_one = _takes_base(run) and not (run.path / BASE_WEIGHTS).exists()
    return f"better after: genprior train base {shlex.quote(str(run.path))}" if lacks_one else ""


def _takes_base(run: Run) -> bool:
    return run.config.TAKES_BASE and read_environment(run).image_shape[1:] != (1, 1)
