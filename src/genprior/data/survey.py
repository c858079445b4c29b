"""What files of images there are, before any is decoded: sizes, kinds, pages, and what is left out."""

import zipfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from genprior.data.dataset import Dataset
from genprior.data.image_files import SUFFIXES, file_headers, image_files, zip_images
from genprior.data.near_duplicates import constant_images
from genprior.data.spec import parse_spec
from genprior.images import PictureHeader
from genprior.value_range import Extent, bits_used

SHOWN = 6  # shapes and kinds that are named one by one


@dataclass(frozen=True)
class FileSurvey:
    """What files of images there are.

    Attributes:
        shapes: How many pictures there are of each (height, width).
        kinds: How many are grey, in colour, with transparency.
        pages: How many pages each file of several has.
        left_out: How many files there are of each other suffix.
    """

    shapes: Counter[tuple[int, int]]
    kinds: Counter[str]
    pages: list[int]
    left_out: Counter[str]

    def rows(self) -> dict[str, str]:
        """Returns it in words, by what it is about."""
        shapes: Counter[str] = Counter({f"{height}x{width}": n for (height, width), n in self.shapes.items()})
        told = {"shapes": _counted(shapes, "other shapes"), "kinds": _counted(self.kinds, "others")}
        if self.pages:
            told["pages"] = f"{sum(self.pages):,} in {len(self.pages):,} files of several; each page is an image"
        if self.left_out:
            told["left out"] = f"{_counted(self.left_out, 'others')}; read are {' '.join(SUFFIXES)}"
        return told


def survey_files(text: str) -> FileSurvey | None:
    """Returns what files a folder or .zip file holds, by their headers; None for any other source."""
    spec = parse_spec(text)
    path = Path(spec.rest)
    if spec.source is not None or not (path.is_dir() or path.suffix.lower() == ".zip"):
        return None
    names = list(_all_files(path))
    if path.is_dir():
        images = image_files(path)
        headers = file_headers([(path / name).absolute for name in images])
    else:
        with zipfile.ZipFile(path) as archive:
            images = sorted(zip_images(archive))
            headers = file_headers(list(zip_images(archive).values()))
    left = Counter(Path(name).suffix.lower() or "without a suffix" for name in set(names) - set(images))
    return FileSurvey(
        Counter((each.height, each.width) for each in headers),
        Counter(_kind(each) for each in headers),
        [each.pages for each in headers if each.pages > 1],
        left,
    )


def content_rows(data: Dataset, groups: list[int]) -> dict[str, str]:
    """Returns what the images of a data set hold, in words.

    Arguments:
        data: Images, not points.
        groups: How many images each group of near duplicates holds.
    """
    several = [size for size in groups if size > 1]
    alike = f"{sum(several):,} images in {len(several):,} groups of up to {max(several):,}" if several else "none"
    return {
        **({"bits": "; ".join(_bits(white, extent) for white, extent in data.numbers)} if data.numbers else {}),
        "near duplicates": alike,
        "constant": f"{int(constant_images(data.images).sum()):,}",
    }


def _bits(white: float, found: Extent) -> str:
    used = bits_used(found)
    what = f"numbers from {found.low:g} to {found.high:g}, {white:g} is white"
    return what if used is None else f"{used} used; {what}"


def _all_files(path: Path) -> Iterator[str]:
    """Names of all files that are not hidden, image or not."""
    if path.is_dir():
        found = (each.relative_to(path) for each in path.rglob("*") if each.is_file())
    else:
        with zipfile.ZipFile(path) as archive:
            found = (Path(name) for name in archive.namelist() if not name.endswith("/"))
    yield from (each.as_posix() for each in found if not any(part.startswith((".", "__MACOSX")) for part in each.parts))


def _kind(header: PictureHeader) -> str:
    return ("grey" if header.is_grey else "colour") + (" with transparency" if header.has_alpha else "")


def _counted(counts: Counter[str], others: str) -> str:
    shown = counts.most_common(SHOWN)
    rest = len(counts) - len(shown)
    more = [f"{sum(counts.values()) - sum(n for _, n in shown):,} of {rest:,} {others}"] if rest else []
    return ", ".join([*(f"{name}: {n:,}" for name, n in shown), *more])
