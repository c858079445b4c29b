"""The order of min and max as an experiment on a trained run: both halves of the game, each alone."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from genprior.data import Dataset
from genprior.data.spec import parse_spec
from genprior.diagnosis.inner_problem import (
    SAMPLES,
    CountModes,
    Descended,
    InnerMoment,
    descend,
    logits_of_real,
    seen_together,
    whole_packs,
)
from genprior.diagnosis.outer_problem import LATENTS, Opposed, OuterMoment, oppose
from genprior.errors import GenpriorError
from genprior.judges.classifier_judge import ONE_IN
from genprior.judges.mode_finder import mode_counter
from genprior.judges.run_images import load_images, may_share, split_specs
from genprior.probes.collapse_rules import AGAIN, Found
from genprior.probes.collapse_words import as_table, paragraphs
from genprior.probes.discriminator_sizes import sized
from genprior.probes.opened_gan import open_probed, spread
from genprior.progress import Stage
from genprior.runs.files import write_json
from genprior.seeding import derived_seed
from genprior.settings import at_least_one
from genprior.specs import Spec, build
from genprior.training.losses import LOSSES
from genprior.training.optimisation import AdamSettings, grouped

COLLAPSE = "probe-collapse"  # beginning of the names of its files
JUDGED_ON = 2400  # real images, and fakes, that tell a large discriminator from a small one
COSTS = {"judge": 1, "inner": 2, "outer": 6}  # about; for the live line alone


@dataclass
class CollapseProbe:
    """Trains a generator alone against D of several ages, and discriminators of several sizes alone against G.

    Everything is done in float32 on the CPU, with the run's batch size and optimiser settings.

    Arguments:
        run: Folder of a trained GAN.
        ages: At how many ages the inner problem is met, at least 1: spread over those whose discriminator the run has
            kept, the last included.
        steps: Of each generator and each discriminator, at least 1.
        seed: Of all draws and of the fresh discriminators.
        judge: Spec of labelled images whose classifier counts modes; None: the run's data set.
        data_root: Of named data sets, and of the classifier's cache.
        loss: Whose generator's half is descended and whose gradients are compared; None: the run's.

    Attributes:
        inner: What was found of the inner problem, age after age.
        outer: What was found of the outer problem and of the angles, age after age of the generator.
        notes: Lines to show before; what could not be done is added later.

    Raises:
        GenpriorError: No run, an untrained one, no GAN, other data than the run's or too few of them, an unknown loss,
            or a number out of range.
    """

    run: Path
    ages: int = 3
    steps: int = 150
    seed: int = 0
    judge: str | None = None
    data_root: Path | None = None
    loss: str | None = None
    inner: list[Descended] = field(default_factory=list, init=False)
    outer: list[Opposed] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        at_least_one(ages=self.ages, steps=self.steps)
        self.probed = open_probed(self.run, self.data_root)
        config = self.probed.config
        self.adversarial = build(LOSSES, self.loss or config.loss, "loss")
        with_both = [age for age, state in sorted(self.probed.states.items()) if grouped(state, "discriminator")]
        self.inner_ages = spread(with_both, self.ages)
        grown = [age for age in sorted(self.probed.states) if age > 0]
        self.outer_ages = list(dict.fromkeys([grown[0], grown[-1]])) if grown else [0]
        self.sizes = sized(config.model)
        self.together = seen_together(self._fresh(config.model))
        self.fitted, self.held_out = self._split()
        self.notes = self._first_notes(len(with_both))

    def _first_notes(self, kept: int) -> list[str]:
        told, met = (", ".join(f"{age:,}" for age in ages) for ages in (self.inner_ages, self.outer_ages))
        notes = [
            f"inner problem: G alone, {self.loss or self.probed.config.loss}, against D at {told} images seen; steps: "
            f"{self.steps:,}",
            f"outer problem: fresh D, {', '.join(self.sizes.models)}, against G at {met} images; judged on "
            f"{len(self.held_out):,} images of {self.held_out.name}",
        ]
        if kept < min(self.ages, len(self.probed.states)):
            notes.append(
                f"{self.run} has kept no discriminators but {kept}: older runs kept those of the last age only"
            )
        elif kept < self.ages:
            notes.append(f"{self.run} has {kept} ages, not {self.ages}")
        if len(self.sizes.models) == 1:
            notes.append(f"the model {self.probed.config.model} has no option for D's width: only its own size is used")
        return notes

    def measure(self) -> Iterator[Stage]:
        """Goes through one experiment after the other, and yields how far it is."""
        parts = [("judge", self._find_judge())]
        parts += [("inner", self._inner(age)) for age in self.inner_ages]
        parts += [("outer", self._outer(age)) for age in self.outer_ages]
        total, done = sum(COSTS[kind] for kind, _ in parts), 0
        for kind, part in parts:
            for share, what in part:
                yield Stage((done + share * COSTS[kind]) / total, what)
            done += COSTS[kind]

    def saving(self) -> Iterator[Stage]:
        """Measures, and saves after each age: what ends the command loses none that was measured."""
        saved = 0
        for stage in self.measure():
            if len(self.inner) + len(self.outer) > saved:
                self.save()
                saved = len(self.inner) + len(self.outer)
            yield stage

    def _find_judge(self) -> Iterator[tuple[float, str]]:
        data = self.probed.data
        self.real = data.some(self._in_packs(min(len(data), SAMPLES)))
        finding = mode_counter(self.probed.config, data, self.judge, self.notes)
        try:
            while True:
                yield next(finding).fraction, "classifier"
        except StopIteration as found:
            self.count_modes: CountModes | None = found.value
        yield 1.0, "classifier"

    def _inner(self, age: int) -> Iterator[tuple[float, str]]:
        generator, discriminator, config = (
            self.probed.generator(age),
            self.probed.discriminator(age),
            self.probed.config,
        )
        settings: dict[str, Any] = {"adam": self._adam(config.generator_learning_rate), "steps": self.steps}
        settings |= {"batch_size": config.batch_size, "count_modes": self.count_modes, "seed": self.seed}
        settings["samples"] = self._in_packs(SAMPLES)
        moments: list[InnerMoment] = []
        for moment in descend(generator, discriminator, self.adversarial, self.real, **settings):
            moments.append(moment)
            if moment.step == self.steps:
                self.inner.append(Descended(age, *logits_of_real(discriminator, self.real), moments))
            yield self._share(moment.step), f"inner problem, {age:,} images: step {moment.step:,}"

    def _outer(self, age: int) -> Iterator[tuple[float, str]]:
        config, strong, models = self.probed.config, self.sizes.strong, self.sizes.models
        fresh = {name: self._fresh(model) for name, model in models.items()} | {AGAIN: self._fresh(models[strong], 1)}
        settings: dict[str, Any] = {"adam": self._adam(config.discriminator_learning_rate), "steps": self.steps}
        settings |= {"batch_size": config.batch_size, "seed": self.seed, "latents": self._in_packs(LATENTS)}
        moments: list[OuterMoment] = []
        judged_on = self.held_out.some(self._judged_on)
        given = (self._met(age), fresh, strong, self.fitted, judged_on, self.adversarial)
        for moment in oppose(*given, **settings):
            moments.append(moment)
            if moment.step == self.steps:
                self.outer.append(Opposed(age, strong, moments))
            yield self._share(moment.step), f"outer problem, {age:,} images: step {moment.step:,}"

    def paragraphs(self) -> list[str]:
        """Returns what was found in each of the three experiments, and whether its statement holds, in words."""
        return paragraphs(self._found)

    def save(self) -> Path:
        """Writes what was measured so far into the run's folder; returns the file."""
        path, config = self.run / f"{COLLAPSE}.json", self.probed.config
        told = {"run": str(self.run), "steps": self.steps, "seed": self.seed, "batch_size": config.batch_size}
        told |= {"loss": self.loss or config.loss, "held_out": self.held_out.name, "notes": self.notes}
        told |= {"samples": self._in_packs(SAMPLES), "judged_on": self._judged_on, "images_of_a_logit": self.together}
        told |= {"latents_of_gradients": self._in_packs(LATENTS)}
        write_json(path, told | as_table(self._found))
        return path

    @property
    def _found(self) -> Found:
        ages, is_relative = (self.inner_ages, self.outer_ages), self.adversarial.is_relative
        return Found(self.inner, self.outer, self.sizes, *ages, is_relative)

    @property
    def _judged_on(self) -> int:
        return self._in_packs(min(len(self.held_out), JUDGED_ON))

    def _in_packs(self, count: int) -> int:
        return whole_packs(count, self.together)

    def _share(self, step: int) -> float:
        return (step + 1) / (self.steps + 1)

    def _adam(self, rate: float) -> AdamSettings:
        config = self.probed.config
        return AdamSettings(rate, config.beta1, config.beta2, config.weight_decay)

    def _fresh(self, model: Spec, index: int = 0) -> nn.Module:
        seed = derived_seed(self.seed, "fresh discriminator", index)
        changes = {"model": model, "seed": seed, "penalty": ()}
        return self.probed.config.model_copy(update=changes).build(self.probed.data).discriminator

    def _met(self, age: int) -> nn.Module:
        """The averaged generator of the last age, in evaluation mode; a young one as it trains.

        Running statistics of a young generator are still those of its first weights.
        """
        return (
            self.probed.generator(age, average=True).eval() if age == self.probed.last else self.probed.generator(age)
        )

    def _split(self) -> tuple[Dataset, Dataset]:
        """Images that discriminators learn from, and others: the test images, else every fifth."""
        config, data = self.probed.config, self.probed.data
        specs = None if data.is_points else split_specs(config.data)
        if specs is not None and not may_share(parse_spec(config.data), parse_spec(specs[1])):
            return data, load_images(config, data.image_shape, specs[1])
        is_held_out = torch.arange(len(data)) % ONE_IN == ONE_IN - 1
        if is_held_out.sum() < 2 * self.together:
            raise GenpriorError(
                f"every fifth of the {len(data):,} images of {data.name} is kept back, which must be two or more, "
                f"or two packs of those that a logit is of (here {self.together}); take more images",
                argument="run",
            )
        parts = [data.part(chosen) for chosen in (~is_held_out, is_held_out)]
        return parts[0], replace(parts[1], name=f"{data.name}, kept back")
