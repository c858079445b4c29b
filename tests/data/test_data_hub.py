"""Data sets of the hub: local folders in its layout, and what is said without a network."""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import datasets
import numpy as np
import pytest
import torch
from PIL import Image

from genprior.data import load_data
from genprior.errors import GenpriorError


def parquet(folder: Path, columns: dict[str, list[Any]], features: dict[str, Any]) -> Path:
    folder.mkdir()
    table = datasets.Dataset.from_dict(columns, features=datasets.Features(features))
    datasets.disable_progress_bars()
    table.to_parquet(str(folder / "train.parquet"))
    datasets.enable_progress_bars()
    return folder


def test_a_folder_of_classes_is_read(hub_folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    dataset = load_data(f"hub:{hub_folder}")
    assert dataset.images.shape == (6, 3, 30, 40)
    assert dataset.labels is not None
    assert dataset.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert len(load_data(f"hub:{hub_folder}:test")) == 4
    assert len(load_data(f"hub:{hub_folder}:split=all[:9]")) == 9
    assert capfd.readouterr() == ("", "")


def test_parquet_gives_the_pixels_that_went_in(hub_folder: Path, draw: Callable[..., Any]) -> None:
    values = draw(4, 16, 16)
    folder = parquet(
        hub_folder.parent / "parquet",
        {
            "note": list("abcd"),
            "digit": [3, 1, None, 0],
            "picture": list(map(Image.fromarray, values)),
        },
        {
            "note": datasets.Value("string"),
            "digit": datasets.ClassLabel(4),
            "picture": datasets.Image(),
        },
    )
    dataset = load_data(f"hub:{folder}")
    assert np.array_equal(dataset.images[:, 0].numpy(), values)
    assert torch.equal(
        dataset.labels if dataset.labels is not None else torch.empty(0),
        torch.tensor([3, 1, -1, 0]),
    )


def test_rows_that_cannot_be_read_are_left_out(hub_folder: Path, draw: Callable[..., Any]) -> None:
    good = Image.fromarray(draw(16, 16))
    rows = [good, {"bytes": b"no image", "path": None}, None, good]
    features = {"image": datasets.Image(), "label": datasets.ClassLabel(4)}
    folder = parquet(hub_folder.parent / "holes", {"image": rows, "label": [0, 1, 2, 3]}, features)
    with pytest.warns(UserWarning, match="2 of 4 images cannot be read .*row 1, row 2"):
        dataset = load_data(f"hub:{folder}")
    assert dataset.skipped == ("row 1", "row 2")
    assert dataset.labels is not None
    assert dataset.labels.tolist() == [0, 3]


def test_data_without_images_is_refused(hub_folder: Path) -> None:
    folder = parquet(hub_folder.parent / "text", {"a": ["b"]}, {"a": datasets.Value("string")})
    with pytest.raises(GenpriorError, match=r"^data: expected a column of images.*got a \(Value\)"):
        load_data(f"hub:{folder}")


def test_an_unknown_split_names_the_known_ones(hub_folder: Path) -> None:
    with pytest.raises(GenpriorError, match=r"^data: cannot load .*Unknown split.*train.*test"):
        load_data(f"hub:{hub_folder}:split=trian")


@pytest.mark.parametrize("spec", ["hub", "hub:", "hub::train"])
def test_a_hub_spec_needs_a_name(spec: str) -> None:
    with pytest.raises(GenpriorError, match=r"^data: expected hub:owner/name"):
        load_data(spec)


def test_no_network_is_told_at_once_and_leaves_the_library_as_it_was(hub_folder: Path) -> None:
    before, start = datasets.config.HF_HUB_OFFLINE, time.monotonic()
    with pytest.raises(GenpriorError, match=r"^data: cannot load 'owner/name'.*reach") as caught:
        load_data("hub:owner/name")
    assert time.monotonic() - start < 3
    assert "\n" not in str(caught.value)
    assert datasets.config.HF_HUB_OFFLINE is before


def test_an_unknown_name_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> NoReturn:
        raise datasets.exceptions.DatasetNotFoundError("Dataset 'a/b'\ndoesn't exist on the Hub")

    monkeypatch.setattr("datasets.load_dataset", unknown)
    with pytest.raises(GenpriorError, match=r"^data: cannot load 'a/b'.*Dataset 'a/b' doesn't exist"):
        load_data("hub:a/b")


def test_a_missing_extra_names_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(GenpriorError, match=r"^data: .*pip install 'genprior\[hub\]'"):
        load_data("hub:owner/name")
