"""Small copies of every named data set in the layouts that torchvision reads, and no network."""

import bz2
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn
from urllib.error import URLError

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

Array = NDArray[Any]
COUNTS = {"train": 12, "test": 7}


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> NoReturn:
        raise URLError("no network in tests")

    monkeypatch.setattr("urllib.request.urlopen", refuse)


@pytest.fixture
def draw() -> Callable[..., Array]:
    """Returns a function: shape -> random uint8 values, the same in every run."""
    generator = np.random.default_rng(0)
    return lambda *shape: generator.integers(0, 256, shape, dtype=np.uint8)


@pytest.fixture
def copies(tmp_path: Path, draw: Callable[..., Array], monkeypatch: pytest.MonkeyPatch) -> Path:
    """Returns a data root that holds a copy of every named data set, a few images each."""
    root = tmp_path / "copies"
    for name in ("MNIST", "FashionMNIST", "KMNIST"):
        for part, split in (("train", "train"), ("t10k", "test")):
            write_idx(root / name / "raw" / f"{part}-images-idx3-ubyte", draw(COUNTS[split], 28, 28))
            write_idx(root / name / "raw" / f"{part}-labels-idx1-ubyte", labels(split))
    write_emnist(root / "EMNIST" / "raw", draw)
    write_qmnist(root / "QMNIST" / "raw", draw)
    write_cifar(root / "cifar-10-batches-py", "batches.meta", "labels", "label_names", draw)
    write_cifar(root / "cifar-100-python", "meta", "fine_labels", "fine_label_names", draw)
    write_flat_files(root, draw)
    for module in (
        "cifar",
        "svhn",
        "stl10",
    ):  # these compare checksums with those of the real files
        monkeypatch.setattr(f"torchvision.datasets.{module}.check_integrity", is_file)
    return root


@pytest.fixture
def hub_folder(tmp_path: Path, draw: Callable[..., Array], monkeypatch: pytest.MonkeyPatch) -> Path:
    """Returns a folder that the datasets library reads, with two classes of three images."""
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "hub-cache")
    for split, count in (("train", 3), ("test", 2)):
        for kind in ("cat", "dog"):
            for i in range(count):
                write_png(tmp_path / "pets" / split / kind / f"{i}.png", draw(30, 40, 3))
    return tmp_path / "pets"


def labels(split: str) -> Array:
    return (np.arange(COUNTS[split]) % 10).astype(np.uint8)


def is_file(path: str, md5: str | None = None) -> bool:
    return Path(path).is_file()


def write_png(path: Path, values: Array) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)


def write_idx(path: Path, values: Array) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = {"uint8": 8, "int32": 12}[values.dtype.name]
    header = struct.pack(f">HBB{values.ndim}I", 0, kind, values.ndim, *values.shape)
    path.write_bytes(header + values.astype(values.dtype.newbyteorder(">")).tobytes())


def write_emnist(folder: Path, draw: Callable[..., Array]) -> None:
    for split in COUNTS:
        for subset in ("balanced", "letters"):
            stem = f"emnist-{subset}-{split}"
            write_idx(folder / f"{stem}-images-idx3-ubyte", draw(COUNTS[split], 28, 28))
            write_idx(folder / f"{stem}-labels-idx1-ubyte", labels(split))


def write_qmnist(folder: Path, draw: Callable[..., Array]) -> None:
    for split in COUNTS:
        columns = np.arange(COUNTS[split] * 8, dtype=np.int32).reshape(-1, 8)
        columns[:, 0] = labels(split)
        write_idx(folder / f"qmnist-{split}-images-idx3-ubyte", draw(COUNTS[split], 28, 28))
        write_idx(folder / f"qmnist-{split}-labels-idx2-int", columns)


def write_cifar(folder: Path, meta: str, key: str, names: str, draw: Callable[..., Array]) -> None:
    folder.mkdir(parents=True)
    (folder / meta).write_bytes(pickle.dumps({names: ["a"] * 10}))
    parts = {f"data_batch_{i}": (3, 2)[i > 2] for i in range(1, 6)} | {"test_batch": 7}
    for name, count in (parts | {"train": 12, "test": 7}).items():
        batch = {"data": draw(count, 3072), key: list(range(count))}
        (folder / name).write_bytes(pickle.dumps(batch))


def write_flat_files(root: Path, draw: Callable[..., Array]) -> None:
    from scipy.io import savemat

    (root / "stl10_binary").mkdir()
    (root / "stl10_binary" / "unlabeled_X.bin").write_bytes(b"")
    for split, suffix in (("train", ""), ("test", ".t")):
        count = COUNTS[split]
        savemat(
            root / f"{split}_32x32.mat",
            {"X": draw(32, 32, 3, count), "y": labels(split)[:, None] + 1},
        )
        (root / "stl10_binary" / f"{split}_X.bin").write_bytes(draw(count, 3, 96, 96).tobytes())
        (root / "stl10_binary" / f"{split}_y.bin").write_bytes((labels(split) + 1).tobytes())
        values = draw(count, 256) / 127.5 - 1
        lines = (
            f"{label + 1} " + " ".join(f"{i}:{v:.6f}" for i, v in enumerate(row, 1))
            for label, row in zip(labels(split), values, strict=True)
        )
        (root / f"usps{suffix}.bz2").write_bytes(bz2.compress("\n".join(lines).encode()))
