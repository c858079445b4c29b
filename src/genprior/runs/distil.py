"""A GAN whose generator begins as the network of a flow-matching run, so that it needs only a few evaluations."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from genprior.data import Dataset
from genprior.errors import GenpriorError, raise_lack_of_memory
from genprior.families import FlowMatchingConfig, GANConfig, RunConfig, parse_config
from genprior.families.run_config import ForkedFrom
from genprior.models.few_steps import FewStepGenerator
from genprior.runs.best_weights import used_checkpoint
from genprior.runs.checkpoint import Checkpoint, keep_age, save_checkpoint
from genprior.runs.prepare import PreparedRun, new_run, refuse_same_place
from genprior.runs.run_folder import CONFIG, Run, open_run
from genprior.specs import Spec
from genprior.training.adversarial import GAN
from genprior.training.loop import Learner
from genprior.training.optimisation import grouped

ARGUMENT = "distil"
PRESET, MODEL, NETWORK = "few-steps", "few-steps", "unet"
OF_IMAGES = ("data", "data_root", "size", "channels", "fit", "white", "strict", "held_out")


@dataclass(frozen=True)
class FieldStart:
    """The averaged velocity field of a run of flow matching, with which a generator begins.

    Attributes:
        run: Folder of that run.
        tensors: Of the field.
    """

    run: Path
    tensors: Mapping[str, Tensor]

    def load(self, learner: Learner, data: Dataset) -> list[str]:
        """Puts the field into the generator and into its average; returns a line to be shown.

        Raises:
            GenpriorError: Another network than the other run's.
        """
        assert isinstance(learner, GAN)
        for network in (learner.generator, learner.average.network):
            assert isinstance(network, FewStepGenerator)
            try:
                network.field.load_state_dict(self.tensors)
            except (RuntimeError, KeyError) as error:
                raise_lack_of_memory(error)
                raise GenpriorError(
                    f"the network of {self.run} does not fit these settings: leave width, levels, blocks and "
                    "wiener out of --model, and colours as they were",
                    argument=ARGUMENT,
                ) from error
        return [f"the generator begins as the network of {self.run}"]

    def begin(self, run: Run, learner: Learner) -> None:
        """Writes both players into the new run, as its first age and checkpoint: it needs the other run no more.

        Raises:
            OSError: Disk full, for example.
        """
        keep_age(run, learner, 0)
        save_checkpoint(run.checkpoints, Checkpoint(0, 0, 0.0, tensors=learner.state_dict()))


def distilled_run(path: Path, other: Path, own: Mapping[str, Any], *, overwrite: bool = False) -> PreparedRun:
    """Returns a new GAN whose generator begins as the network of a run of flow matching, ready to be trained.

    Arguments:
        path: Folder of the new run.
        other: Folder of the run of flow matching, which stays as it is.
        own: Settings of the new run; images, and the sizes of the network, are those of the other one.
        overwrite: Whether a run that is there is replaced.

    Raises:
        GenpriorError: No such run, another family or network, no whole checkpoint, or a folder that may not be written.
    """
    refuse_same_place(path, other, "distilled")
    opened, config = distilled_config(other, own)
    checkpoint = used_checkpoint(opened)
    origin = ForkedFrom(
        run=str(other.absolute()), step=checkpoint.step, images_seen=checkpoint.images_seen, is_distilled=True
    )
    start = FieldStart(other, grouped(checkpoint.tensors, "average"))
    return new_run(path, config.model_copy(update={"forked_from": origin}), overwrite=overwrite, start=start)


def distilled_config(other: Path, own: Mapping[str, Any]) -> tuple[Run, RunConfig]:
    """Returns the run of flow matching, and the settings of a GAN that begins with its network.

    Raises:
        GenpriorError: No such run, another family or network, or settings that do not go together.
    """
    if not (other / CONFIG).is_file():
        raise GenpriorError(f"{other} is not a run: it has no {CONFIG}", argument=ARGUMENT)
    opened = open_run(other)
    theirs = opened.config
    if not isinstance(theirs, FlowMatchingConfig) or theirs.model.name != NETWORK:
        raise GenpriorError(
            f"{other} is a {theirs.title}; give a run of `genprior train flow-matching` on images", argument=ARGUMENT
        )
    if own.get("family", GANConfig.model_fields["family"].default) != GANConfig.model_fields["family"].default:
        raise GenpriorError("a network is distilled into a GAN: genprior train gan", argument=ARGUMENT)
    model = Spec.parse(str(own.get("model", MODEL)))
    if model.name != MODEL:
        raise GenpriorError(f"a distilled network is the generator of {MODEL}, not of {model.name}", argument="model")
    images = {name: getattr(theirs, name) for name in OF_IMAGES}
    whole = {**theirs.model.options, **model.options}
    values = {"preset": PRESET, **images, **own, "model": Spec(MODEL, whole)}
    return opened, parse_config(values)
