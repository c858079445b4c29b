"""The order of min and max as an experiment on a trained run: both halves of the game, each alone."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from genprior.data import Dataset
from genprior.diagnosis.minmax_problems import (
    LATENTS,
    SAMPLES,
    CountModes,
    descend,
    logits_of_real,
    oppose,
    seen_together,
    whole_packs,
)
from genprior.diagnosis.one_player import Descended, Opposed
from genprior.errors import GenpriorError
from genprior.judges.mode_finder import mode_counter
from genprior.judges.trained_judge import ONE_IN
from genprior.models.players import MODELS
from genprior.probes.collapse_rules import AGAIN, CollapseResult, CollapseSettings, InnerProblem
from genprior.probes.opened_gan import Probed, collected, listed, open_probed, resumed, spread
from genprior.progress import Stage, Task, primed, within
from genprior.specs import Spec
from genprior.training.losses import LOSSES, AdversarialLoss

JUDGED_ON = 2400  # real images, and fakes, that tell a large discriminator from a small one
SMALLER, LARGER, MOST = 4, 2, 4096  # a quarter as wide, twice as wide, at most so wide
OPTIONS = ("discriminator_width", "width")  # what a model calls the width of its discriminator


@dataclass(frozen=True)
class MinMaxSetup:
    """A run and all that is met in the experiment.

    Attributes:
        probed: The run.
        loss: Whose generator's half is descended and whose gradients are compared.
        sizes: Models of the discriminators by their names, the narrowest first.
        own: Name of the run's own size.
        fitted: Images that discriminators learn from.
        held_out: Others, on which they are judged.
        together: How many images a logit is of.
    """

    probed: Probed
    loss: AdversarialLoss
    sizes: Mapping[str, Spec]
    own: str
    fitted: Dataset
    held_out: Dataset
    together: int

    def in_packs(self, count: int) -> int:
        """Returns the largest number of whole packs up to a count, but at least one pack."""
        return whole_packs(count, self.together)

    @property
    def judged_on(self) -> int:
        """How many held-out images, and fakes, discriminators are judged on."""
        return self.in_packs(min(len(self.held_out), JUDGED_ON))

    def generator(self, age: int) -> nn.Module:
        """Returns the averaged generator of the last age, in evaluation mode; a young one as it trains.

        Running statistics of a young generator are still those of its first weights.
        """
        if age == self.probed.last:
            return self.probed.generator(age, average=True).eval()
        return self.probed.generator(age)


def stages(settings: CollapseSettings, kept: CollapseResult | None) -> Task[CollapseResult]:
    """Trains a generator alone against D of several ages, and discriminators of several sizes alone against G.

    Everything is done in float32 on the CPU, with the run's batch size and optimiser settings.

    Raises:
        GenpriorError: No run, an untrained one, no GAN, other data than the run's or too few of them, an unknown loss,
            or a judge that cannot be had.
    """
    opened = opened_for(settings)
    new = nothing_found(settings, opened)
    found = resumed(kept, new, lambda each: (each.held_out, each.sizes, each.inner.planned, each.generators_planned))
    notes = list[str]()
    # Before all else: it may be impossible.
    counter = primed(mode_counter(opened.probed.config, opened.probed.data, settings.judge, notes))
    yield Stage(0.0, "run opened", notes=found.notes)
    count_modes = yield from within(counter, 0.0, 0.1)
    found = found.model_copy(update={"notes": tuple(dict.fromkeys([*found.notes, *notes]))})
    yield Stage(0.1, "classifier", notes=tuple(notes))
    found = yield from within(_inner_problem(opened, found, count_modes), 0.1, 0.5)
    found = yield from within(_outer_problem(opened, found), 0.5, 1.0)
    return found.model_copy(update={"is_complete": True})


def opened_for(settings: CollapseSettings) -> MinMaxSetup:
    """Returns the run of settings and all that is met; errors as `stages` has them."""
    probed = open_probed(settings.run, settings.data_root)
    loss = (settings.loss or probed.config.loss).build(LOSSES, "loss")
    sizes, own = sized(probed.config.model)
    together = seen_together(probed.fresh_discriminator(settings.seed))
    return MinMaxSetup(probed, loss, sizes, own, *_split(probed, together), together)


def nothing_found(settings: CollapseSettings, opened: MinMaxSetup) -> CollapseResult:
    """Returns the result before anything is measured, with what is going to be."""
    probed, config = opened.probed, opened.probed.config
    with_both = [age for age in probed.ages if probed.has_discriminator(age)]
    grown = [age for age in probed.ages if age > 0]
    inner = InnerProblem(planned=tuple(spread(with_both, settings.ages)), is_relative=opened.loss.is_relative)
    found = CollapseResult(
        settings=settings,
        is_complete=False,
        batch_size=config.batch_size,
        loss=str(settings.loss or config.loss),
        held_out=opened.held_out.name,
        samples=opened.in_packs(SAMPLES),
        judged_on=opened.judged_on,
        latents_of_gradients=opened.in_packs(LATENTS),
        images_of_a_logit=opened.together,
        sizes=tuple(opened.sizes),
        own_size=opened.own,
        inner=inner,
        generators_planned=tuple(dict.fromkeys([grown[0], grown[-1]])) if grown else (0,),
    )
    return found.model_copy(update={"notes": tuple(_notes(found, opened, len(with_both)))})


def _notes(found: CollapseResult, opened: MinMaxSetup, kept: int) -> list[str]:
    settings, run = found.settings, found.settings.run
    notes = [
        f"inner problem: G alone, {found.loss}, against D at {listed(found.inner.planned)} images seen; steps: "
        f"{settings.steps:,}",
        f"outer problem: fresh D, {', '.join(found.sizes)}, against G at {listed(found.generators_planned)} images; "
        f"judged on {len(opened.held_out):,} images of {found.held_out}",
    ]
    if kept < min(settings.ages, len(opened.probed.states)):
        notes.append(f"{run} has kept no discriminators but {kept}: older runs kept those of the last age only")
    elif kept < settings.ages:
        notes.append(f"{run} has {kept} ages, not {settings.ages}")
    if len(found.sizes) == 1:
        notes.append(f"the model {opened.probed.config.model} has no option for D's width: only its own size is used")
    return notes


def _inner_problem(opened: MinMaxSetup, found: CollapseResult, count_modes: CountModes | None) -> Task[CollapseResult]:
    """G of each age against D of the same age."""
    planned, data = found.inner.planned, opened.probed.data
    real = data.some(opened.in_packs(min(len(data), SAMPLES)))
    for i, age in enumerate(planned[len(found.inner.ages) :], len(found.inner.ages)):
        one = yield from within(
            _descended(opened, found, age, real, count_modes), i / len(planned), (i + 1) / len(planned)
        )
        inner = found.inner.model_copy(update={"ages": (*found.inner.ages, one)})
        found = found.model_copy(update={"inner": inner})
        yield Stage((i + 1) / len(planned), f"inner problem, {age:,} images: measured", found=found)
    return found


def _descended(
    opened: MinMaxSetup, found: CollapseResult, age: int, real: Tensor, count_modes: CountModes | None
) -> Task[Descended]:
    probed, settings = opened.probed, found.settings
    discriminator = probed.discriminator(age)
    training = probed.training(probed.config.generator_learning_rate, settings.steps, settings.seed)
    moments = descend(probed.generator(age), discriminator, opened.loss, real, training, count_modes, found.samples)
    measured = yield from collected(moments, settings.steps, f"inner problem, {age:,} images")
    mean, best = logits_of_real(discriminator, real)
    return Descended(images_seen=age, real_logit=mean, best_real_logit=best, moments=measured)


def _outer_problem(opened: MinMaxSetup, found: CollapseResult) -> Task[CollapseResult]:
    """Fresh discriminators against G of each age."""
    planned = found.generators_planned
    for i, age in enumerate(planned[len(found.generators) :], len(found.generators)):
        one = yield from within(_opposed(opened, found, age), i / len(planned), (i + 1) / len(planned))
        found = found.model_copy(update={"generators": (*found.generators, one)})
        yield Stage((i + 1) / len(planned), f"outer problem, {age:,} images: measured", found=found)
    return found


def _opposed(opened: MinMaxSetup, found: CollapseResult, age: int) -> Task[Opposed]:
    probed, settings, strong = opened.probed, found.settings, found.sizes[-1]
    fresh = {name: probed.fresh_discriminator(settings.seed, 0, model) for name, model in opened.sizes.items()}
    fresh[AGAIN] = probed.fresh_discriminator(settings.seed, 1, opened.sizes[strong])
    training = probed.training(probed.config.discriminator_learning_rate, settings.steps, settings.seed)
    moments = oppose(
        opened.generator(age),
        fresh,
        strong,
        opened.fitted,
        opened.held_out.some(found.judged_on),
        opened.loss,
        training,
        found.latents_of_gradients,
    )
    measured = yield from collected(moments, settings.steps, f"outer problem, {age:,} images")
    return Opposed(images_seen=age, strong=strong, moments=measured)


def _split(probed: Probed, together: int) -> tuple[Dataset, Dataset]:
    """Images that discriminators learn from, and others: those that the run holds out, if enough, else every fifth."""
    data, unseen = probed.data, probed.split.load_held_out()
    if unseen is not None and len(unseen) >= 2 * together:
        return data, unseen
    is_held_out = torch.arange(len(data)) % ONE_IN == ONE_IN - 1
    if is_held_out.sum() < 2 * together:
        raise GenpriorError(
            f"every fifth of the {len(data):,} images of {data.name} is kept back, which must be two or more, "
            f"or two packs of those that a logit is of (here {together}); take more images",
            argument="run",
        )
    parts = [data.part(chosen) for chosen in (~is_held_out, is_held_out)]
    return parts[0], replace(parts[1], name=f"{data.name}, kept back")


def sized(model: Spec) -> tuple[dict[str, Spec], str]:
    """Returns a model with a discriminator a quarter as wide, as it is, and twice as wide; and the name of its own.

    Only the discriminators of these models are to be used. One alone where the model has no option for the width.

    Example:
        >>> models, own = sized(Spec.parse("dcgan:norm=none"))
        >>> str(models["width 8"]), own
        ('dcgan:norm=none,discriminator_width=8', 'width 32')
    """
    parameters = inspect.signature(MODELS[model.name]).parameters
    option = next((each for each in OPTIONS if each in parameters), None)
    if option is None:
        return {"its own size": model}, "its own size"
    own = int(model.options.get(option, parameters[option].default))
    widths = sorted({max(1, own // SMALLER), own, min(MOST, LARGER * own)})
    return {f"width {width}": model.with_options(**{option: width}) for width in widths}, f"width {own}"
