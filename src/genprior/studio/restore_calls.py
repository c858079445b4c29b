"""What the Restore room asks of the library: an image, a damage, an answer that a command would give, too."""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from genprior.data.held_out import Split
from genprior.errors import GenpriorError
from genprior.images import to_float, to_uint8, write_image
from genprior.priors.contracts import LatentPrior
from genprior.restoration.result import Restoration
from genprior.restoring.finishing import Finished, finished
from genprior.restoring.fitting_items import Item
from genprior.restoring.job_settings import RestoreSettings
from genprior.restoring.picture_formats import FORMATS
from genprior.restoring.restore_job import restored_alone, trained_prior
from genprior.restoring.sources import fitted
from genprior.runs.run_folder import Run, open_run, read_environment
from genprior.settings import validated
from genprior.studio.allowed_folders import AllowedFolders
from genprior.studio.checked_uploads import checked_picture
from genprior.studio.kept_answers import forget_oldest, new_place

SAMPLE, HELD_OUT, UPLOAD = "a sample of the run", "a held-out image of its data", "a picture of mine"
HOLE = "a hole that I paint"
CANDIDATES = 4
FAST, USUAL = "fast", "default"  # presets of a first answer, and of all others
FEW_DRAWS, FIRST_DRAWS = 4, 64  # of priors that draw slowly, and of those that draw at once
ANSWERS = "answers"
PRIORS_KEPT, DATA_KEPT, ANSWERS_KEPT = 4, 2, 200
OWN_FILES = {"image": "image.png", "mask": "mask.png", "result": "restored.png"}


@dataclass(frozen=True)
class SliderDamage:
    """A way to damage an image, by a slider.

    Attributes:
        operator, noise: Specs, in which {} stands for the value of the slider; an empty noise is the one on top.
        label: Of the slider.
        least, most, step, usual: Values of it.
    """

    operator: str
    noise: str
    label: str
    least: float
    most: float
    step: float
    usual: float


@dataclass(frozen=True)
class Asked:
    """What a visitor wants to know.

    Attributes:
        damage: `HOLE`, or one of `DAMAGES`.
        strength: Value of its slider.
        noise: Standard deviation of the noise on top, at least 0.
        estimate: Which image is the restored one; None for the usual one.
    """

    damage: str
    strength: float = 0.0
    noise: float = 0.0
    estimate: str | None = None


@dataclass(frozen=True)
class Answer:
    """What a run makes of a damaged image.

    Attributes:
        settings: With which `genprior restore` gives the same.
        item: The damaged image.
        found: What is thought of it.
        seconds: Of the search, without loading.
    """

    settings: RestoreSettings
    item: Item
    found: Restoration
    seconds: float

    def finished(self) -> Finished:
        """Returns the restored picture, as the command writes it."""
        return finished(self.item, self.found.images[0])


def image_of(folders: AllowedFolders, run: Path, kind: str, number: int, upload: Path | None) -> Tensor:
    """Returns the image (C, H, W) uint8 that is to be damaged, in the run's shape.

    Arguments:
        folders: Which images may be read.
        run: Whose sample or data it is.
        kind: `SAMPLE`, `HELD_OUT` or `UPLOAD`.
        number: Which sample, as `genprior sample` numbers them, or which of the held-out images.
        upload: What was sent.

    Raises:
        GenpriorError: No such image, or one that may not be read.
    """
    opened = open_run(run)
    if kind == SAMPLE:
        return to_uint8(prior_of_run(run).sample(1, 0, max(0, number))[0])
    if kind == HELD_OUT:
        images = held_out_images(folders, opened)
        return images[number % len(images)]
    if upload is None:
        raise GenpriorError("choose a picture first", argument="upload")
    shape = read_environment(opened).image_shape
    x = to_float(checked_picture(upload))
    return to_uint8(fitted(x, "the picture", shape, resize=True))


def held_out_images(folders: AllowedFolders, run: Run) -> Tensor:
    """Returns images (N, C, H, W) uint8 that the run never saw.

    Raises:
        GenpriorError: There are none, or they lie outside the allowed folders.
    """
    folders.refuse_elsewhere(run.config)
    found = _held_out(run.path, last_change(run.path))
    if found is None or not len(found):
        raise GenpriorError("no images were held out when this run was trained; take a sample", argument="image")
    return found


@lru_cache(DATA_KEPT)
def _held_out(path: Path, stamp: float) -> Tensor | None:
    held_out = split_of(path, stamp).load_held_out()
    return None if held_out is None else held_out.images


def split_of(path: Path, stamp: float) -> Split:
    """Returns what a run learned from and what it never saw, kept in memory; `stamp` is `last_change` of the run."""
    with _READING:
        return _split(path, stamp)


_READING = threading.Lock()


@lru_cache(DATA_KEPT)
def _split(path: Path, stamp: float) -> Split:
    return open_run(path).config.load_split()


_LOADING = threading.Lock()


def prior_of_run(run: Path) -> LatentPrior:
    """Returns the prior of a run, kept in memory until its files change; errors as `trained_prior` has them."""
    with _LOADING:
        return _prior(run, last_change(run))


@lru_cache(PRIORS_KEPT)
def _prior(run: Path, stamp: float) -> LatentPrior:
    return trained_prior(RestoreSettings(run=run, images=""))


def last_change(run: Path) -> float:
    """When the newest of a run's weights were written."""
    files = [*run.glob("checkpoint/*/*"), *run.glob("best/*/*"), *run.glob("*.safetensors"), run / "held-out.jsonl"]
    times = [0.0]
    for file in files:
        try:
            times.append(file.stat().st_mtime)
        except OSError:  # replaced this instant by a training
            continue
    return max(times)


def kept_question(folders: AllowedFolders, image: Tensor, missing: Tensor | None) -> Mapping[str, Path]:
    """Writes the image and the mask of the hole where the commands find them; returns these files by name.

    The newest `ANSWERS_KEPT` questions and their answers stay.

    Arguments:
        folders: Where answers go.
        image: (C, H, W) uint8.
        missing: (1, H, W) bool, True where the hole is; None: no hole.
    """
    place = new_place(folders.home / ANSWERS)
    files = {"image": place / OWN_FILES["image"]}
    write_image(image, files["image"])
    if missing is not None:
        files["mask"] = place / OWN_FILES["mask"]
        write_image((~missing).to(torch.uint8) * 255, files["mask"])
    forget_oldest(place.parent, OWN_FILES.values(), ANSWERS_KEPT)
    return files


def draw_counts(run: Path, most: int) -> tuple[int, ...]:
    """Returns how many draws the answers have that a visitor gets one after another; the last has `most`.

    The first answer is to be there at once. A mixture has its draws at once. Flow matching draws step by step, so a few
    come first. Latents of other families are drawn for seconds: first a search finds likely images, which have no
    probabilities.

    Raises:
        GenpriorError: A run that cannot be read.
    """
    prior = prior_of_run(run)
    if prior.conditional is not None:
        first: tuple[int, ...] = (FIRST_DRAWS,)
    else:
        first = (0 if prior.denoiser is None else FEW_DRAWS, FIRST_DRAWS)
    return tuple(dict.fromkeys((*(count for count in first if count < most), most)))


def restore_settings(run: Path, files: Mapping[str, Path], asked: Asked, draws: int) -> RestoreSettings:
    """Returns the settings with which the command gives the answer.

    Raises:
        GenpriorError: What is asked for does not go together.
    """
    values: dict[str, object] = {
        "run": run,
        "images": str(files["image"]),
        "draws": draws,
        "preset": FAST if draws < FIRST_DRAWS else USUAL,
        "candidates": CANDIDATES,
        "estimate": asked.estimate if draws or asked.estimate == "map" else None,  # the others are taken over draws
    }
    if asked.damage == HOLE:
        return validated(RestoreSettings, values | {"operator": "inpaint", "mask": files["mask"]})
    if asked.damage not in DAMAGES:
        raise GenpriorError(f"expected one of {', '.join([HOLE, *DAMAGES])}, got {asked.damage!r}", argument="damage")
    damage = DAMAGES[asked.damage]
    on_top = f"gaussian:sigma={asked.noise:g}" if asked.noise > 0 else "none"
    noise = damage.noise.format(f"{asked.strength:g}") or on_top
    operator = damage.operator.format(f"{asked.strength:g}")
    return validated(RestoreSettings, values | {"operator": operator, "noise": noise, "simulate": True})


def answered(settings: RestoreSettings) -> Answer:
    """Returns what `genprior restore` finds for the only image of these settings.

    Raises:
        GenpriorError: No run, or what does not fit it.
    """
    prior = prior_of_run(settings.run)
    began = time.perf_counter()
    item, found = restored_alone(settings, prior)
    return Answer(settings, item, found, time.perf_counter() - began)


def kept_result(answer: Answer) -> Path:
    """Writes the restored picture beside the question, as the command writes it; returns where."""
    path = Path(answer.settings.images).with_name(OWN_FILES["result"])
    FORMATS["png"].write(answer.finished().picture, path)
    return path


DAMAGES: dict[str, SliderDamage] = {
    "missing pixels": SliderDamage("inpaint:random={}", "", "share of pixels missing", 0.1, 0.95, 0.05, 0.5),
    "noise": SliderDamage("denoise", "gaussian:sigma={}", "standard deviation of the noise", 0.02, 0.6, 0.02, 0.2),
    "blur": SliderDamage("blur:sigma={}", "", "width of the blur in pixels", 0.5, 3, 0.25, 1.0),
    "few measurements": SliderDamage("compressed-sensing:m={}", "", "random measurements", 10, 400, 10, 100),
    "low resolution": SliderDamage("downsample:factor={}", "", "pixels that become one, a side", 2, 8, 1, 2),
}
