"""From settings to the job of inverting or restoring many images. Names are resolved here."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from genprior.errors import GenpriorError, suggestion
from genprior.priors.contracts import LatentPrior
from genprior.restoration.fidelity import FIDELITIES, Fidelity
from genprior.restoration.noise import NOISES, noise_level, suggested_fidelity
from genprior.restoration.operators import OPERATORS, Operator
from genprior.restoration.restore import invert, restore
from genprior.restoration.result import Restoration
from genprior.restoration.search_settings import SEARCHES, SearchSettings
from genprior.restoring import measurements as reading
from genprior.restoring.job_settings import RestoreSettings
from genprior.restoring.ledger import open_output
from genprior.restoring.masks import mask_facts
from genprior.restoring.measurements import Item, joined_parameters, refuse_unfit, with_recorded_noise
from genprior.restoring.parallel import Job, refuse_overwriting_together
from genprior.restoring.part_work import Draw, Restoring
from genprior.restoring.sources import Source, file_facts, open_source, refuse_inside
from genprior.runs.checkpoint import load_counters
from genprior.runs.encoder_training import weights_sha256
from genprior.runs.run_folder import open_run
from genprior.runs.trained_prior import load_prior
from genprior.specs import build

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
    refuse_untrained(run)
    prior = load_prior(run, average=settings.average)
    shape = prior.image_shape
    source = open_source(settings.images, data_root=data_root)
    refuse_inside(out, source)
    settings = with_recorded_noise(settings, source)
    noise = None if settings.noise is None else build(NOISES, settings.noise, "noise")
    if settings.operator is None:
        work = _inverting(prior, source, search, settings)
    else:
        work = _restoring(prior, source, search, settings, noise)
    work = replace(work, draw=draw)
    refuse_unfit(source, work.read, settings.batch_size)
    decided = {
        "settings": settings.stored(),
        "source": source.identity,
        "files": file_facts(settings.operator) | mask_facts(settings.mask, source),
        "run": {"weights_sha256": prior_sha256(prior)},
    }
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


def refuse_untrained(run: Path) -> None:
    """Raises `GenpriorError` where there is no run, or one that has not begun to train."""
    counters, _ = load_counters(open_run(run).checkpoints)
    if counters is None or counters.step == 0:
        raise GenpriorError(f"{run} is not trained yet: go on with `genprior resume {run}`", argument="run")


def prior_sha256(prior: LatentPrior) -> str:
    """Returns what tells a prior's weights, and those of its encoder, from all others."""
    return " ".join(weights_sha256(network.state_dict()) for network in prior.networks)


def _inverting(prior: LatentPrior, source: Source, search: SearchSettings, settings: RestoreSettings) -> Restoring:
    fidelity = None if settings.fidelity is None else built_fidelity(settings.fidelity, None)

    def solve(items: Sequence[Item]) -> Restoration:
        return invert(
            prior,
            torch.stack([item.y for item in items]),
            replace(search, first=items[0].number),
            fidelity=fidelity,
            noise_level=settings.noise_level or 0.0,
            seed=settings.seed,
        )

    read = reading.whole_images(source, prior.image_shape, settings.resize)
    return Restoring(source, read, solve, None, {"command": "invert", "settings": asdict(settings)})


def _restoring(
    prior: LatentPrior, source: Source, search: SearchSettings, settings: RestoreSettings, noise: "NoiseModel | None"
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
            replace(search, first=items[0].number),
            parameters=joined_parameters(items),
            fidelity=fidelity,
            noise_level=level,
            seed=settings.seed,
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
    return built_fidelity(name, noise)


def built_fidelity(text: str, noise: "NoiseModel | None") -> Fidelity:
    """Returns the data term of this name; one for photon counts takes over the gain of the noise.

    Raises:
        GenpriorError: No such data term, or photon counts of a gain that nobody tells.
    """
    name, _, options = text.partition(":")
    if name == "poisson" and not any(option.partition("=")[0] == "gain" for option in options.split(",")):
        gain = getattr(noise, "gain", None)
        if gain is None:
            raise GenpriorError("needs the gain of the noise: give poisson:gain=... (0.05, say)", argument="fidelity")
        text = f"{name}:{','.join(filter(None, (options, f'gain={float(gain)}')))}"
    return build(FIDELITIES, text, "fidelity")
