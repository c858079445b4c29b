"""From settings to the job of inverting or restoring many images. Names are resolved here."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from genprior.errors import GenpriorError
from genprior.priors.contracts import LatentPrior
from genprior.restoration.fidelity import FIDELITIES, Fidelity
from genprior.restoration.guided_restoration import is_drawn
from genprior.restoration.noise import NOISES, fitting_fidelity, noise_level
from genprior.restoration.operators import Operator
from genprior.restoration.posterior_images import takes_residual
from genprior.restoration.restore import invert, restore
from genprior.restoration.result import Restoration
from genprior.restoration.search_settings import SEARCHES, SearchSettings
from genprior.restoring import measurements as reading
from genprior.restoring.fitting_items import Item
from genprior.restoring.job_settings import InvertSettings, RestoreSettings
from genprior.restoring.ledger import Prepared
from genprior.restoring.measurements import joined_parameters, kernel_facts
from genprior.restoring.records import Facts, JobRecord, RestoreSummary
from genprior.restoring.residual_note import told_of_residual
from genprior.restoring.restored_parts import Restoring
from genprior.restoring.sized_work import Sizes
from genprior.restoring.sources import Source, open_source
from genprior.runs.checkpoint import checkpoint_path
from genprior.runs.files import file_sha256
from genprior.runs.kept_residual import RESIDUAL
from genprior.runs.run_folder import open_run
from genprior.runs.trained_prior import load_prior
from genprior.specs import Spec
from genprior.stored_files import weights_sha256

if TYPE_CHECKING:
    from deepinv.physics import NoiseModel

GIVEN = {"starts", "iterations", "energy_weight", "candidates", "draws", "estimate"}  # what replaces a preset's own
OF_SEARCHES = ("starts", "iterations")
MANY = 1000  # starts or draws of an image: a few dozen are usual


@dataclass(frozen=True)
class _Loaded:
    """What inverting and restoring have in common: how to search, in which prior, for which images."""

    search: SearchSettings
    prior: LatentPrior
    source: Source
    unused: str

    def prepared(
        self, work: Restoring, settings: InvertSettings | RestoreSettings, files: Facts
    ) -> Prepared[RestoreSummary]:
        record = JobRecord(
            genprior=work.command,
            settings=settings.deciding(),
            source=self.source.identity,
            files=files,
            run={"weights_sha256": prior_sha256(self.prior)},
            listing=self.source.listing,
        )
        sides, own = self.prior.sides, "x".join(map(str, self.prior.image_shape))
        known = own if sides is None or settings.resize else f"{own}, or {sides[0]} to {sides[-1]:,} pixels a side,"
        note = f"{len(self.source):,} images of {known} from {settings.images}"
        return Prepared(work, record, len(self.source), settings, note + _told_if_long(self.search) + self.unused)


def _told_if_long(search: SearchSettings) -> str:
    """The end of a line that says which flag to lower where it makes each image take long; else nothing."""
    counts = {"starts": search.starts or 0, "draws": search.draws}
    return "".join(
        f"; {count:,} {name} of each take long: a lower --{name} is faster"
        for name, count in counts.items()
        if count > MANY
    )


def trained_prior(settings: InvertSettings | RestoreSettings) -> LatentPrior:
    """Returns the prior that a job restores with.

    Raises:
        GenpriorError: No run, not trained, or damaged.
    """
    refuse_untrained(settings.run)
    return load_prior(settings.run, average=not settings.no_average, weights=settings.weights)


def _load(settings: InvertSettings | RestoreSettings, prior: LatentPrior | None = None) -> _Loaded:
    search = search_settings(settings)
    prior = trained_prior(settings) if prior is None else prior
    drawn = is_drawn(prior, search)  # refuses what its draws have not, before a folder is made
    is_inversion = isinstance(settings, InvertSettings)
    source = open_source(settings.images, data_root=settings.data_root, white=settings.white)
    return _Loaded(
        search, prior, source, _unused(settings) if drawn and not (is_inversion and not search.draws) else ""
    )


def _unused(settings: InvertSettings | RestoreSettings) -> str:
    """Words on flags that are about a search, where there is none."""
    given = [f"--{name}" for name in OF_SEARCHES if getattr(settings, name) is not None]
    if not given:
        return ""
    why = "nothing is searched for; --preset says in how many steps draws are made"
    return f"; without effect: {', '.join(given)} ({why})"


def prepare_inverting(settings: InvertSettings) -> Prepared[RestoreSummary]:
    """Returns the job of finding the latents of images.

    Raises:
        GenpriorError: Bad input.
    """
    loaded, work = _inverting(settings)
    return loaded.prepared(work, settings, {})


def inverted_alone(settings: InvertSettings, prior: LatentPrior) -> Restoration:
    """Returns what all images of a small job are inverted to, as the job finds them; writes nothing.

    Arguments:
        settings: Of the job.
        prior: What `trained_prior` gives for them.

    Raises:
        GenpriorError: Bad input.
    """
    loaded, work = _inverting(settings, prior)
    return work.solve([work.read(number) for number in range(len(loaded.source))])


def _inverting(settings: InvertSettings, prior: LatentPrior | None = None) -> tuple[_Loaded, Restoring]:
    loaded = _load(settings, prior)
    fidelity = None if settings.fidelity is None else settings.fidelity.build(FIDELITIES, "fidelity")

    def solve(items: Sequence[Item]) -> Restoration:
        return invert(
            loaded.prior.of_size(*items[0].shape[1:]),
            torch.stack([item.y for item in items]),
            replace(loaded.search, first=items[0].number),
            fidelity=fidelity,
            noise_level=settings.noise_level or 0.0,
            seed=settings.seed,
        )

    read = reading.whole_images(loaded.source, Sizes(loaded.prior, settings.resize))
    return loaded, Restoring(loaded.source, read, settings.batch_size, "invert", settings, solve, None)


def prepare_restoring(settings: RestoreSettings) -> Prepared[RestoreSummary]:
    """Returns the job of restoring damaged images.

    Raises:
        GenpriorError: Bad input.
    """
    loaded, work = _restoring(settings)
    files = kernel_facts(settings.operator) | _residual_facts(settings, loaded.prior)
    return loaded.prepared(work, work.settings, files)


def restored_alone(settings: RestoreSettings, prior: LatentPrior) -> tuple[Item, Restoration]:
    """Returns the first image of a job and what it is restored to, as the job finds it; writes nothing.

    Arguments:
        settings: Of the job.
        prior: What `trained_prior` gives for them, which takes longer to load than an image takes.

    Raises:
        GenpriorError: Bad input.
    """
    _, work = _restoring(settings, prior)
    item = work.read(0)
    return item, work.solve([item])


def _restoring(settings: RestoreSettings, prior: LatentPrior | None = None) -> tuple[_Loaded, Restoring]:
    loaded = _load(settings, prior)
    source = loaded.source
    settings = reading.with_recorded_noise(settings, source)
    noise: NoiseModel | None = None if settings.noise is None else settings.noise.build(NOISES, "noise")
    operator_for, masks = reading.operator_maker_and_masks(settings, source)
    if settings.simulate:
        noise = noise or NOISES["none"]()
    level = settings.noise_level if noise is None else noise_level(noise)
    keep, is_whole = keeps_known(settings), settings.simulate or masks is not None
    sizes = Sizes(loaded.prior, settings.resize, operator_for, smooth=not level)
    operator = sizes.first(source, settings.batch_size, is_whole=is_whole)
    reading.refuse_untold(settings, source, operator)
    if keep and operator.has_masks:  # what is to come back exactly has no noise, and a residual can be judged
        level = 0.0
    if settings.simulate:
        read = reading.damaged_here(source, sizes, noise or NOISES["none"](), settings.seed, keep=keep)
    else:
        read = reading.damaged_before(source, sizes, masks, reading.KnownNoise(noise, level), keep=keep)
    fidelity = chosen_fidelity(settings.fidelity, operator, noise, level)
    own_term = takes_residual(chosen_fidelity(None, operator, noise, level), level)
    told = told_of_residual(settings, loaded.prior, operator, takes_residual(fidelity, level), own_term)
    loaded = replace(loaded, unused=loaded.unused + told)

    def solve(items: Sequence[Item]) -> Restoration:
        sized = sizes.of_size(*items[0].shape[1:])
        return restore(
            sized.prior,
            torch.stack([item.y for item in items]),
            sized.operator.physics,
            replace(loaded.search, first=items[0].number),
            parameters=joined_parameters(items),
            fidelity=fidelity,
            noise_level=level,
            seed=settings.seed,
        )

    def measure(x: Tensor, parameters: dict[str, Tensor]) -> Tensor:
        y: Tensor = sizes.of_size(*x.shape[2:]).operator.physics.A(x, **parameters)
        return y

    return loaded, Restoring(source, read, settings.batch_size, "restore", settings, solve, measure, masks=masks)


def _residual_facts(settings: RestoreSettings, prior: LatentPrior) -> Facts:
    """What must be the same of a residual where a job is resumed; {} where nothing is drawn beside a range."""
    if not settings.draws or prior.residual is None:
        return {}
    return {"residual": file_sha256(settings.run / RESIDUAL)}


def keeps_known(settings: RestoreSettings) -> bool:
    """Returns whether known pixels are to come back as they were given: no noise is named, and nobody objects."""
    return not settings.no_keep and settings.noise in (None, "none") and not settings.noise_level


def search_settings(settings: InvertSettings | RestoreSettings) -> SearchSettings:
    """Returns the preset with what replaces its settings."""
    given = settings.model_dump(include=GIVEN, exclude_none=True)
    preset = SEARCHES[settings.preset]
    return replace(preset, **given, beyond=settings.beyond or preset.beyond)


def refuse_untrained(run: Path) -> None:
    """Raises `GenpriorError` where there is no run, or one that has not begun to train."""
    folder = open_run(run).checkpoints
    saved = {path for path in folder.glob("step-*") if path.suffix != ".tmp"}
    if not saved - {checkpoint_path(folder, 0)}:
        raise GenpriorError(f"{run} is not trained yet: continue with `genprior resume {run}`", argument="run")


def prior_sha256(prior: LatentPrior) -> str:
    """Returns what tells a prior's weights, and those of its encoder, from all others."""
    return " ".join(weights_sha256(network.state_dict()) for network in prior.networks)


def chosen_fidelity(
    given: Spec | None, operator: Operator, noise: "NoiseModel | None", level: float | None = None
) -> Fidelity:
    """Returns the data term that is named, else the one that suits the noise, else the operator's.

    Raises:
        GenpriorError: No such data term, or photon counts of an unknown gain.
    """
    suggested = fitting_fidelity(noise, level, operator.fidelity)
    spec = given or suggested
    if spec.name == suggested.name:  # the noise tells options that the user left out
        spec = suggested.with_options(**spec.options)
    return spec.build(FIDELITIES, "fidelity")
