"""Images read one at a time, from all kinds of sources."""

import os
import unicodedata
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError
from scipy.io import savemat
from torch import Tensor

from genprior.data import load_data
from genprior.errors import GenpriorError
from genprior.images import to_float, to_uint8, write_image
from genprior.restoring import sources
from genprior.restoring.records import MEASUREMENTS, RECORD, ImageRow, PartRecord
from genprior.restoring.sources import fitted, open_source
from genprior.runs.files import write_json
from genprior.value_range import WHITES


def everything(text: object) -> tuple[list[str], Tensor]:
    source = open_source(str(text))
    return list(source.names), torch.stack([source.read(i) for i in range(len(source))])


def test_folder_is_in_the_order_of_names(image_folder: Callable[..., Path], some_images: Callable[..., Tensor]) -> None:
    names, x = everything(image_folder(3))
    assert names == ["a", "b", "c"]
    assert torch.equal(x, to_float(to_uint8(some_images(3))))


def test_pictures_are_read_when_they_are_asked_for(
    image_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    original = sources.read_given
    monkeypatch.setattr(sources, "read_given", lambda path, _: read.append(path.name) or original(path))
    source = open_source(str(image_folder(3)))
    assert read == []
    source.read(1)
    assert read == ["b.png"]


def test_single_picture(image_folder: Callable[..., Path]) -> None:
    names, x = everything(image_folder(2) / "b.png")
    assert names == ["b"]
    assert x.shape == (1, 1, 8, 8)


@pytest.mark.parametrize("suffix", sources.FILES)
def test_every_kind_of_file_is_read(tmp_path: Path, suffix: str) -> None:
    values = np.zeros((24, 20, 3), np.uint8)
    values[:12] = (200, 100, 50)
    path = tmp_path / f"a{suffix}"
    match suffix:
        case ".npy":
            np.save(path, values.transpose(2, 0, 1)[None])
        case ".npz":
            np.savez(path, images=values.transpose(2, 0, 1)[None])
        case ".mat":
            savemat(path, {"images": values[..., None]})
        case ".h5" | ".hdf5":
            with h5py.File(path, "w") as file:
                file["images"] = values.transpose(2, 0, 1)[None]
        case _:
            Image.fromarray(values).save(path)
    _, items = everything(path)
    assert len(items) == 1
    x = sources.channels_first(items[0]) if suffix == ".mat" else items[0]  # MATLAB has channels last
    assert x.shape == (3, 24, 20)
    expected = torch.tensor(values.transpose(2, 0, 1)) / 255
    assert float((x - expected)[:, :8].abs().max()) < 0.05  # JPEG and WebP lose a little


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "uint8", "uint16", "bool"])
def test_arrays_keep_what_they_hold(tmp_path: Path, suffix: str, dtype: str) -> None:
    values = (np.random.default_rng(0).random((3, 8, 8)) * WHITES[dtype]).astype(dtype)
    path = tmp_path / f"a{suffix}"
    np.save(path, values) if suffix == ".npy" else np.savez(path, images=values, labels=np.arange(3))
    names, x = everything(path)
    assert names == ["000000", "000001", "000002"]
    assert x.dtype == torch.float32
    np.testing.assert_allclose(x.numpy(), values.astype(np.float32) / WHITES[dtype], rtol=1e-7)


def test_arrays_of_every_kind_of_file_are_read_by_their_names(tmp_path: Path) -> None:
    x, other = np.random.default_rng(0).random((4, 8, 6), np.float32), np.zeros((4, 8, 6), np.float32)
    np.savez(tmp_path / "a.npz", scans=x, other=other)
    savemat(tmp_path / "a.mat", {"scans": x.transpose(1, 2, 0), "other": other})
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.update(scans=x, other=other)
    for suffix in (".npz", ".mat", ".h5"):
        _, found = everything(f"{tmp_path / 'a'}{suffix}:scans")
        np.testing.assert_array_equal(found.numpy(), x)
    np.savez(tmp_path / "alone.npz", y=x)
    np.testing.assert_array_equal(everything(tmp_path / "alone.npz")[1].numpy(), x)


def test_oblong_images_keep_their_proportions() -> None:
    """A square in the middle of a wide image stays one."""
    x = torch.zeros(1, 40, 120)
    x[:, 10:30, 50:70] = 1
    small = fitted(x, "it", (1, 16, 24), resize=True)
    assert small[0, 8].gt(0.5).sum() == small[0, :, 12].gt(0.5).sum() == 8


def test_floats_are_not_rounded(tmp_path: Path) -> None:
    values = torch.rand(2, 100) * 3 - 1
    np.save(tmp_path / "y.npy", values.numpy())
    assert torch.equal(everything(tmp_path / "y.npy")[1], values)


def test_data_set_gives_what_load_data_gives() -> None:
    names, x = everything("digits[5:8]")
    assert names == ["000005", "000006", "000007"]
    assert torch.equal(x, load_data("digits[5:8]").take(torch.arange(3)))


@pytest.mark.parametrize("text", ["digits[-2:]", "digits[1795:]", "digits[1795:9999]"])
def test_the_same_image_has_the_same_number_in_every_slice(text: str) -> None:
    source, whole = open_source(text), load_data("digits")
    assert list(source.numbers) == [1795, 1796]
    assert torch.equal(source.read(1), whole.take(torch.tensor([1796]))[0])


def test_slices_work_on_folders_and_arrays(image_folder: Callable[..., Path], tmp_path: Path) -> None:
    folder = open_source(f"{image_folder(4)}[1:3]")
    assert list(folder.names) == ["b", "c"]
    assert list(folder.numbers) == [1, 2]
    np.save(tmp_path / "a.npy", np.arange(40, dtype=np.float32).reshape(4, 10))
    array = open_source(f"{tmp_path / 'a.npy'}[-1:]")
    assert list(array.numbers) == [3]
    assert array.read(0)[0] == 30


def test_names_that_differ_in_their_suffix_alone_keep_it() -> None:
    assert sources.picture_names(["a.png", "b.png", "b.jpg", "c/b.png"]) == ["a", "b.png", "b.jpg", "c/b"]


def test_measurements_of_degrade_keep_names_and_numbers(tmp_path: Path) -> None:
    np.save(tmp_path / MEASUREMENTS, np.zeros((2, 5), np.float32))
    damage = {"images": "x", "operator": "denoise", "noise": "none", "seed": 0}
    write_json(tmp_path / RECORD, {**damage, "names": ["p", "q"], "numbers": [4, 9]})
    source = open_source(str(tmp_path / MEASUREMENTS))
    assert (list(source.names), list(source.numbers)) == (["p", "q"], [4, 9])


def test_a_changed_source_is_another_one(image_folder: Callable[..., Path]) -> None:
    folder = image_folder(2)
    before = open_source(str(folder)).listing
    assert open_source(str(folder)).listing == before
    (folder / "a.png").rename(folder / "z.png")
    assert open_source(str(folder)).listing != before


BAD = {
    "nothing": (lambda at: at / "nothing.png", "no such file or folder"),
    "no format": (lambda at: _text(at / "a.txt"), "expected a folder, a data set or a file that ends in .*a.txt"),
    "empty folder": (lambda at: at, "found none"),
    "no array": (lambda at: _text(at / "a.npy"), "cannot read it as arrays of numbers"),
    "no archive": (lambda at: _text(at / "a.npz"), "cannot read it as arrays of numbers"),
    "single number": (lambda at: _save(at / "a.npy", np.zeros(())), "expected items along the first axis"),
    "no items": (lambda at: _save(at / "a.npy", np.zeros((0, 8, 8))), "expected items along the first axis"),
    "integers": (lambda at: _save(at / "a.npy", np.zeros((2, 8, 8), int)), "got int64: convert them"),
    "pickle": (lambda at: _save(at / "a.npy", np.array([[None]])), "cannot read it as arrays of numbers"),
    "empty slice": (lambda at: f"{_save(at / 'a.npy', np.zeros((2, 4)))}[5:]", "keeps none of 2"),
    "results of degrade": (lambda at: _text(at / "degradation.json").parent, r"give .*measurements.npy or .*images"),
    "unknown data": (lambda _: "mnits", "did you mean 'mnist'"),
}


def _text(path: Path) -> Path:
    path.write_text("text")
    return path


def _save(path: Path, array: np.ndarray) -> Path:
    np.save(path, array)
    return path


@pytest.mark.parametrize("case", BAD)
def test_what_is_no_source_is_told(tmp_path: Path, case: str) -> None:
    make, message = BAD[case]
    with pytest.raises(GenpriorError, match=message) as raised:
        open_source(str(make(tmp_path)))
    assert raised.value.argument == "images"
    assert "\n" not in raised.value.message


@pytest.mark.parametrize("name", ["a.png", "y.npy", "photos"])
def test_contents_tell_items_apart_and_dates_do_not(
    image_folder: Callable[..., Path], name: str, some_images: Callable[..., Tensor]
) -> None:
    folder = image_folder(2)
    path = {"a.png": folder / "a.png", "y.npy": folder / "y.npy", "photos": folder}[name]
    file = path / "a.png" if path.is_dir() else path
    _save(folder / "y.npy", some_images(2).numpy())
    before, dates = open_source(str(path)).digest(0), file.stat().st_mtime_ns
    os.utime(file, ns=(0, 0))
    assert open_source(str(path)).digest(0) == before
    other = some_images(4)[2:]
    _save(file, other.numpy()) if file.suffix == ".npy" else write_image(to_uint8(other[0]), file)
    os.utime(file, ns=(dates, dates))
    assert open_source(str(path)).digest(0) != before


def test_items_of_a_data_set_are_told_apart_by_their_pixels() -> None:
    source = open_source("digits[:3]")
    assert source.digest(0) == open_source("digits[:1]").digest(0) != source.digest(1)


LONG = "n" * 251


@pytest.mark.parametrize(
    "files",
    [
        ["a.jpg", "a.png", "a.png.png"],
        ["x.jpg", "x.png/y.png", "x.tif/y.png"],
        [f"{LONG}.jpg", f"{LONG}.png"],
        ["A.png", "a.png", "a.jpg"],
        ["e\u0301.png", "\u00e9.png"],
        ["a:b.png", "c\\..\\d.png", "e.png"],
        ["ü" * 125 + ".png", "ü" * 125 + ".jpg"],
    ],
)
def test_names_of_pictures_are_distinct_short_and_plain(files: list[str], tmp_path: Path) -> None:
    names = sources.picture_names(files)
    assert names == sources.picture_names(files)
    assert len({unicodedata.normalize("NFC", name).casefold() for name in names}) == len(files)
    for name in names:
        assert ImageRow(number=0, name=name).name == name
        for suffix in (".png", ".tif", ".npy"):
            path = tmp_path / f"{name}{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(name)
    assert all((tmp_path / f"{name}.png").read_text() == name for name in names)


@pytest.mark.parametrize("name", ["../../x", "/etc/passwd", "a/../../b", "C:\\x", "..\\x", "", "a\0b"])
def test_names_in_files_stay_in_their_folder(name: str) -> None:
    with pytest.raises(ValidationError, match="is no name of an image"):
        ImageRow(number=0, name=name)
    with pytest.raises(ValidationError, match="is no name of an image"):
        PartRecord(seconds=0, rows=(), files={name: ""})
