"""A trained GAN and its kept ages, opened for an experiment; and what experiments on it share."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from torch import Tensor, nn

from genprior.data import Dataset
from genprior.data.held_out import Split
from genprior.diagnosis.equilibrium_measures import GameMoment
from genprior.diagnosis.one_player import InnerMoment, OuterMoment, RetrainingMoment
from genprior.diagnosis.retraining import LoneTraining
from genprior.errors import GenpriorError, raise_lack_of_memory
from genprior.families import GANConfig
from genprior.families.gan import gan_config
from genprior.progress import Stage, Task
from genprior.runs.checkpoint import ages as kept_ages
from genprior.runs.checkpoint import load_age, trained_checkpoint
from genprior.runs.run_folder import CONFIG, Run, differences, misfit, open_run
from genprior.seeding import derived_seed
from genprior.settings import Result
from genprior.specs import Spec
from genprior.training.optimisation import AdamSettings, grouped

R = TypeVar("R", bound=Result)
M = TypeVar("M", RetrainingMoment, InnerMoment, OuterMoment, GameMoment)


@dataclass(frozen=True)
class Probed:
    """A run that an experiment is made on, in float32 on the CPU.

    Attributes:
        run: The run.
        config: Its settings, for float32 on the CPU.
        split: What it was trained on, and what it has not seen.
        seconds: Time that training had taken at the last checkpoint.
        states: The tensors of its players by images seen, as "<player>/<name>": those of the ages that it has kept,
            and of its last checkpoint, which has the averaged generator ("average/...") as well.
    """

    run: Run
    config: GANConfig
    split: Split
    seconds: float
    states: dict[int, dict[str, Tensor]]

    @property
    def data(self) -> Dataset:
        """What it was trained on."""
        return self.split.learned

    @property
    def last(self) -> int:
        """Images seen at the last checkpoint."""
        return max(self.states)

    @property
    def ages(self) -> list[int]:
        """Images seen at all ages, the youngest first."""
        return sorted(self.states)

    def has_discriminator(self, images_seen: int) -> bool:
        """Whether the discriminator of an age is kept; older versions kept the generator alone."""
        return bool(grouped(self.states[images_seen], "discriminator"))

    def generator(self, images_seen: int, average: bool = False) -> nn.Module:
        """Returns the generator of an age, in training mode.

        Raises:
            GenpriorError: The tensors are not those of this model.
        """
        part = "average" if average else "generator"
        return self._loaded(self.config.build(self.data).generator, images_seen, part)

    def discriminator(self, images_seen: int) -> nn.Module:
        """Returns the discriminator of an age, in training mode.

        Raises:
            GenpriorError: The tensors are not those of this model, or there are none.
        """
        return self._loaded(self.config.build(self.data).discriminator, images_seen, "discriminator")

    def fresh_discriminator(self, seed: int, index: int = 0, model: Spec | None = None) -> nn.Module:
        """Returns an untrained discriminator.

        Arguments:
            seed, index: Decide its weights.
            model: Whose; None: that of the run.
        """
        changes = {"model": model or self.config.model, "seed": derived_seed(seed, "fresh discriminator", index)}
        return self.config.model_copy(update=changes | {"penalty": ()}).build(self.data).discriminator

    def training(self, learning_rate: float, steps: int, seed: int) -> LoneTraining:
        """Returns how a player is trained alone: with the batches and the other settings of the run's optimisers."""
        config = self.config
        adam = AdamSettings(learning_rate, config.beta1, config.beta2, config.weight_decay)
        return LoneTraining(adam, steps, config.batch_size, seed)

    def _loaded(self, network: nn.Module, images_seen: int, part: str) -> nn.Module:
        try:
            network.load_state_dict(grouped(self.states[images_seen], part))
        except RuntimeError as error:
            raise_lack_of_memory(error)
            raise self._misfit(images_seen) from error
        return network

    def _misfit(self, images_seen: int) -> GenpriorError:
        if images_seen == self.last:
            return misfit(self.run)
        path = kept_ages(self.run)[images_seen]
        return GenpriorError(
            f"{path} does not hold the networks of {self.run.path / CONFIG}; delete it", argument="run"
        )


def open_probed(path: Path, data_root: Path | None) -> Probed:
    """Returns the run in a folder, opened for an experiment.

    Raises:
        GenpriorError: No run, an untrained one, no GAN, other data than the run's, or tensors of another model.
    """
    run = open_run(path)
    config = _gan_config(run, data_root)
    last = trained_checkpoint(run.checkpoints)
    kept = {age: load_age(file) for age, file in kept_ages(run).items() if age < last.images_seen}
    split = config.load_split()
    differences(run, config.build(split.learned), split.learned)
    probed = Probed(run, config, split, last.seconds, kept | {last.images_seen: last.tensors})
    for age in reversed(probed.ages):  # the checkpoint first: where that fits, an age that does not is damaged
        probed.generator(age)
        if probed.has_discriminator(age):
            probed.discriminator(age)
    return probed


def spread(ages: Sequence[int], count: int) -> list[int]:
    """Returns at most `count` of the ages, evenly from the first to the last by their order; one: the last.

    Example:
        >>> spread([0, 1000, 4000, 16000, 60000], 3)
        [0, 4000, 60000]
    """
    if count >= len(ages):
        return list(ages)
    last = len(ages) - 1
    return [ages[last - last * i // max(1, count - 1)] for i in reversed(range(count))]


def listed(ages: Iterable[int]) -> str:
    """Returns ages as text, "0, 1,152"."""
    return ", ".join(f"{age:,}" for age in ages)


def collected(moments: Iterable[M], steps: int, what: str) -> Task[tuple[M, ...]]:
    """Returns all moments of a player that takes so many steps; yields a stage after each."""
    found = []
    for moment in moments:
        found.append(moment)
        yield Stage((moment.step + 1) / (steps + 1), f"{what}: step {moment.step:,}")
    return tuple(found)


def resumed(kept: R | None, new: R, basis: Callable[[R], object]) -> R:
    """Returns what an interrupted probe has found, for the settings of `new`; `new` where the run is another by now.

    Arguments:
        kept: What was found; None: nothing.
        new: With nothing found.
        basis: What of a result must be equal.
    """
    if kept is None or basis(kept) != basis(new):
        return new
    return kept.model_copy(update={"settings": new.settings})


def _gan_config(run: Run, data_root: Path | None) -> GANConfig:
    config = gan_config(run.config, run.path)
    root = config.data_root if data_root is None else str(data_root)
    return config.model_copy(update={"precision": "float32", "device": "cpu", "data_root": root})
