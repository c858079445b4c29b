"""Image files, of a folder or of the rows of a table: found, and decoded into one array, each made small at once."""

import os
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import torch
from torch import Tensor

from genprior.data.dataset import Dataset
from genprior.data.geometry import Fit
from genprior.data.spec import Request
from genprior.errors import GenpriorError
from genprior.images import PictureHeader, picture_to_tensor, read_header, read_picture

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
KEPT_SIZES = range(8, 129)  # one square shape that all images share is kept within these
USUAL_SIZES = (64, 32, 28)  # otherwise the first that the smallest image reaches, or else the last
DRAFT = 3  # a JPEG is decoded at 3 times the size or more, which shows no difference once resized


@dataclass(frozen=True)
class EncodedImage:
    """An encoded image: the name that messages call it by, and how to get its path or its bytes."""

    name: str
    file: Callable[[], Path | BytesIO]


@dataclass(frozen=True)
class DecodedImages:
    """DecodedImages images uint8 (N, C, size, size), their indices in the input, the names left out."""

    images: Tensor
    kept: list[int]
    skipped: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """What all images of a data set become."""

    size: int
    channels: int
    fit: Fit


Found = list[PictureHeader | OSError]  # per image, what its header says, or why it cannot be read


def load_folder(request: Request) -> Dataset:
    """Returns the images of a folder in the order of their relative paths.

    If more than one sub-folder of the first level holds images, and none lie outside them, a label is the place of the
    image's sub-folder in alphabetical order; else there are no labels. A slice chooses among the image files, and only
    those are opened.
    """
    folder = Path(request.spec.rest)
    names = image_files(folder)
    if not names:
        raise GenpriorError(
            f"expected images ({' '.join(SUFFIXES)}) in {folder} or below, found none: name "
            "another folder (mnist:train is the data set even where a folder is called mnist)",
            argument="data",
        )
    chosen = request.spec.chosen(len(names))
    encoded = [EncodedImage(names[i], (folder / names[i]).absolute) for i in chosen]
    decoded = decode_all(encoded, request)
    labels = folder_labels(names)
    return Dataset(
        name=request.spec.text,
        images=decoded.images,
        labels=labels if labels is None else labels[chosen.start : chosen.stop][decoded.kept],
        skipped=decoded.skipped,
    )


def image_files(folder: Path) -> list[str]:
    """Returns the relative paths of the image files in a folder and below, sorted, with slashes.

    Hidden files and folders are left out; links are followed, every folder is entered once.
    """
    names, entered = [], set()
    for where, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(where)
        visible = [] if real in entered else sorted(f for f in folders if not f.startswith("."))
        folders[:] = visible
        if real not in entered:
            names += [Path(where, f).relative_to(folder).as_posix() for f in files if _is_image(where, f)]
        entered.add(real)
    return sorted(names)


def folder_labels(names: list[str]) -> Tensor | None:
    """Returns labels int64 (N,) from relative paths, or None where sub-folders do not tell classes.

    Example:
        >>> folder_labels(["cat/a.png", "cat/b.png", "dog/a.png"])
        tensor([0, 0, 1])
    """
    parents = [name.partition("/")[0] if "/" in name else None for name in names]
    classes = sorted({parent for parent in parents if parent is not None})
    if len(classes) < 2 or None in parents:
        return None
    index = {name: i for i, name in enumerate(classes)}
    return torch.tensor([index[parent] for parent in parents if parent is not None])


def decode_all(encoded: Sequence[EncodedImage], request: Request) -> DecodedImages:
    """Returns all images that can be read, in the size and channels of the request.

    Size and channels that the request leaves open follow from the images that can be read. Size: the side of the one
    square shape they all have, if it is 8 to 128; else 64, 32 or 28, the first that the smallest side of all reaches.
    Channels: 1 if all files store grey, else 3.

    Raises:
        GenpriorError: An image is too small, none can be read, or, with `request.strict`, one cannot be.
    """
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a strange tag in a file that decodes well is no news
        found = list(pool.map(_header, encoded))
        while True:
            _refuse_broken(encoded, found, request.strict)
            plan = _plan(found, request)
            if _refuse_small(encoded, found, plan):
                continue
            images = _decode(pool, encoded, found, plan)
            _refuse_broken(encoded, found, request.strict)
            # a file that was good in its header alone may have decided the plan: then plan again
            if plan == _plan(found, request):
                break
    return _decoded(encoded, found, images)


def _is_image(where: str, name: str) -> bool:
    """Returns whether a file is to be read; so is a link to nothing, to be reported by name."""
    path = Path(where, name)
    return not name.startswith(".") and path.suffix.lower() in SUFFIXES and (path.is_file() or not path.exists())


def _header(item: EncodedImage) -> PictureHeader | OSError:
    try:
        return read_header(item.file())
    except OSError as error:
        return error


def _pixels(item: EncodedImage, plan: Plan) -> Tensor | OSError:
    try:
        picture = read_picture(item.file(), grey=plan.channels == 1, at_least=DRAFT * plan.size)
    except OSError as error:
        return error
    return picture_to_tensor(plan.fit.picture(picture, plan.size))


def _readable(found: Found) -> list[int]:
    return [i for i, header in enumerate(found) if isinstance(header, PictureHeader)]


def _plan(found: Found, request: Request) -> Plan:
    headers = [header for header in found if isinstance(header, PictureHeader)]
    size = request.size or _usual_size({(header.height, header.width) for header in headers})
    grey = all(header.is_grey for header in headers)
    return Plan(size, request.channels or (1 if grey else 3), request.fit)


def _usual_size(shapes: set[tuple[int, int]]) -> int:
    smallest = min(min(shape) for shape in shapes)
    if shapes == {(smallest, smallest)} and smallest in KEPT_SIZES:
        return smallest
    return next((size for size in USUAL_SIZES if size <= smallest), USUAL_SIZES[-1])


def _refuse_broken(encoded: Sequence[EncodedImage], found: Found, strict: bool) -> None:
    broken = [(item.name, e) for item, e in zip(encoded, found, strict=True) if isinstance(e, OSError)]
    if broken and (strict or len(broken) == len(found)):
        name, error = broken[0]
        many = "" if strict else f"none of {len(found)} images can be read; "
        raise GenpriorError(f"{many}cannot read {name} ({error}): mend or remove it", argument="data")


def _refuse_small(encoded: Sequence[EncodedImage], found: Found, plan: Plan) -> bool:
    """Raises GenpriorError for the first image that is too small; returns whether some are broken.

    An image that is too small and broken besides is broken: it would have been left out.
    """
    came_up = False
    for i, header in enumerate(found):
        if isinstance(header, OSError) or plan.fit.side(header.height, header.width) >= plan.size:
            continue
        pixels = _pixels(encoded[i], plan)
        if isinstance(pixels, Tensor):
            raise _too_small(encoded[i].name, header, found, plan)
        found[i], came_up = pixels, True
    return came_up


def _too_small(name: str, header: PictureHeader, found: Found, plan: Plan) -> GenpriorError:
    most = min(plan.fit.side(h.height, h.width) for h in found if isinstance(h, PictureHeader))
    return GenpriorError(
        f"{name} is {header.width} wide and {header.height} high, too small for {plan.size}, and "
        f"images are never enlarged: give a size of at most {most}, or remove the file",
        argument="size",
    )


def _decode(pool: ThreadPoolExecutor, encoded: Sequence[EncodedImage], found: Found, plan: Plan) -> Tensor:
    """Returns images (N, C, size, size) uint8, one per entry; puts what went wrong into `found`."""
    images = torch.zeros(len(encoded), plan.channels, plan.size, plan.size, dtype=torch.uint8)

    def place(i: int) -> None:
        pixels = _pixels(encoded[i], plan)
        if isinstance(pixels, Tensor):
            images[i] = pixels
        else:
            found[i] = pixels

    list(pool.map(place, _readable(found)))  # the list raises what a thread raised
    return images


def _decoded(encoded: Sequence[EncodedImage], found: Found, images: Tensor) -> DecodedImages:
    kept = _readable(found)
    names = tuple(item.name for item, header in zip(encoded, found, strict=True) if isinstance(header, OSError))
    return DecodedImages(images[kept] if names else images, kept, names)
