"""What the Explore room asks of the library: maps of latents, rows between two, and the nearest training images."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from threading import Lock

import torch
from torch import Tensor

from genprior.command_lines import command_of
from genprior.data import Dataset
from genprior.errors import GenpriorError
from genprior.images import to_float, write_image
from genprior.plotting.sample_figures import write_samples
from genprior.restoring.job_settings import InvertSettings
from genprior.restoring.restore_job import inverted_alone
from genprior.runs.run_folder import open_run, read_environment
from genprior.sampling.drawn_samples import draw_samples
from genprior.sampling.nearest_images import NearestImages, learned_images, nearest_images
from genprior.sampling.sample_settings import SampleSettings
from genprior.settings import validated
from genprior.studio.allowed_folders import AllowedFolders
from genprior.studio.kept_answers import forget_oldest, new_place
from genprior.studio.restore_calls import (
    ANSWERS,
    ANSWERS_KEPT,
    DATA_KEPT,
    SAMPLE,
    image_of,
    last_change,
    prior_of_run,
    split_of,
)
from genprior.writing import write_numbers

EXPLORED = "explored"
ENDS, LATENTS, PICTURE, INVERTED = "ends", "latents.npy", "picture.png", "inverted"
OWN_FILES = (f"{ENDS}/0.png", f"{ENDS}/1.png", LATENTS, PICTURE)
NEAREST = 5
MAP_SIDE = 5


@dataclass(frozen=True)
class Point:
    """A latent that a visitor has chosen.

    Attributes:
        z: (k,).
        number: Which sample of the run it is; None: it is none.
        image: The image (C, H, W) uint8 that it was found for; None: it was found for none.
        error: Root mean squared error of its decoded image; None where there is no image.
        run: Whose latent it is; None: not asked yet.
    """

    z: Tensor
    number: int | None = None
    image: Tensor | None = None
    error: float | None = None
    run: Path | None = None


@dataclass(frozen=True)
class Explored:
    """Pictures of latents.

    Attributes:
        settings: With which `genprior sample` draws them.
        command: That does the same, from what the visitor gave.
        x: (B, C, H, W) in [0, 1].
        z: (B, k).
        picture: File that the command writes, too.
        note: What must be said of them, or "".
        seconds: That it took.
        points: Latents that it began with.
    """

    settings: SampleSettings
    command: str
    x: Tensor
    z: Tensor
    picture: Path
    note: str
    seconds: float
    points: tuple[Point, ...] = ()

    def point(self, number: object) -> Point:
        """Returns a latent by its place.

        Raises:
            GenpriorError: There is no such place.
        """
        if not isinstance(number, int) or not 0 <= number < len(self.z):
            raise GenpriorError("choose one of the pictures", argument="picture")
        return Point(self.z[number], run=self.settings.run)


@dataclass(frozen=True)
class Choice:
    """Which latent a visitor means.

    Attributes:
        kind: `SAMPLE`, `HELD_OUT` or `UPLOAD`, as the room Restore calls them.
        number: Which sample, or which held-out image.
        upload: The picture that was sent.
    """

    kind: str
    number: int = 0
    upload: Path | None = None


def latents_told(folders: AllowedFolders, run: str) -> str:
    """Returns what the latents of a run are."""
    return open_run(folders.inside(run, "run")).config.LATENTS


def points_of(folders: AllowedFolders, run: Path, choices: Sequence[Choice | Point]) -> tuple[Point, ...]:
    """Returns the latents that are meant; images are inverted together, as `genprior invert` does.

    Raises:
        GenpriorError: No such image, one that may not be read, or a run of points of the plane.
    """
    if read_environment(open_run(run)).image_shape[1:] == (1, 1):
        raise GenpriorError(
            "models points of the plane, which have no map here; choose a run of images", argument="run"
        )
    prior, found = prior_of_run(run), []
    for choice in choices:
        if isinstance(choice, Point):
            if choice.run not in (None, run):
                raise GenpriorError("the chosen picture is of another run; show a map of this one", argument="picture")
            found.append(choice)
        elif choice.kind == SAMPLE:
            number = max(0, choice.number)
            drawn = draw_samples(SampleSettings(run=run, count=1, first=number), prior, with_latents=True)
            assert drawn.latents is not None, "they were asked for"
            found.append(Point(drawn.latents[0], number))
        else:
            image = image_of(folders, run, choice.kind, choice.number, choice.upload)
            found.append(Point(torch.empty(0), image=image))
    return tuple(found)


def map_about(folders: AllowedFolders, run: Path, middle: Choice | Point, step: float) -> Explored:
    """Returns the map about a latent; arguments as for `genprior sample --around`, errors as `points_of` has them."""
    return _explored(folders, run, [middle], {"around": True, "step": step, "side": MAP_SIDE})


def row_between(folders: AllowedFolders, run: Path, ends: Sequence[Choice | Point]) -> Explored:
    """Returns the pictures between two latents, as `genprior sample --interpolate` has them; errors as `points_of`."""
    return _explored(folders, run, ends, {"interpolate": True})


def _explored(
    folders: AllowedFolders, run: Path, choices: Sequence[Choice | Point], asked: dict[str, object]
) -> Explored:
    points, prior, began = points_of(folders, run, choices), prior_of_run(run), time.perf_counter()
    place = new_place(folders.home / ANSWERS / EXPLORED)
    points, invert = _inverted(run, points, place)
    settings = _settings(run, points, place, asked)
    drawn = draw_samples(settings, prior)
    x = torch.cat(list(drawn.parts))
    assert drawn.latents is not None, "maps and rows have them"
    picture = place / PICTURE
    _write_picture(x, picture, drawn.columns)
    forget_oldest(place.parent, OWN_FILES, ANSWERS_KEPT)
    shown = settings
    if invert and all(point.image is not None for point in points):
        shown = settings.model_copy(update={"latents": place / INVERTED / "latents.safetensors"})
    command = " && ".join([*invert, command_of("sample", shown, {"out": place / "again.png"})])
    return Explored(settings, command, x, drawn.latents, picture, drawn.note, time.perf_counter() - began, points)


def _write_picture(x: Tensor, path: Path, columns: int | None) -> None:
    """Writes pictures x (B, C, H, W) as the command does, in a folder that is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_samples(x, path, columns)


def _inverted(run: Path, points: tuple[Point, ...], place: Path) -> tuple[tuple[Point, ...], list[str]]:
    """The points with the latents of their images, and the command that finds these."""
    wanted = [i for i, point in enumerate(points) if point.image is not None and not len(point.z)]
    if not wanted:
        return points, []
    for number, i in enumerate(wanted):
        image = points[i].image
        assert image is not None
        write_image(image, place / ENDS / f"{number}.png")
    settings = InvertSettings(run=run, images=str(place / ENDS))
    found = inverted_alone(settings, prior_of_run(run))
    done = list(points)
    for number, i in enumerate(wanted):
        done[i] = replace(points[i], z=found.latents[number].to(torch.float32), error=float(found.error[number]))
    return tuple(done), [command_of("invert", settings, {"out": place / INVERTED})]


def _settings(run: Path, points: Sequence[Point], place: Path, asked: dict[str, object]) -> SampleSettings:
    """What is asked of the command; latents that it cannot draw by a number are written for it."""
    number = points[0].number
    if len(points) == 1 and number is not None:
        return validated(SampleSettings, {"run": run, "first": number, **asked})
    place.mkdir(parents=True, exist_ok=True)
    z = torch.stack([point.z for point in points])
    write_numbers(place / LATENTS, tuple(z.shape), [z.numpy()])
    return validated(SampleSettings, {"run": run, "latents": place / LATENTS, **asked})


@dataclass(frozen=True)
class Beside:
    """A picture and the training images that are nearest to it.

    Attributes:
        x: (1, C, H, W).
        found: The training images.
        total: How many were learned.
        explored: As `genprior sample --nearest` has it.
    """

    x: Tensor
    found: NearestImages
    total: int
    explored: Explored


def nearest_to(folders: AllowedFolders, run: Path, point: Point) -> Beside:
    """Returns a picture beside the training images nearest to it.

    Raises:
        GenpriorError: The training images cannot be had, have changed, or lie outside the allowed folders.
    """
    point = points_of(folders, run, [replace(point, number=None)])[0]  # not by its number: samples may take another way
    learned = learned_by(folders, run)
    began, place = time.perf_counter(), new_place(folders.home / ANSWERS / EXPLORED)
    settings = _settings(run, [point], place, {"nearest": NEAREST})
    drawn = draw_samples(settings, prior_of_run(run))
    x, z = torch.cat(list(drawn.parts)), drawn.latents
    assert z is not None, "they were given"
    found = nearest_images(x, learned, NEAREST)
    _write_picture(found.beside(x), place / PICTURE, found.numbers.shape[1] + 1)
    forget_oldest(place.parent, OWN_FILES, ANSWERS_KEPT)
    command = command_of("sample", settings, {"out": place / "again.png"})
    seconds = time.perf_counter() - began
    return Beside(x, found, len(learned), Explored(settings, command, x, z, place / PICTURE, "", seconds, (point,)))


def learned_by(folders: AllowedFolders, run: Path) -> Dataset:
    """Returns the images that a run has learned from, kept in memory until its files change; errors as `nearest_to`."""
    folders.refuse_elsewhere(open_run(run).config)
    with _LOADING:
        return _learned(run, last_change(run))


_LOADING = Lock()


@lru_cache(DATA_KEPT)
def _learned(run: Path, stamp: float) -> Dataset:
    return learned_images(SampleSettings(run=run), split_of(run, stamp))


def truth_of(point: Point) -> Tensor | None:
    """Returns the image x (C, H, W) in [0, 1] that a latent was found for; None where there is none."""
    return None if point.image is None else to_float(point.image)
