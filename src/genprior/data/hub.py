"""Data sets of the Hugging Face hub, or folders in its layout, through the `datasets` library."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from genprior.data.dataset import Dataset
from genprior.data.image_files import EncodedImage, decode_all
from genprior.data.named import answers, quiet
from genprior.data.spec import DataSpec, Request, read_options
from genprior.errors import GenpriorError, raise_lack_of_memory


def load_hub(request: Request) -> Dataset:
    """Returns the first column of images of a hub data set, and the first of class labels.

    The spec is hub:owner/name, or hub: and a local folder. Options: split=train, config=NAME.
    Copies are kept where the `datasets` library keeps them.
    """
    target, options = _target(request.spec)
    table = _open(target, options)
    chosen = request.spec.chosen(len(table))
    image, label = _columns(target, table)
    rows = _encoded_rows(table, image)
    decoded = decode_all([EncodedImage(f"row {i}", partial(_file, rows, image, i)) for i in chosen], request)
    kept = [chosen[i] for i in decoded.kept]
    return Dataset(
        name=request.spec.text,
        images=decoded.images,
        labels=None if label is None else _labels(table, label, kept),
        skipped=decoded.skipped,
        notes=decoded.notes,
        numbers=decoded.numbers,
        whole=decoded.whole,
    )


def _target(spec: DataSpec) -> tuple[str, dict[str, str]]:
    """Returns the name or folder, and the options, of hub:TARGET[:options]."""
    known: dict[str, tuple[str, ...]] = {"split": (), "config": ()}
    folder = os.path.expanduser(spec.rest)
    name, _, words = spec.rest.partition(":")
    target, words = (folder, "") if os.path.isdir(folder) else (os.path.expanduser(name), words)
    if not target:
        raise GenpriorError(f"expected hub:owner/name or hub: and a folder, got {spec.text!r}", argument="data")
    return target, read_options(DataSpec(spec.text, spec.source, words, spec.window), known)


def _open(target: str, options: dict[str, str]) -> Any:  # noqa: ANN401 - a Dataset of `datasets`
    try:
        import datasets
    except ImportError as error:
        raise GenpriorError(
            "hub data sets need the datasets library: pip install 'genprior[hub]'", argument="data"
        ) from error
    split, config = options.get("split", "train"), options.get("config")
    try:
        with _offline_if_unreachable(datasets.config, target), quiet():
            return datasets.load_dataset(target, config, split=split)
    except Exception as error:  # of datasets, its hub client, pyarrow, or their HTTP library
        raise_lack_of_memory(error)
        reason = " ".join(str(error).split()) or type(error).__name__
        raise GenpriorError(
            f"cannot load {target!r}, {options or {'split': split}}, through the datasets library: {reason[:300]}",
            argument="data",
        ) from error


@contextmanager
def _offline_if_unreachable(config: Any, target: str) -> Iterator[None]:  # noqa: ANN401 - a module
    """Puts the library offline where the hub does not answer.

    By itself it would retry for half a minute before it looks for a copy that it has kept.
    """
    before = config.HF_HUB_OFFLINE
    if not os.path.isdir(target):
        config.HF_HUB_OFFLINE = before or not answers(config.HF_ENDPOINT)
    try:
        yield
    finally:
        config.HF_HUB_OFFLINE = before


def _columns(target: str, table: Any) -> tuple[str, str | None]:  # noqa: ANN401
    """Returns the names of the first column of images and, if there is one, of class labels."""
    from datasets import ClassLabel, Image

    kinds = {name: type(feature) for name, feature in table.features.items()}
    images = [name for name, kind in kinds.items() if kind is Image]
    labels = [name for name, kind in kinds.items() if kind is ClassLabel]
    if not images:
        told = ", ".join(f"{name} ({kind.__name__})" for name, kind in kinds.items())
        raise GenpriorError(
            f"expected a column of images in {target!r}, got {told}: choose another data set", argument="data"
        )
    return images[0], labels[0] if labels else None


def _encoded_rows(table: Any, column: str) -> Any:  # noqa: ANN401
    from datasets import Image

    return table.select_columns(column).cast_column(column, Image(decode=False))


def _file(rows: Any, column: str, index: int) -> Path | BytesIO:  # noqa: ANN401
    cell = rows[index][column] or {}
    if cell.get("bytes") is not None:
        return BytesIO(cell["bytes"])
    if cell.get("path") is None:
        raise OSError("the row holds no image")
    return Path(cell["path"])


def _labels(table: Any, column: str, rows: list[int]) -> Tensor:  # noqa: ANN401
    """Returns labels int64; -1, as in the library itself, where a row has none."""
    values = table.select_columns(column)[rows][column]
    return torch.tensor([-1 if value is None else value for value in values])
