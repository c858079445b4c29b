"""Data sets known by name: scikit-learn's digits, and torchvision's, local or downloaded."""

import socket
import urllib.request
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from functools import partial
from http.client import HTTPException
from io import StringIO
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.error import HTTPError

import numpy as np
import torch
from torch import Tensor

from genprior.data.dataset import Dataset
from genprior.data.geometry import channels_first
from genprior.data.spec import Request, read_options, shaped_dataset
from genprior.errors import GenpriorError, raise_lack_of_memory
from genprior.images import to_uint8

SPLITS: dict[str, tuple[str, ...]] = {"train": ("train",), "test": ("test",), "all": ("train", "test")}
SUBSETS = ("balanced", "byclass", "bymerge", "digits", "letters", "mnist")  # of EMNIST
STALL_SECONDS = 10.0  # a download that stays silent for so long has failed
ANSWER_SECONDS = 4.0  # a machine without a network waits this long at most
DIGITS_SIZE = 28


def _by_train(split: str) -> dict[str, Any]:
    return {"train": split == "train"}


def _by_split(split: str) -> dict[str, Any]:
    return {"split": split}


@dataclass(frozen=True)
class Collection:
    """A data set of torchvision that keeps its images in one array, `data`.

    Attributes:
        class_name: Name in torchvision.datasets.
        url: The server that torchvision downloads from; where a person would find the files.
        folder: Where a local copy lies, under the data root.
        files: What torchvision downloads into that folder, and unpacks there.
        labels: Attribute that holds the labels; of several columns the first is taken.
        arguments: "train" or "test" -> what the class is called with.
        transposed: Whether rows and columns of the stored images are exchanged.
    """

    class_name: str
    url: str
    folder: str
    files: tuple[str, ...]
    labels: str = "targets"
    arguments: Callable[[str], dict[str, Any]] = _by_train
    transposed: bool = False


def load_digits(request: Request) -> Dataset:
    """Returns the 1797 digits (8x8, upsampled) that come with scikit-learn: no file, no network."""
    from sklearn.datasets import load_digits as load_embedded

    read_options(request.spec, {})
    embedded = load_embedded()
    images = to_uint8(torch.from_numpy(embedded.images)[:, None] / 16)
    labels = torch.from_numpy(embedded.target).long()
    chosen = _span(request.spec.chosen(len(images)))
    return shaped_dataset(request, images[chosen], labels[chosen], default_size=DIGITS_SIZE, may_enlarge=True)


def load_collection(collection: Collection, request: Request) -> Dataset:
    """Returns a torchvision data set at its native size; options: split=train|test|all."""
    options = read_options(request.spec, {"split": tuple(SPLITS)})
    return _load_split(request, collection, options.get("split", "train"))


def load_emnist(request: Request) -> Dataset:
    """Returns EMNIST, upright; options: split=train|test|all, subset=balanced|letters|byclass..."""
    options = read_options(request.spec, {"split": tuple(SPLITS), "subset": SUBSETS})
    subset = options.get("subset", "balanced")
    collection = replace(EMNIST, arguments=lambda split: {"split": subset, **_by_train(split)})
    return _load_split(request, collection, options.get("split", "train"))


def read_collection(collection: Collection, split: str, root: Path) -> tuple[Tensor, Tensor]:
    """Returns images uint8 (N, C, H, W) and labels int64 (N,); split `all` is train, then test.

    Arguments:
        collection: The data set.
        split: One of `SPLITS`.
        root: Data root that holds a local copy, or gets one where there is a network.
    """
    parts = [_arrays(collection, part, root) for part in SPLITS[split]]
    images, labels = (torch.cat(column) for column in zip(*parts, strict=True))
    return images, labels


def _load_split(request: Request, collection: Collection, split: str) -> Dataset:
    images, labels = read_collection(collection, split, request.root)
    chosen = _span(request.spec.chosen(len(images)))
    return shaped_dataset(request, images[chosen], labels[chosen])


def _span(indices: range) -> slice:
    return slice(indices.start, indices.stop)  # a view, where indices would copy


def _arrays(collection: Collection, split: str, root: Path) -> tuple[Tensor, Tensor]:
    opened = _open(collection, split, root)
    stored, labels = np.asarray(opened.data), np.asarray(getattr(opened, collection.labels))
    if not len(stored) == len(labels) > 0:
        raise _damaged(collection, root, f"{len(stored)} images, {len(labels)} labels")
    ordered = channels_first(stored)
    images = ordered.swapaxes(2, 3) if collection.transposed else ordered
    labels = labels.reshape(len(labels), -1)[:, 0]
    return torch.from_numpy(np.ascontiguousarray(images)), torch.from_numpy(labels.astype(np.int64))


def _open(collection: Collection, split: str, root: Path) -> Any:  # noqa: ANN401 - torchvision's
    from torchvision import datasets

    known = getattr(datasets, collection.class_name)
    make = partial(known, root=str(root), **collection.arguments(split))
    try:
        with quiet():
            return make(download=False)
    except Exception as error:  # what damaged files raise is anybody's guess
        raise_lack_of_memory(error)
        if not isinstance(error, FileNotFoundError) and "not found" not in str(error):
            raise _damaged(collection, root, _one_line(error)) from error
    return _download(collection, make, root)


def _download(collection: Collection, make: Callable[..., Any], root: Path) -> Any:  # noqa: ANN401
    unpacks = all((root / collection.folder / name).exists() for name in collection.files)
    if not unpacks and not answers(collection.url):
        raise _missing(collection, root, "no network")
    try:
        with quiet(), socket_timeout(STALL_SECONDS):
            return make(download=True)
    except Exception as error:  # no route, a wrong checksum, a folder that may not be written ...
        raise_lack_of_memory(error)
        altered = _altered(collection, root)
        if altered:
            raise _not_the_files(collection, root, altered) from error
        raise _missing(collection, root, f"no download ({_one_line(error)})") from error


def _missing(collection: Collection, root: Path, why: str) -> GenpriorError:
    return GenpriorError(
        f"{why} and no local copy of {collection.class_name} in {root}: put "
        f"{', '.join(collection.files)} from {collection.url} into {root / collection.folder}, "
        "or name the folder that holds a copy with --data-root or $GENPRIOR_DATA",
        argument="data",
    )


def _altered(collection: Collection, root: Path) -> list[str]:
    """Names of the files that are there, but are not those that torchvision knows by their checksums."""
    from torchvision import datasets
    from torchvision.datasets.utils import calculate_md5

    known = dict(getattr(getattr(datasets, collection.class_name), "resources", ()))
    folder = root / collection.folder
    return [
        name
        for name in collection.files
        if name in known and (folder / name).is_file() and calculate_md5(str(folder / name)) != known[name]
    ]


def _not_the_files(collection: Collection, root: Path, names: list[str]) -> GenpriorError:
    folder = root / collection.folder
    return GenpriorError(
        f"{', '.join(names)} in {folder} {'is' if len(names) == 1 else 'are'} not as published (another checksum: "
        f"compressed anew, or damaged). If the contents are right, unpack what ends in .gz there with gunzip; else put "
        f"the files of {collection.url} in their place",
        argument="data",
    )


def _damaged(collection: Collection, root: Path, why: str) -> GenpriorError:
    return GenpriorError(
        f"the local copy of {collection.class_name} in {root / collection.folder} is damaged "
        f"({why}): delete it and try again",
        argument="data",
    )


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def answers(url: str) -> bool:
    """Returns whether the server of `url` answers within `ANSWER_SECONDS`, through a proxy if one is set.

    It is asked in a thread of its own, because looking up a host name knows no time limit.
    """
    found: list[bool] = []
    asking = Thread(target=lambda: found.append(_responds(url)), daemon=True)
    asking.start()
    asking.join(ANSWER_SECONDS)
    return found == [True]


@contextmanager
def socket_timeout(seconds: float) -> Iterator[None]:
    """Limits how long a new connection may stay silent."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


@contextmanager
def quiet() -> Iterator[None]:
    """Keeps prints, progress bars and warnings of other libraries from the user."""
    with redirect_stdout(StringIO()), redirect_stderr(StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _responds(url: str) -> bool:
    try:
        urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=ANSWER_SECONDS).close()
    except HTTPError:
        return True  # an unfriendly answer is an answer
    except (OSError, ValueError, HTTPException):
        return False
    return True


_IDX = tuple(f"{part}-{kind}-ubyte.gz" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1"))
MNIST = Collection("MNIST", "https://ossci-datasets.s3.amazonaws.com/mnist/", "MNIST/raw", _IDX)
FASHION_MNIST = Collection(
    "FashionMNIST", "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/", "FashionMNIST/raw", _IDX
)
KMNIST = Collection("KMNIST", "http://codh.rois.ac.jp/kmnist/dataset/kmnist/", "KMNIST/raw", _IDX)
QMNIST = Collection(
    "QMNIST",
    "https://raw.githubusercontent.com/facebookresearch/qmnist/master/",
    "QMNIST/raw",
    tuple(
        f"qmnist-{part}-{kind}.gz" for part in ("train", "test") for kind in ("images-idx3-ubyte", "labels-idx2-int")
    ),
)
EMNIST = Collection(
    "EMNIST", "https://biometrics.nist.gov/cs_links/EMNIST/", "EMNIST/raw", ("gzip.zip",), transposed=True
)
CIFAR10 = Collection("CIFAR10", "https://www.cs.toronto.edu/~kriz/", "", ("cifar-10-python.tar.gz",))
CIFAR100 = Collection("CIFAR100", "https://www.cs.toronto.edu/~kriz/", "", ("cifar-100-python.tar.gz",))
SVHN = Collection(
    "SVHN",
    "http://ufldl.stanford.edu/housenumbers/",
    "",
    ("train_32x32.mat", "test_32x32.mat"),
    labels="labels",
    arguments=_by_split,
)
STL10 = Collection(
    "STL10",
    "http://ai.stanford.edu/~acoates/stl10/",
    "",
    ("stl10_binary.tar.gz",),
    labels="labels",
    arguments=_by_split,
)
USPS = Collection(
    "USPS", "https://www.csie.ntu.edu.tw/~cjlin/libsvmtools/datasets/multiclass/", "", ("usps.bz2", "usps.t.bz2")
)
