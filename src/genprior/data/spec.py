"""A data spec, SOURCE[:option[,option...]][[start:stop]], and the request that it makes. Knows no source."""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from genprior.data.dataset import Dataset, Modes
from genprior.data.geometry import FITS, Fit, Shape, reshape_images
from genprior.data.random_crops import cut
from genprior.errors import GenpriorError, suggestion
from genprior.settings import read_size, size_text

SLICE = re.compile(r"(?P<body>.*)\[(?P<window>[^\[\]]*)\]", re.DOTALL)
WINDOW = re.compile(r"\s*([+-]?\d+)?\s*:\s*([+-]?\d+)?\s*")
HOLD_SEVERAL = (".npz", ".mat", ".h5", ".hdf5")  # suffixes of files whose arrays have names


NAMES = frozenset(  # of data sets, as `SOURCES` has them
    "digits mnist fashion-mnist kmnist qmnist emnist usps stacked-mnist cifar10 cifar100 svhn stl10 hub "
    "ring grid".split()
)


@dataclass(frozen=True)
class DataSpec:
    """A data spec taken apart.

    Attributes:
        text: As it was written.
        source: Name before the first colon; None for a path.
        rest: What follows that colon; for a path, the path.
        window: The images asked for, of those that source and options name.
        array: Of a path FILE:NAME, the name of an array in the file.
    """

    text: str
    source: str | None
    rest: str
    window: slice
    array: str | None = None

    def chosen(self, count: int) -> range:
        """Returns the indices that the window keeps of `count` images, at least one.

        Example:
            >>> parse_spec("mnist:test[-3:]").chosen(10000)
            range(9997, 10000)
        """
        indices = range(*self.window.indices(count))
        if not indices:
            raise GenpriorError(
                f"expected a slice that holds images, got {self.text!r}, which keeps none of {count}: widen or drop it",
                argument="data",
            )
        return indices


@dataclass(frozen=True)
class Request:
    """What a loader is to load.

    Attributes:
        spec: Which images.
        root: Folder of local copies; it need not exist.
        size: Height and width of the result; one number, which the fit makes a shape; None for the images' own.
        channels: 1, 3, 4, or None for the images' own, laid on white.
        fit: How an image takes another shape.
        strict: Whether an unreadable file is an error.
        white: The number that is white; None: as the type of the numbers has it.
    """

    spec: DataSpec
    root: Path
    size: int | Shape | None
    channels: int | None
    fit: Fit
    strict: bool
    white: float | None = None

    def shape_of(self, image: Shape) -> Shape | None:
        """Returns the shape (height, width) that an image of another becomes; None where no size is asked for."""
        return self.fit.shape(self.size, image) if isinstance(self.size, int) else self.size


Loader = Callable[[Request], Dataset]


def parse_spec(spec: str | os.PathLike[str]) -> DataSpec:
    """Returns a spec taken apart; a string that names an existing path is that path as it stands.

    The name of a data set is never a path: a folder of that name, which a run called `mnist` may be, is `./mnist`.

    Example:
        >>> parse_spec("emnist:letters,train[:100]").rest
        'letters,train'
    """
    text = os.fspath(spec)
    if not text.strip():
        raise GenpriorError("expected a data set or a path, got an empty text", argument="data")
    is_name = isinstance(spec, str)
    if _exists(text) and not (is_name and text in NAMES):
        return DataSpec(text, None, os.path.expanduser(text), slice(None))
    body, window = _split_window(text)
    if _exists(body) and not (is_name and body in NAMES):
        return DataSpec(text, None, os.path.expanduser(body), window)
    file, _, array = body.rpartition(":")
    if array and Path(file).suffix.lower() in HOLD_SEVERAL and _exists(file):
        return DataSpec(text, None, os.path.expanduser(file), window, array)
    source, _, rest = body.partition(":")
    return DataSpec(text, source, rest, window)


def mistaken_name(spec: DataSpec) -> str | None:
    """Returns a line for whoever means the folder or file here that has the name of a data set, or None.

    What genprior wrote, such as a run that is called as its data are, has JSON in it and is no images.
    """
    path = Path(spec.source or "")
    if spec.source not in NAMES or not path.exists() or (path.is_dir() and any(path.glob("*.json"))):
        return None
    return f"{spec.source} is the data set of that name; for what is called so here write ./{spec.source}"


def absolute_spec(text: str) -> str:
    """Returns a spec that means the same wherever it is read: a path becomes an absolute one."""
    return os.path.abspath(os.path.expanduser(text)) if parse_spec(text).source is None else text


def read_options(spec: DataSpec, known: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    """Returns the options that a spec gives, by name.

    Arguments:
        spec: With `rest` made of options alone: `key=value`, or a bare word that one option lists.
        known: What each option may say; an empty tuple: anything. A bare word that nobody lists is the value of an
            option `split` that may say anything.

    Example:
        >>> read_options(parse_spec("mnist:test"), {"split": ("train", "test")})
        {'split': 'test'}
    """
    options: dict[str, str] = {}
    for word in spec.rest.split(",") if spec.rest else []:
        name, value = _read_option(spec, word.strip(), known)
        if name in options:
            raise _fault(spec, f"{name} given twice")
        options[name] = value
    return options


def read_count(spec: DataSpec, options: Mapping[str, str], default: int) -> int:
    """Returns the option `count`, a positive number of images, or the default."""
    text = options.get("count", str(default))
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise _fault(spec, f"expected count=N with N a whole number above 0, got {text!r}")
    return int(text)


def make_request(
    spec: str | os.PathLike[str],
    root: str | os.PathLike[str] | None,
    size: int | Shape | str | None,
    channels: int | None,
    fit: str,
    strict: bool,
    white: float | None = None,
) -> Request:
    """Returns the request that checked arguments make."""
    if channels not in (None, 1, 3, 4):
        raise GenpriorError(f"expected 1 (grey), 3 (RGB) or 4 (RGB and alpha), got {channels!r}", argument="channels")
    if fit not in FITS:
        raise GenpriorError(f"unknown fit {fit!r}; {suggestion(str(fit), FITS)}", argument="fit")
    if white is not None and not 0 < white < float("inf"):
        raise GenpriorError(f"expected a number above 0, got {white!r}", argument="white")
    parsed = parse_spec(spec)
    if white is not None and not takes_white(parsed):
        raise GenpriorError(f"{parsed.source} knows its white; leave this out", argument="white")
    return Request(parsed, data_root(root), read_size(size), channels, FITS[fit], strict, white)


def takes_white(spec: DataSpec) -> bool:
    """Returns whether a user may say which number is white: of files and the hub, not of named data sets."""
    return spec.source in (None, "hub")


def data_root(root: str | os.PathLike[str] | None = None) -> Path:
    """Returns the folder of local copies: `root`, else $GENPRIOR_DATA, else ~/.cache/genprior."""
    return Path(root or os.environ.get("GENPRIOR_DATA") or "~/.cache/genprior").expanduser()


def shaped_dataset(
    request: Request,
    images: Tensor,
    labels: Tensor | None = None,
    modes: Modes | None = None,
    default_size: int | None = None,
    may_enlarge: bool = False,
) -> Dataset:
    """Returns the data set of images uint8 (N, C, H, W), in the size and channels of the request."""
    image = (images.shape[2], images.shape[3])
    shape = request.shape_of(image) or (default_size and (default_size, default_size)) or None
    if not may_enlarge or request.fit.keeps_whole:
        refuse_shape(request, image)
    # Transparency is laid on white unless it is asked for.
    channels = request.channels or (3 if images.shape[1] == 4 else None)
    if request.fit.keeps_whole:
        whole = list(reshape_images(images, request.fit, None, channels))
        return cut_dataset(request, whole, request.shape_of(image) or image, labels)
    shaped = reshape_images(images, request.fit, shape, channels)
    if shaped.untyped_storage().nbytes() > shaped.nbytes:
        shaped = shaped.clone()  # a slice would keep alive the whole of what it was cut from
    return Dataset(request.spec.text, shaped.contiguous(), labels, modes)


def cut_dataset(request: Request, pictures: list[Tensor], shape: Shape, labels: Tensor | None) -> Dataset:
    """Returns the data set of crops of a shape, of pictures uint8 (C, h, w); each crop has the label of its picture."""
    crops, whole = cut(pictures, shape)
    labels = None if labels is None else labels[whole.owners]
    return Dataset(request.spec.text, crops, labels, whole=whole)


def refuse_shape(request: Request, image: Shape) -> None:
    """Raises GenpriorError for a size that would enlarge images of this height and width."""
    shape = request.shape_of(image)
    if shape is not None and request.fit.room(image, shape) < 1:
        raise GenpriorError(
            f"got {size_text(request.size)}, but the images of {request.spec.text!r} are {image[0]} high and "
            f"{image[1]} wide and are never enlarged: give a size of at most {request.fit.largest(image, shape)}",
            argument="size",
        )


def _exists(text: str) -> bool:
    return os.path.exists(os.path.expanduser(text))  # False, not an error, for an impossible name


def _split_window(text: str) -> tuple[str, slice]:
    found = SLICE.fullmatch(text)
    if found is None:
        return text, slice(None)
    numbers = WINDOW.fullmatch(found["window"])
    if numbers is None:
        raise GenpriorError(
            f"expected a slice [start:stop] of whole numbers, got [{found['window']}] in {text!r}", argument="data"
        )
    start, stop = (int(number) if number else None for number in numbers.groups())
    return found["body"], slice(start, stop)


def _read_option(spec: DataSpec, word: str, known: Mapping[str, tuple[str, ...]]) -> tuple[str, str]:
    if not known:
        raise _fault(spec, f"{spec.source} takes no options, got {word!r}; a part of it is {spec.source}[:100]")
    name, equals, value = word.partition("=")
    if not equals:
        return _option_of_word(spec, word, known), word
    if name not in known:
        raise _fault(spec, f"unknown option {name!r}; {suggestion(name, known)}")
    if not value or (known[name] and value not in known[name]):
        raise _fault(spec, f"unknown {name} {value!r}; {suggestion(value, known[name])}")
    return name, value


def _option_of_word(spec: DataSpec, word: str, known: Mapping[str, tuple[str, ...]]) -> str:
    for name, words in known.items():
        if word in words:
            return name
    if word and known.get("split") == ():
        return "split"
    forms = [form for name, words in known.items() for form in (words or (f"{name}=",))]
    raise _fault(spec, f"unknown option {word!r}; {suggestion(word, forms)}")


def _fault(spec: DataSpec, what: str) -> GenpriorError:
    return GenpriorError(f"{what} (in {spec.text!r})", argument="data")
