"""Image files, of a folder or of the rows of a table: found, and decoded into one array, each made small at once."""

import os
import warnings
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from io import BytesIO
from pathlib import Path

import torch
from torch import Tensor

from genprior.data.array_files import file_fault
from genprior.data.dataset import Dataset
from genprior.data.geometry import Fit, Shape
from genprior.data.random_crops import WholePictures, cut
from genprior.data.spec import Request
from genprior.errors import GenpriorError, raise_lack_of_memory
from genprior.images import DecodedPicture, PictureHeader, picture_to_tensor, read_header, read_picture
from genprior.settings import size_text
from genprior.value_range import NOTHING, Extent, check_range

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
KEPT_SIZES = range(8, 129)  # one shape that all images share is kept if its sides are within these
USUAL_SIZES = (64, 32, 28)  # otherwise the first that the smallest image reaches, or else the last
MULTIPLE = 8  # of which the shorter side is one where oblong images are made smaller: all networks can make that
DRAFT = 3  # a JPEG is decoded at 3 times the size or more, which shows no difference once resized


@dataclass(frozen=True)
class EncodedImage:
    """An encoded image: the name that messages call it by, how to get its path or its bytes, and its page in these."""

    name: str
    file: Callable[[], Path | BytesIO]
    page: int = 0


@dataclass(frozen=True)
class DecodedImages:
    """Images uint8 (N, C, H, W), their indices in the input, the names left out, what must be said of them, what
    numbers the files hold by the one that is white, and the pictures that the images are parts of, where they are.
    """

    images: Tensor
    kept: list[int]
    skipped: tuple[str, ...]
    notes: tuple[str, ...]
    numbers: tuple[tuple[float, Extent], ...]
    whole: WholePictures | None = None


@dataclass(frozen=True)
class Plan:
    """What all images of a data set become."""

    shape: Shape
    channels: int
    fit: Fit
    white: float | None


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
    return _decoded_files(names, [(folder / name).absolute for name in names], folder_labels(names), request)


def load_zip(request: Request) -> Dataset:
    """Returns the images of a .zip file, as `load_folder` has those of a folder; one folder around all is no class."""
    path = Path(request.spec.rest)
    try:
        archive = zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile) as error:
        raise file_fault(path, f"the file is damaged ({error})") from error
    with archive:
        files = zip_images(archive)
        names = list(files)
        if not names:
            raise file_fault(path, f"expected images ({' '.join(SUFFIXES)}) in it, found none")
        tops = {name.partition("/")[0] for name in names if "/" in name}
        inside = [name.partition("/")[2] or name for name in names] if len(tops) == 1 else names
        return _decoded_files(names, list(files.values()), folder_labels(inside), request)


def zip_images(archive: zipfile.ZipFile) -> dict[str, Callable[[], Path | BytesIO]]:
    """Returns how to read each image file in an archive, by its name, sorted; hidden ones are left out."""
    return {name: partial(_member, archive, name) for name in sorted(archive.namelist()) if _is_image_name(name)}


def file_headers(files: Sequence[Callable[[], Path | BytesIO]]) -> list[PictureHeader]:
    """Returns what the headers of image files say, of those that can be read."""
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = list(pool.map(_header, [EncodedImage("", file) for file in files]))
    return [header for header in found if isinstance(header, PictureHeader)]


def _decoded_files(
    names: list[str], files: list[Callable[[], Path | BytesIO]], labels: Tensor | None, request: Request
) -> Dataset:
    chosen = request.spec.chosen(len(names))
    decoded = decode_all([EncodedImage(names[i], files[i]) for i in chosen], request)
    return Dataset(
        name=request.spec.text,
        images=decoded.images,
        labels=labels if labels is None else labels[chosen.start : chosen.stop][decoded.kept],
        skipped=decoded.skipped,
        notes=decoded.notes,
        numbers=decoded.numbers,
        whole=decoded.whole,
    )


def image_files(folder: Path) -> list[str]:
    """Returns the relative paths of the image files in a folder and below, sorted, with slashes.

    Hidden files and folders are left out; so are pipes and devices, with a warning. Links are followed, every folder is
    entered once.
    """
    names, entered = [], set()

    def told(error: OSError) -> None:
        warnings.warn(f"{error.filename} cannot be read and is left out: {error.strerror}", stacklevel=3)

    for where, folders, files in os.walk(folder, onerror=told, followlinks=True):
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
    """Returns all images that can be read, in the size and channels of the request; each page of a TIFF is one.

    Size and channels that the request leaves open follow from the images that can be read: `usual_shape`. Channels: 1
    if all files store grey, else 3.

    Raises:
        GenpriorError: An image is too small, none can be read, or, with `request.strict`, one cannot be.
    """
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a strange tag in a file that decodes well is no news
        found = list(pool.map(_header, encoded))
        encoded, found, places, notes = _with_pages(encoded, found)
        while True:
            _refuse_broken(encoded, found, request.strict)
            plan = _plan(found, request)
            if _refuse_small(encoded, found, plan):
                continue
            images, numbers = _decode(pool, encoded, found, plan)
            _refuse_broken(encoded, found, request.strict)
            # a file that was good in its header alone may have decided the plan: then plan again
            if plan == _plan(found, request):
                break
    kept = _readable(found)
    names = tuple(item.name for item, header in zip(encoded, found, strict=True) if isinstance(header, OSError))
    doubts = [doubt for white, extent in numbers if (doubt := check_range(extent, white)) is not None]
    told, own = (*notes, *doubts), [places[i] for i in kept]
    if isinstance(images, Tensor):
        return DecodedImages(images[kept] if names else images, own, names, told, numbers)
    crops, whole = cut([images[i] for i in kept], plan.shape)
    return DecodedImages(crops, [own[i] for i in whole.owners], names, told, numbers, whole)


def usual_shape(shapes: set[Shape]) -> Shape:
    """Returns the shape that images of these shapes (height, width) become where no size is asked for.

    The one that all share, if its sides are 8 to 128. Else 64, 32 or 28 pixels, the first that the smallest side of all
    reaches: a square, or, if all share an oblong shape, the shorter side.

    Example:
        >>> usual_shape({(48, 32)}), usual_shape({(480, 640)}), usual_shape({(200, 90), (300, 70)})
        ((48, 32), (48, 64), (64, 64))
    """
    smallest = min(min(shape) for shape in shapes)
    if len(shapes) == 1:
        (height, width) = next(iter(shapes))
        if height in KEPT_SIZES and width in KEPT_SIZES:
            return height, width
        longer = max(height, width)
        scaled = [max(1, round(USUAL_SIZES[0] * side / longer / MULTIPLE)) * MULTIPLE for side in (height, width)]
        if height != width and smallest >= USUAL_SIZES[0] and 2 * smallest >= longer:
            return scaled[0], scaled[1]
    return _square_within(smallest)


def _usual_crop(shapes: Iterable[Shape]) -> Shape:
    """The shape of crops where no size is asked for."""
    return _square_within(min(map(min, shapes)))


def _square_within(smallest: int) -> Shape:
    side = next((size for size in USUAL_SIZES if size <= smallest), USUAL_SIZES[-1])
    return side, side


def _is_image(where: str, name: str) -> bool:
    """Returns whether a file is to be read; so is a link to nothing, to be reported by name."""
    path = Path(where, name)
    if not _is_image_name(name):
        return False
    if path.exists() and not path.is_file():  # it would be waited for
        warnings.warn(f"{path} is no file, but a pipe or a device, and is left out", stacklevel=3)
        return False
    return True


def _is_image_name(name: str) -> bool:
    parts = name.split("/")
    is_hidden = any(part.startswith(".") or part == "__MACOSX" for part in parts)
    return not is_hidden and Path(name).suffix.lower() in SUFFIXES


def _member(archive: zipfile.ZipFile, name: str) -> BytesIO:
    try:
        return BytesIO(archive.read(name))
    except (RuntimeError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:  # a password, damage
        raise_lack_of_memory(error)
        raise OSError(str(error)) from error


def _header(item: EncodedImage) -> PictureHeader | OSError:
    try:
        return read_header(item.file(), item.page)
    except OSError as error:
        return error


def _with_pages(
    encoded: Sequence[EncodedImage], found: Found
) -> tuple[list[EncodedImage], Found, list[int], list[str]]:
    """All pages of all files, their headers, the place of the file of each, and a note where files have several."""
    items, headers, places = [], [], []
    several = []
    for i, (item, header) in enumerate(zip(encoded, found, strict=True)):
        pages = header.pages if isinstance(header, PictureHeader) else 1
        own = [item] + [replace(item, name=f"{item.name}, page {page + 1}", page=page) for page in range(1, pages)]
        items += own
        headers += [header] + [_header(each) for each in own[1:]]
        places += [i] * pages
        several += [pages] if pages > 1 else []
    files = "1 file holds" if len(several) == 1 else f"{len(several):,} files hold"
    notes = [f"{files} several pages, {sum(several):,} in all; each page is an image"] if several else []
    return items, headers, places, notes


def _decoded_picture(item: EncodedImage, plan: Plan) -> DecodedPicture | OSError:
    try:
        least = None if plan.fit.keeps_whole else DRAFT * max(plan.shape)
        return read_picture(item.file(), channels=plan.channels, at_least=least, white=plan.white, page=item.page)
    except OSError as error:
        return error
    except GenpriorError as error:
        raise GenpriorError(f"{item.name}: {error.message}", argument=error.argument) from error


def _pixels(decoded: DecodedPicture, plan: Plan) -> Tensor:
    picture = decoded.picture
    return picture_to_tensor(picture if plan.fit.keeps_whole else plan.fit.picture(picture, plan.shape))


def _readable(found: Found) -> list[int]:
    return [i for i, header in enumerate(found) if isinstance(header, PictureHeader)]


def _plan(found: Found, request: Request) -> Plan:
    headers = [header for header in found if isinstance(header, PictureHeader)]
    shapes = Counter((header.height, header.width) for header in headers)
    asked = {request.shape_of(shape) for shape in shapes}
    if len(asked) > 1:
        raise GenpriorError(
            f"to keep the ratio, all images must have the same, but size {size_text(request.size)} makes "
            f"{len(asked)} shapes of them: give height and width, such as 48x32, or --fit crop",
            argument="size",
        )
    grey = all(header.is_grey for header in headers)
    shape = asked.pop() or (_usual_crop(shapes) if request.fit.keeps_whole else usual_shape(set(shapes)))
    return Plan(shape, request.channels or (1 if grey else 3), request.fit, request.white)


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
        if isinstance(header, OSError) or plan.fit.room((header.height, header.width), plan.shape) >= 1:
            continue
        decoded = _decoded_picture(encoded[i], plan)
        if isinstance(decoded, DecodedPicture):
            raise _too_small(encoded[i].name, header, found, plan)
        found[i], came_up = decoded, True
    return came_up


def _too_small(name: str, header: PictureHeader, found: Found, plan: Plan) -> GenpriorError:
    shapes = [(h.height, h.width) for h in found if isinstance(h, PictureHeader)]
    worst = min(shapes, key=lambda shape: plan.fit.room(shape, plan.shape))
    asked = plan.shape[0] if plan.shape[0] == plan.shape[1] else plan.shape
    others = sum(plan.fit.room(shape, plan.shape) < 1 for shape in shapes) - 1
    beside = f", as {others:,} other{'s are' if others > 1 else ' is'}" if others else ""
    remedy = f"remove them; the smallest one's own size is {worst[0]}x{worst[1]}" if others else "remove the file"
    return GenpriorError(
        f"{name} is {header.width} wide and {header.height} high, too small for {size_text(asked)}{beside}, and "
        f"images are never enlarged: give a size of at most {plan.fit.largest(worst, plan.shape)}, or {remedy}",
        argument="size",
    )


def _decode(
    pool: ThreadPoolExecutor, encoded: Sequence[EncodedImage], found: Found, plan: Plan
) -> tuple[Tensor | dict[int, Tensor], tuple[tuple[float, Extent], ...]]:
    """Images uint8 (N, C, H, W), one per entry, and what numbers the files hold by the one that is white.

    Where pictures are kept whole: those that can be read, by their places. Puts what went wrong into `found`.
    """
    images: Tensor | dict[int, Tensor] = {}
    if not plan.fit.keeps_whole:
        images = torch.zeros(len(encoded), plan.channels, *plan.shape, dtype=torch.uint8)
    numbers: dict[int, tuple[float, Extent]] = {}

    def place(i: int) -> None:
        decoded = _decoded_picture(encoded[i], plan)
        if isinstance(decoded, DecodedPicture):
            images[i] = _pixels(decoded, plan)
            numbers[i] = decoded.white, decoded.numbers
        else:
            found[i] = decoded

    list(pool.map(place, _readable(found)))  # the list raises what a thread raised
    whole: dict[float, Extent] = {}
    for white, extent in numbers.values():
        whole[white] = whole.get(white, NOTHING) | extent
    return images, tuple(sorted(whole.items(), key=lambda each: each[0]))
