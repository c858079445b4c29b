"""A trained GAN and its kept ages, opened for an experiment; and how its numbers are saved."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from genprior.data import Dataset
from genprior.errors import GenpriorError
from genprior.families import GANConfig
from genprior.runs.checkpoint import ages as kept_ages
from genprior.runs.checkpoint import load_age, load_counters, load_state
from genprior.runs.run_folder import CONFIG, Run, differences, misfit, open_run
from genprior.training.optimisation import grouped


@dataclass(frozen=True)
class Probed:
    """A run that an experiment is made on, in float32 on the CPU.

    Attributes:
        run: The run.
        config: Its settings, for float32 on the CPU.
        data: What it was trained on.
        states: The tensors of its players by images seen, as "<player>/<name>": those of the ages that it has kept,
            and of its last checkpoint, which has the averaged generator ("average/...") as well.
    """

    run: Run
    config: GANConfig
    data: Dataset
    states: dict[int, dict[str, Tensor]]

    @property
    def last(self) -> int:
        """Images seen at the last checkpoint."""
        return max(self.states)

    @property
    def has_kept_ages(self) -> bool:
        """Whether the run has kept any ages besides its last checkpoint."""
        return bool(kept_ages(self.run))

    def generator(self, images_seen: int, average: bool = False) -> nn.Module:
        """Returns the generator of an age, in training mode.

        Raises:
            GenpriorError: The tensors are not those of this model.
        """
        part = "average" if average else "generator"
        return self._loaded(self.config.build(self.data).generator, images_seen, part)

    def discriminator(self, images_seen: int) -> nn.Module:
        """Returns the discriminator of an age, in training mode; ages kept by older versions have none.

        Raises:
            GenpriorError: The tensors are not those of this model, or there are none.
        """
        return self._loaded(self.config.build(self.data).discriminator, images_seen, "discriminator")

    def _loaded(self, network: nn.Module, images_seen: int, part: str) -> nn.Module:
        try:
            network.load_state_dict(grouped(self.states[images_seen], part))
        except RuntimeError as error:
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
    states = _states(run)
    data = config.load_data()
    differences(run, config.build(data), data)
    probed = Probed(run, config, data, states)
    for age in sorted(states, reverse=True):  # the checkpoint first: where that fits, an age that does not is damaged
        probed.generator(age)
        if grouped(states[age], "discriminator"):
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


def _states(run: Run) -> dict[int, dict[str, Tensor]]:
    state = load_state(run.checkpoints)
    counters, _ = load_counters(run.checkpoints)
    assert counters is not None
    kept = {age: load_age(path) for age, path in kept_ages(run).items() if age < counters.images_seen}
    return kept | {counters.images_seen: state}


def _gan_config(run: Run, data_root: Path | None) -> GANConfig:
    if not isinstance(run.config, GANConfig):
        raise GenpriorError(
            f"{run.path} is a {run.config.title}, which has no discriminator; give a run of `genprior train gan`",
            argument="run",
        )
    root = run.config.data_root if data_root is None else str(data_root)
    return run.config.model_copy(update={"precision": "float32", "device": "cpu", "data_root": root})
