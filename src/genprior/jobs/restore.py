"""From settings to the job of inverting or restoring many images. Names are resolved here."""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from genprior.config import build
from genprior.errors import GenpriorError, suggestion
from genprior.jobs import items as reading
from genprior.jobs.items import Item, ReadItem
from genprior.jobs.output import open_output
from genprior.jobs.parts import Job, refuse_overwriting_together
from genprior.jobs.restoring import Draw, Restoring
from genprior.jobs.settings import RestoreSettings
from genprior.jobs.sources import Source, open_source
from genprior.restoration.fidelity import FIDELITIES, Fidelity
from genprior.restoration.noise import NOISES, noise_level, suggested_fidelity
from genprior.restoration.operators import OPERATORS, Operator
from genprior.restoration.priors import Prior
from genprior.restoration.restore import invert, restore
from genprior.restoration.result import Restoration
from genprior.restoration.settings import SEARCHES, SearchSettings
from genprior.runs import load_prior, open_run
from genprior.runs.checkpoint import load_checkpoint
from genprior.runs.encoder import WEIGHTS

if TYPE_CHECKING:
    from deepinv.physics import NoiseModel


def restore_job(
    run: Path,
    settings: RestoreSettings,
    out: Path,
    *,
    data_root: Path | None = None,
    overwrite: bool = False,
    draw: Draw | None = None,
) -> Job:
    """Returns the job of inverting or restoring images; its folder is made last, so that bad input leaves none behind.

    Arguments:
        run: Folder of the trained prior.
        settings: What is to be done.
        out: Folder of the results; one of the same job is gone on with.
        data_root: Of named data sets.
        overwrite: Begin anew where results of such a job are there.
        draw: Makes pictures of the first images, in the folder that it is given.

    Raises:
        GenpriorError: Bad input.
    """
    refuse_overwriting_together(overwrite)
    search = search_settings(settings)
    weights = weights_sha256(run)
    prior = load_prior(run, average=settings.average)
    shape = prior.image_shape
    source = open_source(settings.images, data_root=data_root)
    refuse_inside(out, source)
    noise = None if settings.noise is None else build(NOISES, settings.noise, "noise")
    if settings.operator is None:
        work = _inverting(prior, source, search, settings)
    else:
        work = _restoring(prior, source, search, settings, noise)
    work = replace(work, draw=draw)
    refuse_unfit(source, work.read, settings.batch_size)
    decided = {"settings": settings.stored(), "source": source.identity, "run": {"weights_sha256": weights}}
    output = open_output(out, settings.command, decided, len(source), settings.batch_size, overwrite=overwrite)
    return Job(output, work, [f"{out}: {len(source):,} images of {'x'.join(map(str, shape))} from {settings.images}"])


def search_settings(settings: RestoreSettings) -> SearchSettings:
    """Returns the preset with what replaces its settings.

    Raises:
        GenpriorError: No such preset.
    """
    if settings.preset not in SEARCHES:
        raise GenpriorError(
            f"unknown preset '{settings.preset}', {suggestion(settings.preset, SEARCHES)}", argument="preset"
        )
    names = ("starts", "iterations", "energy_weight", "candidates")
    given = {name: getattr(settings, name) for name in names if getattr(settings, name) is not None}
    preset = SEARCHES[settings.preset]
    return replace(preset, **given, beyond=settings.beyond or preset.beyond)


def weights_sha256(run: Path) -> str:
    """Returns what tells a run's newest checkpoint, and its encoder, from all others.

    Raises:
        GenpriorError: No run, or one that has not begun to train.
    """
    checkpoint, _ = load_checkpoint(open_run(run).checkpoints)
    if checkpoint is None or checkpoint.images_seen == 0:
        raise GenpriorError(f"{run} is not trained yet: go on with `genprior resume {run}`", argument="run")
    digest = hashlib.sha256()
    for name, value in sorted(checkpoint.tensors.items()):
        digest.update(name.encode())
        digest.update(value.contiguous().view(torch.uint8).numpy().data if value.ndim else str(value.item()).encode())
    encoder = run / WEIGHTS
    return digest.hexdigest() if not encoder.exists() else f"{digest.hexdigest()} {_file_sha256(encoder)}"


def _file_sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def refuse_inside(out: Path, source: Source) -> None:
    """Raises `GenpriorError` where results would become images of the folder that is being read."""
    if source.path is not None and source.path.is_dir() and out.resolve().is_relative_to(source.path.resolve()):
        raise GenpriorError(f"{out} lies in the folder of images {source.path}; choose another folder", argument="out")


def refuse_unfit(source: Source, read: ReadItem, count: int) -> None:
    """Raises `GenpriorError` for a readable one of the first `count` items that does not fit, or if all are unreadable.

    What is wrong with later ones is told when their turn comes, and does not end the work on the others.
    """
    problems = []
    for place in range(min(count, len(source))):
        try:
            source.read(place)
        except (GenpriorError, OSError) as error:
            problems.append(error.message if isinstance(error, GenpriorError) else str(error))
            continue
        read(place)
    if len(problems) == len(source):
        raise GenpriorError(f"none of {len(source)} images can be read; {problems[0]}", argument="images")


def _inverting(prior: Prior, source: Source, search: SearchSettings, settings: RestoreSettings) -> Restoring:
    fidelity = None if settings.fidelity is None else build(FIDELITIES, settings.fidelity, "fidelity")

    def solve(items: Sequence[Item]) -> Restoration:
        return invert(
            prior,
            torch.stack([item.y for item in items]),
            search,
            fidelity=fidelity,
            noise_level=settings.noise_level or 0.0,
            seed=settings.seed,
            first=items[0].number,
        )

    read = reading.whole_images(source, prior.image_shape, settings.resize)
    return Restoring(source, read, solve, None, {"command": "invert", "settings": asdict(settings)})


def _restoring(
    prior: Prior, source: Source, search: SearchSettings, settings: RestoreSettings, noise: "NoiseModel | None"
) -> Restoring:
    shape = prior.image_shape
    operator, masks = reading.operator_and_masks(
        settings,
        source,
        shape,
        lambda text: build(OPERATORS, text, "operator", image_shape=shape, seed=settings.seed),
    )
    if settings.simulate:
        noise = noise or NOISES["none"]()
        read = reading.damaged_here(source, shape, settings.resize, operator, noise, settings.seed)
    else:
        read = reading.damaged_before(source, shape, settings.resize, operator, masks)
    level = settings.noise_level if noise is None else noise_level(noise)
    fidelity = chosen_fidelity(settings.fidelity, operator, noise)

    def solve(items: Sequence[Item]) -> Restoration:
        return restore(
            prior,
            torch.stack([item.y for item in items]),
            operator.physics,
            search,
            parameters=joined_parameters(items),
            fidelity=fidelity,
            noise_level=level,
            seed=settings.seed,
            first=items[0].number,
        )

    def measure(x: Tensor, parameters: dict[str, Tensor]) -> Tensor:
        y: Tensor = operator.physics.A(x, **parameters)
        return y

    return Restoring(source, read, solve, measure, {"command": "restore", "settings": asdict(settings)})


def chosen_fidelity(text: str | None, operator: Operator, noise: "NoiseModel | None") -> Fidelity:
    """Returns the data term that is asked for, else the one that suits the noise, else the operator's.

    Raises:
        GenpriorError: No such data term.
    """
    name = text or (None if noise is None else suggested_fidelity(noise)) or operator.fidelity
    gain = getattr(noise, "gain", None)
    if name == "poisson" and gain is not None:
        name = f"poisson:gain={float(gain)}"
    return build(FIDELITIES, name, "fidelity")


def joined_parameters(items: Sequence[Item]) -> dict[str, Tensor]:
    """Returns the parameters (B, ...) of the operator for items."""
    return {name: torch.cat([item.parameters[name] for item in items]) for name in items[0].parameters}
