"""How to train on somebody's own images: which commands, and how long that takes here, measured."""

import shlex
import time
from dataclasses import dataclass

from genprior.data import Dataset
from genprior.data.held_out import Split
from genprior.errors import GenpriorError
from genprior.families import GANConfig
from genprior.families.run_config import largest_power
from genprior.runs.thread_choice import ThreadChoice
from genprior.training.loop import Budget, train

WARM_UP, STEPS, SECONDS = 2, 8, 10.0  # steps that are not timed; then as many as that, or as fit into the time
USUAL_MINUTES, LONGEST = 20.0, 40.0
PRESETS = {(1, 28, 28): "r1-28", (1, 32, 32): "r1-32", (1, 64, 64): "r1-64"}  # by the shape of the images
OTHERS = "pyramid"  # better in colour (docs/benchmarks/own-gans.md), and for any shape
LEAST_TRIED = 40  # images to learn, of a trial of families


@dataclass(frozen=True)
class Suggestion:
    """How to train.

    Attributes:
        command: To be typed, for new images.
        trial: To be typed by whoever restores images: a trial chooses the family. "": there are too few for one.
        minutes: That it takes here; where a budget in minutes is suggested, that budget.
        seconds_per_step: As measured.
        images_per_step: Images in a step.
        own_minutes: What the preset's own budget would take.
    """

    command: str
    trial: str
    minutes: float
    seconds_per_step: float
    images_per_step: int
    own_minutes: float

    def rows(self) -> dict[str, str]:
        """Returns it in words, by what it is about."""
        measured = f"measured here: {self.seconds_per_step:.2f} s a step of {self.images_per_step} images"
        own = "" if self.minutes == self.own_minutes else f"; the preset's own budget takes {self.own_minutes:.1f}"
        minutes = f"{self.minutes:.0f} ({measured}{own})"
        return {"train with": self.command, "minutes": minutes} | ({"to restore": self.trial} if self.trial else {})


def suggested(flags: dict[str, object], split: Split) -> Suggestion:
    """Returns how to train a GAN on images, after a few of its steps.

    Arguments:
        flags: What was said of the images, by the names of the flags; `data` among them.
        split: The images.

    Raises:
        GenpriorError: No preset can be trained on images of this shape, or on so few.
    """
    learned = split.learned
    if len(learned) < 2:
        raise GenpriorError(f"{learned.name} has one image to learn from, a GAN needs two at least", argument="data")
    preset = PRESETS.get(learned.image_shape, OTHERS)
    own: dict[str, object] = {**flags, "preset": preset}
    if len(learned) < GANConfig(preset=preset).batch_size:
        own["batch_size"] = largest_power(len(learned))
    config = GANConfig.model_validate(own)
    seconds = _seconds_per_step(config, learned)
    count = config.batch_size * config.discriminator_updates
    minutes = config.minutes or seconds / 60 * (config.epochs or 1) * len(learned) / count
    is_usual = USUAL_MINUTES / 2 <= minutes <= LONGEST
    if not is_usual:
        own["minutes"] = USUAL_MINUTES
    command = f"genprior train gan {_as_flags(own)} --out runs/own"
    tried = f"genprior train auto {_as_flags(flags | {'minutes': USUAL_MINUTES})} --out runs/own"
    trial = tried if len(learned) >= LEAST_TRIED else ""
    return Suggestion(command, trial, minutes if is_usual else USUAL_MINUTES, seconds, count, minutes)


def _as_flags(values: dict[str, object]) -> str:
    told = {name: f"{value:g}" if isinstance(value, float) else str(value) for name, value in values.items()}
    return " ".join(f"--{name.replace('_', '-')} {shlex.quote(value)}" for name, value in told.items())


def _seconds_per_step(config: GANConfig, data: Dataset) -> float:
    """Seconds that a step of training takes, with the number of threads that training would choose."""
    learner = config.build(data)
    try:
        learner.check(data)
    except GenpriorError as error:
        raise GenpriorError(f"no preset suits these images: {error.message}", argument=error.argument) from error
    ThreadChoice(learner, data, None).begin(None)
    budget = Budget(images=learner.images_per_update * (WARM_UP + STEPS))
    began, steps = time.perf_counter(), 0
    for step in train(learner, data, budget, seed=0):
        if step.index == WARM_UP:
            began = time.perf_counter()
        steps = max(0, step.index - WARM_UP)
        if steps and time.perf_counter() - began > SECONDS:
            break
    return (time.perf_counter() - began) / steps
