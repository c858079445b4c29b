"""What a run keeps of several ages: one file of tensors an age, named after the images seen."""

from pathlib import Path

from torch import Tensor

from genprior.errors import GenpriorError
from genprior.runs.run_folder import Run
from genprior.runs.tensors import save_tensors
from genprior.training.loop import Learner
from genprior.training.state import joined

FIRST_AGE, FACTOR = 1000, 4  # in images; early training changes fastest


def is_age(images_seen: int, images_per_update: int) -> bool:
    """Whether the last update reached an age that is kept: 0, 1000, 4000, 16,000 ... images.

    Example:
        >>> [seen for seen in range(0, 10_000, 384) if is_age(seen, 384)]
        [0, 1152, 4224]
    """
    age = FIRST_AGE
    while age <= images_seen - images_per_update:
        age *= FACTOR
    return images_seen == 0 or images_seen >= age


def keep(run: Run, learner: Learner, images_seen: int) -> None:
    """Writes the learner's snapshot of this age; nothing where its family keeps none.

    Raises:
        OSError: Disk full, for example.
    """
    tensors = {name: value.cpu().contiguous() for name, value in learner.snapshot().items()}
    if tensors:
        run.history.mkdir(exist_ok=True)
        save_tensors(tensors, run.history / f"{images_seen}.safetensors")


def ages(run: Run) -> dict[int, Path]:
    """Returns the files of a run by images seen, youngest first; files of other names are left out."""
    files = {int(path.stem): path for path in run.history.glob("*.safetensors") if path.stem.isdecimal()}
    return dict(sorted(files.items()))


def load_age(path: Path) -> dict[str, Tensor]:
    """Returns the tensors of an age, as "<part>/<name>"; older runs kept the generator alone.

    Raises:
        GenpriorError: The file is damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise GenpriorError(f"{path} cannot be read: {error}; delete it", argument="run") from error
    return tensors if any("/" in name for name in tensors) else joined({"generator": tensors})
