"""What a loader is asked for, and the last step that loaders of whole arrays of images share."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from genprior.data.dataset import Dataset, Modes
from genprior.data.geometry import FITS, Fit, reshape_images
from genprior.data.spec import Spec, parse_spec
from genprior.errors import GenpriorError, suggestion


@dataclass(frozen=True)
class Request:
    """What a loader is asked for.

    Attributes:
        spec: Which images.
        root: Folder of local copies; it need not exist.
        size: Height and width of the result, or None for the images' own.
        channels: 1, 3, or None for the images' own.
        fit: How an oblong image becomes a square one.
        strict: Whether an unreadable file is an error.
    """

    spec: Spec
    root: Path
    size: int | None
    channels: int | None
    fit: Fit
    strict: bool


LARGEST = 1024  # pixels a side; more is a slip, and would ask for all memory there is
Loader = Callable[[Request], Dataset]


def make_request(
    spec: str | os.PathLike[str],
    root: str | os.PathLike[str] | None,
    size: int | None,
    channels: int | None,
    fit: str,
    strict: bool,
) -> Request:
    """Returns the request that checked arguments make."""
    if size is not None and (type(size) is not int or not 1 <= size <= LARGEST):
        raise GenpriorError(
            f"expected a whole number of pixels above 0, at most {LARGEST}, got {size!r}", argument="size"
        )
    if channels not in (None, 1, 3):
        raise GenpriorError(f"expected 1 (grey) or 3 (RGB), got {channels!r}", argument="channels")
    if fit not in FITS:
        raise GenpriorError(f"unknown fit {fit!r}; {suggestion(str(fit), FITS)}", argument="fit")
    return Request(parse_spec(spec), data_root(root), size, channels, FITS[fit], strict)


def data_root(root: str | os.PathLike[str] | None = None) -> Path:
    """Returns the folder of local copies: `root`, else $GENPRIOR_DATA, else ~/.cache/genprior."""
    return Path(root or os.environ.get("GENPRIOR_DATA") or "~/.cache/genprior").expanduser()


def finish(
    request: Request,
    images: Tensor,
    labels: Tensor | None = None,
    modes: Modes | None = None,
    default_size: int | None = None,
    may_enlarge: bool = False,
) -> Dataset:
    """Returns the data set of images uint8 (N, C, H, W), in the size and channels asked for."""
    size = request.size or default_size
    if not may_enlarge:
        refuse_shape(request, images.shape[2], images.shape[3])
    shaped = reshape_images(images, request.fit, size, request.channels)
    if shaped.untyped_storage().nbytes() > shaped.nbytes:
        shaped = shaped.clone()  # a slice would keep alive the whole of what it was cut from
    return Dataset(request.spec.text, shaped.contiguous(), labels, modes)


def refuse_shape(request: Request, height: int, width: int) -> None:
    """Raises GenpriorError for oblong images without a size, and for a size that would enlarge."""
    shape = f"the images of {request.spec.text!r} are {height} high and {width} wide"
    if request.size is None and height != width:
        raise GenpriorError(
            f"expected square images, or a size for the others, but {shape}: give a size of at "
            f"most {request.fit.side(height, width)}",
            argument="size",
        )
    if request.size is not None and request.size > request.fit.side(height, width):
        raise GenpriorError(
            f"got {request.size}, but {shape} and are never enlarged: give a size of at most "
            f"{request.fit.side(height, width)}",
            argument="size",
        )
