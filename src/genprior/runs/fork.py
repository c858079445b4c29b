"""A run that goes on from the newest checkpoint of another one, with other settings: "what if I had taken ...?"."""

import shlex
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from genprior.data import Dataset
from genprior.errors import GenpriorError, NoRightError, raise_lack_of_memory
from genprior.families import BUDGETS, RunConfig, parse_config
from genprior.families.run_config import ForkedFrom
from genprior.runs.checkpoint import Checkpoint, keep_age, load_checkpoint, save_checkpoint
from genprior.runs.prepare import PreparedRun, new_run, refuse_same_place, refuse_used_budget, resolved
from genprior.runs.run_folder import CONFIG, Run, differences, open_run
from genprior.runs.step_rows import each_row
from genprior.training.loop import Learner

ARGUMENT = "fork"


@dataclass(frozen=True)
class ForkStart:
    """A checkpoint of another run, from which a new one goes on.

    Attributes:
        other: The other run, with the settings of the new one.
        checkpoint: Its newest whole one; where none is, that of its best weights.
    """

    other: Run
    checkpoint: Checkpoint

    def load(self, learner: Learner, data: Dataset) -> list[str]:
        """Puts the learner where the other run stands; returns lines to be shown.

        Raises:
            GenpriorError: Other images, networks or counts of images than the other run's, or a budget that is used.
        """
        notes = differences(self.other, learner, data)
        at = self.checkpoint
        if at.images_seen != at.step * learner.images_per_update:
            raise GenpriorError(
                f"{self.other.path} saw {at.images_seen:,} images in {at.step:,} updates; a fork keeps to as many an "
                f"update, got {learner.images_per_update}",
                argument="batch_size",
            )
        refuse_used_budget(self.other, at, data, ARGUMENT)
        counts = learner.parameter_counts()
        try:
            learner.load_state_dict(at.tensors)
            if learner.parameter_counts() != counts:  # a mixture takes any, whatever its settings say
                raise RuntimeError("another number of parameters")
        except (RuntimeError, KeyError) as error:
            raise_lack_of_memory(error)
            raise GenpriorError(
                f"the weights of {self.other.path} do not fit these settings: a fork keeps the networks; give losses, "
                "penalties, rates or a budget",
                argument=ARGUMENT,
            ) from error
        forked = self.other.config.forked_from
        return [*([] if forked is None else [f"forked {forked.in_words()}"]), *notes]

    def begin(self, run: Run, learner: Learner) -> None:
        """Writes the weights into the new run, as its first age and checkpoint: it needs the other run no more.

        Raises:
            OSError: Disk full, for example.
        """
        keep_age(run, learner, self.checkpoint.images_seen)
        save_checkpoint(run.checkpoints, replace(self.checkpoint, log=None))  # none of its own steps is made yet


def forked_run(path: Path, other: Path, changes: Mapping[str, Any], *, overwrite: bool = False) -> PreparedRun:
    """Returns a new run that goes on from the newest checkpoint of another run, ready to be trained.

    It counts steps, images and time on from there. Its record holds its own steps alone, and its config says from
    where it came and which settings were changed. With no changes but the budget it equals the other run resumed.

    Arguments:
        path: Folder of the new run.
        other: Folder of the other one, which stays as it is.
        changes: Settings that the new run has instead; a budget is one in all, as for `resumed_run`.
        overwrite: Whether a run that is there is replaced.

    Raises:
        GenpriorError: No such run, another family, no whole checkpoint, other images or networks, a budget that is
            used, or a folder that may not be written.
    """
    refuse_same_place(path, other, "forked")
    opened, config = forked_config(other, changes)
    checkpoint = _start_of(opened)
    config = _with_origin(opened, config, checkpoint)
    return new_run(path, config, overwrite=overwrite, start=ForkStart(Run(other, config), checkpoint))


def forked_config(other: Path, changes: Mapping[str, Any]) -> tuple[Run, RunConfig]:
    """Returns the other run, and its settings with the changes; where it was forked from is not among them.

    Raises:
        GenpriorError: No such run, or another family.
    """
    if not (other / CONFIG).is_file():
        raise GenpriorError(f"{other} is not a run: it has no {CONFIG}", argument=ARGUMENT)
    opened = open_run(other)
    family = changes.get("family", opened.config.family)
    if family != opened.config.family:
        raise GenpriorError(
            f"{other} is a run of `genprior train {opened.config.family}`, not of {family}", argument=ARGUMENT
        )
    if "preset" in changes:
        raise GenpriorError("a fork has the settings of its run; give those that change", argument="preset")
    own = opened.config.model_dump(exclude={"forked_from"})
    if changes.keys() & set(BUDGETS):
        own = {name: value for name, value in own.items() if name not in BUDGETS}
    return opened, parse_config({**own, **changes})


def _start_of(other: Run) -> Checkpoint:
    """The newest whole checkpoint of a run, else that of its best weights, with a warning for what is damaged.

    Raises:
        GenpriorError: There is neither; with the command that helps.
    """
    try:
        newest, refused = load_checkpoint(other.checkpoints)
    except NoRightError:
        raise
    except GenpriorError as error:
        newest, refused = None, [error.message.partition("; no whole")[0]]
    lost = "; ".join(refused)
    if newest is not None:
        if refused:
            warnings.warn(f"{lost}; the one before it is used", stacklevel=3)
        return newest
    best = _whole_best(other)
    if best is not None:
        lost = lost or f"{other.checkpoints} has no checkpoint"
        warnings.warn(f"{lost}; the best weights, after {best.images_seen:,} images, are used", stacklevel=3)
        return best
    where = shlex.quote(str(other.path))
    if not refused and not any(True for _ in each_row(other.steps)):
        raise GenpriorError(
            f"{other.path} has no checkpoint yet; train it first: genprior resume {where}", argument=ARGUMENT
        )
    settings = shlex.quote(str(other.path / CONFIG))
    raise GenpriorError(
        f"{lost or f'the checkpoints of {other.path} are gone'}; no other age can be forked. Train the run anew: "
        f"genprior train {other.config.family} --config {settings} --out {where} --overwrite",
        argument=ARGUMENT,
    )


def _whole_best(other: Run) -> Checkpoint | None:
    try:
        return load_checkpoint(other.best)[0]
    except NoRightError:
        raise
    except GenpriorError:
        return None


def _with_origin(opened: Run, config: RunConfig, checkpoint: Checkpoint) -> RunConfig:
    before = opened.config.model_dump(mode="json")
    after = resolved(config).model_dump(mode="json")
    changed = tuple(
        f"{name} was {_text(before[name])}" for name in before if name != "forked_from" and after[name] != before[name]
    )
    origin = ForkedFrom(
        run=str(opened.path.absolute()), step=checkpoint.step, images_seen=checkpoint.images_seen, changed=changed
    )
    return config.model_copy(update={"forked_from": origin})


def _text(value: object) -> str:
    return ", ".join(map(str, value)) or "none" if isinstance(value, list) else str(value)
