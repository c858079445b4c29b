"""Fresh discriminators against the generators of a run, which stand still: which loss's gradient vanishes?

Imports no torch before it measures.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, computed_field

from genprior.diagnosis.one_player import STAYS, VANISHES, Retrained
from genprior.progress import Stage, Task, within
from genprior.settings import DataRoot, Model, Result, RunFolder, Settings, Threads

if TYPE_CHECKING:
    from genprior.probes.opened_gan import Probed

LOSSES = ("saturating", "non-saturating")


class SaturationSettings(Settings):
    """Settings of the probe of saturation.

    The same seeds are used at each age, so what differs between ages is the generator's doing. Everything is done in
    float32 on the CPU, with the optimiser settings and the batch size of the run's discriminator.
    """

    run: RunFolder
    ages: Annotated[int, Field(ge=1, description="Ages of G to probe, the last included; spread evenly.")] = 3
    steps: Annotated[int, Field(ge=1, description="Training steps of each discriminator.")] = 2000
    seeds: Annotated[int, Field(ge=1, le=100, description="Fresh discriminators at each age.")] = 1
    seed: Annotated[int, Field(description="Seed of the first of them; the others follow.")] = 0
    threads: Threads = None
    data_root: DataRoot = None


class RetrainedAge(Model):
    """The generator of one age.

    Attributes:
        images_seen: Its age.
        discriminators: What was found of those that were trained against it.
    """

    images_seen: int
    discriminators: tuple[Retrained, ...]

    @property
    def is_confirmed(self) -> bool:
        """Whether the statement holds for each of its discriminators."""
        return all(each.confirmed for each in self.discriminators)


class SaturationResult(Result):
    """What the probe of saturation found.

    Attributes:
        latents: How many fakes gradients are taken over: whole packs.
        batch_size: Of the run.
        planned: Images seen by the generators that are probed.
        ages: What was found, as far as it is measured.
    """

    settings: SaturationSettings
    latents: int
    batch_size: int
    planned: tuple[int, ...]
    ages: tuple[RetrainedAge, ...] = ()

    @computed_field
    @property
    def decades_expected(self) -> dict[str, float]:
        """The bounds behind the verdict."""
        return {"saturating_at_least": VANISHES, "non_saturating_below": STAYS}

    @computed_field
    @property
    def confirmed(self) -> bool | None:
        """Whether the statement holds at each age; None: not all is measured."""
        return all(each.is_confirmed for each in self.ages) if self.is_complete else None

    @computed_field
    @property
    def verdict(self) -> str:
        """The same in a sentence."""
        return _verdict(self.ages) if self.is_complete else "Not all is measured yet."

    def with_discriminator(self, images_seen: int, found: Retrained) -> "SaturationResult":
        """Returns the result with one more discriminator of an age."""
        before = {age.images_seen: age.discriminators for age in self.ages}
        before[images_seen] = (*before.get(images_seen, ()), found)
        ages = tuple(RetrainedAge(images_seen=age, discriminators=each) for age, each in before.items())
        return self.model_copy(update={"ages": ages})


def stages(settings: SaturationSettings, kept: SaturationResult | None) -> Task[SaturationResult]:
    """Retrains one discriminator after another.

    Raises:
        GenpriorError: No run, an untrained one, no GAN, or other data than the run's.
    """
    from genprior.diagnosis.retraining import LATENTS
    from genprior.probes.opened_gan import open_probed, resumed, spread

    probed = open_probed(settings.run, settings.data_root)
    planned, config = tuple(spread(probed.ages, settings.ages)), probed.config
    latents, size = LATENTS - LATENTS % config.pack, config.batch_size
    found = SaturationResult(settings=settings, is_complete=False, latents=latents, batch_size=size, planned=planned)
    found = resumed(kept, found, lambda each: (each.latents, each.batch_size, each.planned))
    yield Stage(0.0, "run opened", notes=tuple(_notes(settings, probed, planned)))
    jobs = [(age, settings.seed + i) for age in planned for i in range(settings.seeds)]
    done = sum(len(each.discriminators) for each in found.ages)
    for i, (age, seed) in enumerate(jobs[done:], done):
        one = yield from within(_retrained(probed, age, seed, found), i / len(jobs), (i + 1) / len(jobs))
        found = found.with_discriminator(age, one)
        yield Stage((i + 1) / len(jobs), f"{age:,} images: measured", found=found)
    return found.model_copy(update={"is_complete": True})


def _retrained(probed: "Probed", age: int, seed: int, found: SaturationResult) -> Task[Retrained]:
    from genprior.diagnosis.retraining import retrain
    from genprior.probes.opened_gan import collected

    training = probed.training(probed.config.discriminator_learning_rate, found.settings.steps, seed)
    moments = retrain(
        probed.generator(age), probed.fresh_discriminator(seed), probed.data, training, latents=found.latents
    )
    return Retrained(seed=seed, moments=(yield from collected(moments, training.steps, f"{age:,} images")))


def _notes(settings: SaturationSettings, probed: "Probed", planned: Sequence[int]) -> list[str]:
    from genprior.probes.opened_gan import listed

    notes = [
        f"generators at {listed(planned)} images seen; fresh discriminators at each: {settings.seeds}; "
        f"steps: {settings.steps:,}"
    ]
    if len(probed.ages) == 1:
        notes.append(f"{settings.run} has kept no earlier ages of its generator: only the last one is probed")
    elif len(planned) < settings.ages:
        notes.append(f"{settings.run} has {len(planned)} ages of its generator, not {settings.ages}")
    return notes


def lines(found: SaturationResult) -> list[str]:
    """Returns what was found, what it means, and whether the statement holds, in words."""
    return [" ".join([*(_age_told(each) for each in found.ages), found.verdict])]


def _verdict(ages: Sequence[RetrainedAge]) -> str:
    statement = f"at least {VANISHES:g} decades for the saturating loss, less than {STAYS:g} for the non-saturating one"
    right, wrong = ([f"{age.images_seen:,}" for age in ages if age.is_confirmed is it] for it in (True, False))
    if not wrong:
        return f"Arjovsky & Bottou's statement ({statement}) is confirmed on this run."
    hint = " The fall was still going on at the last step: try more --steps." if _still_falling(ages) else ""
    if not right:
        return f"Arjovsky & Bottou's statement ({statement}) is not confirmed on this run.{hint}"
    return (
        f"Arjovsky & Bottou's statement ({statement}) depends on the generator's age: it holds at {', '.join(right)} "
        f"images, not at {', '.join(wrong)}.{hint}"
    )


def span(values: Sequence[float | None]) -> str:
    """Returns numbers as text, "4.2" or "4.0 to 4.4"; "an unknown number of" where one is None."""
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return "an unknown number of (a gradient was 0 or not finite)"
    low, high = f"{min(known):.1f}", f"{max(known):.1f}"
    return low if low == high else f"{low} to {high}"


def _still_falling(ages: Sequence[RetrainedAge]) -> bool:
    """Whether the saturating gradient was smallest at the end wherever it did not fall by enough."""
    found = [each for age in ages for each in age.discriminators]
    short = [each for each in found if (each.decades_fallen["saturating"] or 0) < VANISHES]
    return any(min(norms) == norms[-1] for norms in (each.norms("saturating") for each in short))


def _age_told(age: RetrainedAge) -> str:
    found = age.discriminators
    fell = {loss: span([each.decades_fallen[loss] for each in found]) for loss in LOSSES}
    ends = {loss: _times([each.last_over_first[loss] for each in found]) for loss in LOSSES}
    last = [each.moments[-1] for each in found]
    accuracy = sum(moment.accuracy for moment in last) / len(last)
    return (
        f"At {age.images_seen:,} images, a fresh discriminator told {100 * accuracy:.1f} % right after "
        f"{last[0].step:,} steps; from its peak the generator's gradient fell by {fell['saturating']} decades under "
        f"the saturating loss and by {fell['non-saturating']} under the non-saturating one; at the last "
        f"step it was {ends['saturating']} and {ends['non-saturating']} what it was at step 0."
    )


def _times(ratios: Sequence[float | None]) -> str:
    """Numbers as text, "0.0021 times" or "0.0021 to 0.01 times"."""
    known = sorted(ratio for ratio in ratios if ratio is not None)
    if len(known) < len(ratios):
        return "an unknown number of times"
    return " to ".join(dict.fromkeys(f"{ratio:.3g}" for ratio in (known[0], known[-1]))) + " times"
