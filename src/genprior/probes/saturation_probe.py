"""A trained run put to the test by experiments from the literature."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from genprior.diagnosis.retraining import COMPARED, LATENTS, STAYS, VANISHES, Moment, Retrained, retrain
from genprior.errors import GenpriorError
from genprior.probes.opened_gan import open_probed, spread
from genprior.progress import Stage
from genprior.runs.files import write_json
from genprior.seeding import derived_seed
from genprior.settings import at_least_one, strict
from genprior.training.optimisation import AdamSettings

SATURATION = "probe-saturation"  # name of the file and the figure
MOST_SEEDS = 100


@dataclass
class SaturationProbe:
    """Retrains discriminators from scratch against the generators of a run at several ages, which stand still.

    The same seeds are used at each age, so what differs between ages is the generator's doing. Everything is done in
    float32 on the CPU, with the optimiser settings and the batch size of the run's discriminator.

    Arguments:
        run: Folder of a trained GAN.
        ages: How many ages of the generator, at least 1: spread over those that the run has kept, the last included.
        steps: Of each discriminator, at least 1.
        seeds: How many discriminators at each age, 1 to 100.
        seed: Of the first one; the others follow.
        data_root: Of named data sets.

    Attributes:
        found: What was measured, age after age.

    Raises:
        GenpriorError: No run, an untrained one, no GAN, other data than the run's, or a number out of range.
    """

    run: Path
    ages: int = 3
    steps: int = 2000
    seeds: int = 1
    seed: int = 0
    data_root: Path | None = None
    found: list[Retrained] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        at_least_one(ages=self.ages, steps=self.steps, seeds=self.seeds)
        if self.seeds > MOST_SEEDS:
            raise GenpriorError(f"expected at most {MOST_SEEDS}, got {self.seeds}", argument="seeds")
        self.probed = open_probed(self.run, self.data_root)
        self.chosen = spread(sorted(self.probed.states), self.ages)

    @property
    def notes(self) -> list[str]:
        """Lines to show before."""
        told = ", ".join(f"{age:,}" for age in self.chosen)
        notes = [f"generators at {told} images seen; fresh discriminators at each: {self.seeds}; steps: {self.steps:,}"]
        if not self.probed.has_kept_ages:
            notes.append(f"{self.run} has kept no earlier ages of its generator: only the last one is probed")
        elif len(self.chosen) < self.ages:
            notes.append(f"{self.run} has {len(self.chosen)} ages of its generator, not {self.ages}")
        return notes

    def measure(self) -> Iterator[Stage]:
        """Retrains one discriminator after another, and yields how far it is."""
        jobs = [(age, self.seed + i) for age in self.chosen for i in range(self.seeds)]
        for done, (age, seed) in enumerate(jobs):
            moments: list[Moment] = []
            for each in self._retrain(age, seed):
                moments.append(each)
                if each.step == self.steps:
                    self.found.append(Retrained(age, seed, moments))
                share = (done + (each.step + 1) / (self.steps + 1)) / len(jobs)
                yield Stage(share, f"{age:,} images: step {each.step:,}")

    @property
    def latents(self) -> int:
        """How many fakes gradients are taken over: whole packs."""
        return LATENTS - LATENTS % self.probed.config.pack

    def _retrain(self, age: int, seed: int) -> Iterator[Moment]:
        config = self.probed.config.model_copy(update={"seed": derived_seed(seed, "fresh discriminator")})
        adam = AdamSettings(config.discriminator_learning_rate, config.beta1, config.beta2, config.weight_decay)
        discriminator = config.build(self.probed.data).discriminator
        generator = self.probed.generator(age)
        settings: dict[str, Any] = {
            "latents": self.latents,
            "adam": adam,
            "steps": self.steps,
            "batch_size": config.batch_size,
            "seed": seed,
        }
        return retrain(generator, discriminator, self.probed.data, **settings)

    def paragraph(self) -> str:
        """Returns what was found, what it means, and whether the statement holds, in words."""
        return " ".join([*(_told(same_age) for same_age in by_age(self.found)), verdict(self.found)])

    def save(self) -> Path:
        """Writes what was measured so far into the run's folder; returns the file."""
        path = self.run / f"{SATURATION}.json"
        told = {
            "run": str(self.run),
            "steps": self.steps,
            "latents": self.latents,
            "batch_size": self.probed.config.batch_size,
        }
        rule = {"saturating_at_least": VANISHES, "non_saturating_below": STAYS}
        ages = [_facts(same_age) for same_age in by_age(self.found)]
        outcome = {"confirmed": all(each.is_confirmed for each in self.found), "verdict": verdict(self.found)}
        write_json(path, told | {"decades_expected": rule, **outcome, "ages": ages})
        return path


def by_age(found: Sequence[Retrained]) -> list[list[Retrained]]:
    """Returns what was found, grouped by the generator's age."""
    ages = sorted({each.images_seen for each in found})
    return [[each for each in found if each.images_seen == age] for age in ages]


def verdict(found: Sequence[Retrained]) -> str:
    """Returns whether the statement of Arjovsky & Bottou holds, in a sentence."""
    statement = f"at least {VANISHES:g} decades for the saturating loss, less than {STAYS:g} for the non-saturating one"
    holds = [all(each.is_confirmed for each in same_age) for same_age in by_age(found)]
    ages = [f"{same_age[0].images_seen:,}" for same_age in by_age(found)]
    if all(holds):
        return f"Arjovsky & Bottou's statement ({statement}) is confirmed on this run."
    wrong = [age for age, does in zip(ages, holds, strict=True) if not does]
    hint = " The fall was still going on at the last step: try more --steps." if _still_falling(found) else ""
    if not any(holds):
        return f"Arjovsky & Bottou's statement ({statement}) is not confirmed on this run.{hint}"
    right = [age for age, does in zip(ages, holds, strict=True) if does]
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


def _still_falling(found: Sequence[Retrained]) -> bool:
    """Whether the saturating gradient was smallest at the end wherever it did not fall by enough."""
    short = [each for each in found if (each.decades["saturating"] or 0) < VANISHES]
    return any(min(norms) == norms[-1] for norms in (each.norms("saturating") for each in short))


def _told(same_age: Sequence[Retrained]) -> str:
    fell = {loss: span([each.decades[loss] for each in same_age]) for loss in COMPARED}
    last = [each.moments[-1] for each in same_age]
    accuracy = sum(moment.accuracy for moment in last) / len(last)
    ends = {loss: _times([each.last_over_first[loss] for each in same_age]) for loss in COMPARED}
    return (
        f"At {same_age[0].images_seen:,} images, a fresh discriminator told {100 * accuracy:.1f} % right after "
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


def _facts(same_age: Sequence[Retrained]) -> dict[str, Any]:
    return {
        "images_seen": same_age[0].images_seen,
        "discriminators": [
            {
                "seed": each.seed,
                "decades_fallen": each.decades,
                "last_over_first": each.last_over_first,
                "confirmed": each.is_confirmed,
                "moments": [strict(asdict(moment)) for moment in each.moments],
            }
            for each in same_age
        ],
    }
