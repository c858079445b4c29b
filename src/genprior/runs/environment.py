"""What a run was trained on, so that resuming elsewhere is noticed."""

import json
import platform
from typing import TYPE_CHECKING, Any

import torch

from genprior.data import Dataset
from genprior.errors import GenpriorError
from genprior.runs.run_folder import Run

if TYPE_CHECKING:
    from genprior.training.loop import Learner

DATA = ("data_sha256", "images", "image_shape")


def read_environment(run: Run) -> dict[str, Any]:
    """Returns the environment in which a run began.

    Raises:
        GenpriorError: It is not there, or not readable.
    """
    try:
        values = json.loads(run.environment.read_text())
        channels, height, width = (int(side) for side in values["image_shape"])
        return {**values, "images": int(values["images"]), "image_shape": (channels, height, width)}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise GenpriorError(f"{run.environment} cannot be read: {error}", argument="run") from None


def differences(run: Run, learner: "Learner", data: Dataset) -> list[str]:
    """Returns a line for each thing that has changed since the run began, and may change its last digits.

    Raises:
        GenpriorError: The data are not the run's data.
    """
    refuse_other_data(run, data, "data")
    then, now = read_environment(run), environment(learner, data)
    return [
        f"{key} was {then.get(key)}, is {now[key]}: steps are no longer bit-identical"
        for key in now
        if key not in DATA and then.get(key) != now[key]
    ]


def refuse_other_data(run: Run, data: Dataset, argument: str) -> None:
    """Raises `GenpriorError` about `argument` unless the data are what a run was trained on."""
    then, now = read_environment(run), _facts_of(data)
    if any(then.get(key) != now[key] for key in DATA):
        raise GenpriorError(
            f"{data.name} is no longer what {run.path} was trained on ({then.get('images')} images of shape "
            f"{then['image_shape']} then, {len(data)} of {data.image_shape} now, or other contents)",
            argument=argument,
        )


def environment(learner: "Learner", data: Dataset) -> dict[str, Any]:
    """Returns what a run of `learner` on `data` is trained on here."""
    return _facts_of(data) | {
        "torch": torch.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "device": str(learner.device),
        "threads": torch.get_num_threads(),
        "processes": learner.processes.count,
    }


def _facts_of(data: Dataset) -> dict[str, Any]:
    return {"data_sha256": data.fingerprint(), "images": len(data), "image_shape": data.image_shape}
