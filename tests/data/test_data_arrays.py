"""Images in .npy and .npz files."""

import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.io import savemat

from genprior.data import load_data
from genprior.data.array_files import ARRAY_FILES, open_arrays
from genprior.data.load import PATHS
from genprior.errors import GenpriorError

Array = NDArray[Any]
Draw = Callable[..., Array]


def save_npz(path: Path, arrays: dict[str, Any]) -> None:
    np.savez_compressed(path, **arrays)


def save_hdf5(path: Path, arrays: dict[str, Any]) -> None:
    with h5py.File(path, "w") as file:
        for name, values in arrays.items():
            file[name] = values


def save_zip(path: Path, arrays: dict[str, Any]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for i, values in enumerate(arrays["images"]):
            content = BytesIO()
            Image.fromarray(np.moveaxis(values, 0, 2)).save(content, "PNG")
            archive.writestr(f"pictures/{i}.png", content.getvalue())
        archive.writestr("__MACOSX/pictures/._0.png", b"nothing")


SAVE: dict[str, Callable[[Path, dict[str, Any]], None]] = {
    ".npy": lambda path, arrays: np.save(path, arrays["images"]),
    ".npz": save_npz,
    ".mat": lambda path, arrays: savemat(path, arrays),
    ".h5": save_hdf5,
    ".hdf5": save_hdf5,
    ".zip": save_zip,
}


@pytest.mark.parametrize("suffix", ARRAY_FILES)
def test_every_kind_of_file_tells_the_names_of_its_arrays(suffix: str, tmp_path: Path, draw: Draw) -> None:
    values = draw(5, 3, 12, 12)
    SAVE[suffix](tmp_path / f"a{suffix}", {"images": values})
    file = open_arrays(tmp_path / f"a{suffix}")
    assert list(file.read) == ["images"]
    assert np.array_equal(file.array("images"), values)


@pytest.mark.parametrize("suffix", PATHS)
def test_every_kind_of_file_is_read(suffix: str, tmp_path: Path, draw: Draw) -> None:
    values = draw(5, 3, 12, 12)
    path = tmp_path / f"a{suffix}"
    SAVE[suffix](path, {"images": values})
    assert np.array_equal(load_data(path).images.numpy(), values)


@pytest.mark.parametrize("order", ["grey", "first", "last"])
def test_uint8_is_taken_as_it_is(order: str, tmp_path: Path, draw: Draw) -> None:
    values = draw(5, 3, 12, 12)
    expected = values[:, :1] if order == "grey" else values
    stored = {"grey": values[:, 0], "first": values, "last": values.transpose(0, 2, 3, 1)}[order]
    np.save(tmp_path / "a.npy", stored)
    dataset = load_data(tmp_path / "a.npy")
    assert np.array_equal(dataset.images.numpy(), expected)
    assert dataset.labels is None


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", ">f4", ">f8"])
def test_floats_are_scaled_by_255(dtype: str, tmp_path: Path) -> None:
    every = np.arange(256).reshape(1, 16, 16)
    np.save(tmp_path / "a.npy", (every / 255).astype(dtype))
    assert np.array_equal(load_data(tmp_path / "a.npy").images[0].numpy(), every)


@pytest.mark.parametrize("dtype", ["uint16", ">u2"])
def test_uint16_is_divided_by_257(dtype: str, tmp_path: Path) -> None:
    every = np.arange(256).reshape(1, 16, 16)
    np.save(tmp_path / "a.npy", (every * 257).astype(dtype))
    assert np.array_equal(load_data(tmp_path / "a.npy").images[0].numpy(), every)


def test_bool_is_black_and_white(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.eye(8, dtype=bool)[None])
    assert torch.equal(load_data(tmp_path / "a.npy").images[0, 0], torch.eye(8).byte() * 255)


@pytest.mark.parametrize("key", ["images", "x", "data", "anything"])
@pytest.mark.parametrize("labels", ["labels", "y"])
def test_npz_is_read_by_name(key: str, labels: str, tmp_path: Path, draw: Draw) -> None:
    values, classes = draw(5, 8, 8), np.array([3, 1, 4, 1, 5], np.uint8)
    save_npz(tmp_path / "a.npz", {key: values, labels: classes})
    dataset = load_data(f"{tmp_path / 'a.npz'}[1:4]")
    assert np.array_equal(dataset.images[:, 0].numpy(), values[1:4])
    assert dataset.labels is not None
    assert dataset.labels.tolist() == [1, 4, 1]
    assert dataset.labels.dtype == torch.int64


def test_a_suffix_may_shout(tmp_path: Path) -> None:
    with (tmp_path / "A.NPY").open("wb") as file:
        np.save(file, np.zeros((2, 8, 8), np.uint8))
    assert len(load_data(tmp_path / "A.NPY")) == 2


def test_chunks_do_not_show(tmp_path: Path, draw: Draw, monkeypatch: pytest.MonkeyPatch) -> None:
    np.save(tmp_path / "a.npy", draw(10, 8, 8) / 255)
    whole = load_data(tmp_path / "a.npy")
    monkeypatch.setattr("genprior.data.arrays.CHUNK", 3)
    assert load_data(tmp_path / "a.npy").fingerprint() == whole.fingerprint()


def test_oblong_images_take_any_shape(tmp_path: Path, draw: Draw) -> None:
    np.save(tmp_path / "a.npy", draw(2, 20, 30))
    assert load_data(tmp_path / "a.npy").image_shape == (1, 20, 30)
    assert load_data(tmp_path / "a.npy", size=(10, 20)).image_shape == (1, 10, 20)
    assert load_data(tmp_path / "a.npy", size=15, fit="keep").image_shape == (1, 10, 15)
    with pytest.raises(GenpriorError, match=r"^size: got 24x16.*give a size of at most 20x13"):
        load_data(tmp_path / "a.npy", size="24x16")
    assert load_data(tmp_path / "a.npy", size=20).image_shape == (1, 20, 20)
    assert load_data(tmp_path / "a.npy", size=30, fit="pad").image_shape == (1, 30, 30)
    with pytest.raises(GenpriorError, match=r"^size: got 21.*20 high and 30 wide.*at most 20"):
        load_data(tmp_path / "a.npy", size=21)
    with pytest.raises(GenpriorError, match=r"^size: got 31.*at most 30"):
        load_data(tmp_path / "a.npy", size=31, fit="pad")


def floats(*wrong: float) -> Array:
    values = np.full((2, 8, 8), 0.5)
    values.flat[: len(wrong)] = wrong
    return values


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (floats(np.nan, np.inf, 2), "finite numbers, got 2 of 128 that are not"),
        (floats(-1, 1), r"from 0 to 1, got -1 to 1: .*\(x \+ 1\) / 2"),
        (np.full((1, 8, 8), np.nan), "got 64 of 64 that are not"),
        (np.zeros((0, 8, 8), np.uint8), r"at least one image, got an array of shape \(0, 8, 8\)"),
        (np.zeros((4, 0, 0), np.uint8), "at least one image"),
        (np.zeros((4, 8, 8), np.int64), "numbers of type .*uint8, .*got int64: .*--white"),
        (np.zeros((4, 8, 8), np.complex64), "got complex64"),
        (np.zeros((4, 8, 8), "U1"), "got <U1"),
        (np.zeros((8, 8), np.uint8), r"expected shape \(N, H, W\).*got \(8, 8\)"),
        (np.zeros((2, 8, 8, 5), np.uint8), r"expected shape.*got \(2, 8, 8, 5\)"),
        (np.zeros((), np.uint8), r"expected shape.*got \(\)"),
    ],
)
@pytest.mark.parametrize("suffix", ["npy", "npz"])
def test_bad_images_are_refused(images: Array, message: str, suffix: str, tmp_path: Path) -> None:
    save = {"npy": lambda path: np.save(path, images), "npz": lambda path: np.savez(path, x=images)}
    save[suffix](tmp_path / f"a.{suffix}")
    with pytest.raises(GenpriorError, match=rf"^data: .*a\.{suffix}: .*{message}"):
        load_data(tmp_path / f"a.{suffix}")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"a": np.zeros(3), "b": np.zeros(3)}, "array named images or x or data.*got a, b"),
        ({}, "got none"),
        ({"labels": np.zeros(3)}, "got labels"),
        ({"a": np.zeros((2, 8, 8)), "b": np.zeros((2, 8, 8))}, r"got a, b: .*as in a\.npz:NAME"),
    ],
)
def test_bad_archives_are_refused(arrays: dict[str, Array], message: str, tmp_path: Path) -> None:
    save_npz(tmp_path / "a.npz", arrays)
    with pytest.raises(GenpriorError, match=rf"^data: .*a\.npz: .*{message}"):
        load_data(tmp_path / "a.npz")


# Arrays and labels by name.


def test_an_array_may_be_named(tmp_path: Path, draw: Draw) -> None:
    first, second = draw(4, 8, 8), draw(4, 8, 8)
    save_npz(tmp_path / "a.npz", {"first": first, "second": second, "y": np.arange(4)})
    dataset = load_data(f"{tmp_path / 'a.npz'}:second[1:]")
    assert np.array_equal(dataset.images[:, 0].numpy(), second[1:])
    assert dataset.labels is not None
    assert dataset.labels.tolist() == [1, 2, 3]
    with pytest.raises(GenpriorError, match=r"^data: .*a\.npz: it has no array 'third', only first, second, y"):
        load_data(f"{tmp_path / 'a.npz'}:third")


def test_arrays_of_groups_have_the_names_of_paths(tmp_path: Path, draw: Draw) -> None:
    values = draw(4, 8, 8)
    save_hdf5(tmp_path / "a.h5", {"train/images": values, "train/labels": np.arange(4), "other/z": np.zeros(9)})
    dataset = load_data(tmp_path / "a.h5")
    assert np.array_equal(dataset.images[:, 0].numpy(), values)
    assert dataset.labels is not None
    assert np.array_equal(load_data(f"{tmp_path / 'a.h5'}:train/images").images[:, 0].numpy(), values)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (np.array([[3], [1], [4]]), [3, 1, 4]),
        (np.array([[3, 1, 4]]), [3, 1, 4]),
        (np.array([3.0, 1.0, 4.0]), [3, 1, 4]),
        (np.eye(5)[[3, 1, 4]], [3, 1, 4]),
        (np.eye(5, dtype=bool)[[3, 1, 4]], [3, 1, 4]),
        (np.array(["dog", "ant", "eel"]), [1, 0, 2]),
        (np.array([["dog"], ["ant"], ["eel"]]), [1, 0, 2]),
        (np.array([b"dog", b"ant", b"eel"]), [1, 0, 2]),
    ],
)
@pytest.mark.parametrize("suffix", [".npz", ".mat", ".h5"])
def test_labels_are_understood(labels: Array, expected: list[int], suffix: str, tmp_path: Path, draw: Draw) -> None:
    if suffix == ".h5" and labels.dtype.kind == "U":
        labels = labels.astype("S")
    SAVE[suffix](tmp_path / f"a{suffix}", {"images": draw(3, 8, 8), "labels": labels})
    found = load_data(tmp_path / f"a{suffix}").labels
    assert found is not None
    assert found.tolist() == expected


@pytest.mark.parametrize(
    ("labels", "why"),
    [
        (np.array([0.5, 1, 2]), "got float64"),
        (np.array([np.nan, 1, 2]), "got float64"),
        (np.zeros((3, 2)), r"got float64 of shape \(3, 2\)"),
        (np.zeros((3, 8, 8)), "got float64 of shape"),
        (np.arange(4), "holds 4 labels for 3 images"),
        (np.array([{}, {}, {}], dtype=object), "cannot read it as arrays of numbers"),
    ],
)
def test_labels_that_are_not_understood_are_left_out_and_told(
    labels: Array, why: str, tmp_path: Path, draw: Draw
) -> None:
    save_npz(tmp_path / "a.npz", {"images": draw(3, 8, 8), "labels": labels})
    with pytest.warns(UserWarning, match=f"^labels is left out: .*{why}"):
        dataset = load_data(tmp_path / "a.npz")
    assert dataset.labels is None
    assert len(dataset) == 3


@pytest.mark.parametrize("shape", [(8, 8, 5), (8, 9, 3, 5), (8, 8, 1, 5)])
def test_images_of_matlab_lie_along_the_last_axis(shape: tuple[int, ...], tmp_path: Path, draw: Draw) -> None:
    values = draw(*shape)
    savemat(tmp_path / "a.mat", {"images": values})
    expected = np.moveaxis(values, -1, 0) if len(shape) == 3 else values.transpose(3, 2, 0, 1)
    assert np.array_equal(load_data(tmp_path / "a.mat").images.squeeze(1).numpy(), expected.squeeze())


def test_labels_tell_the_axis_of_the_images(tmp_path: Path, draw: Draw) -> None:
    values = draw(8, 9, 5)
    for name, labels in (("first", np.arange(8)), ("last", np.arange(5))):
        savemat(tmp_path / f"{name}.mat", {"images": values, "labels": labels})
    assert np.array_equal(load_data(tmp_path / "first.mat").images[:, 0].numpy(), values)
    assert np.array_equal(load_data(tmp_path / "last.mat").images[:, 0].numpy(), np.moveaxis(values, 2, 0))


def test_an_axis_that_is_guessed_is_told(tmp_path: Path, draw: Draw) -> None:
    savemat(tmp_path / "a.mat", {"images": draw(8, 9, 5)})
    with pytest.warns(UserWarning, match=r"an array of shape \(8, 9, 5\) is read as 5 images along its last axis"):
        assert load_data(tmp_path / "a.mat").images.shape == (5, 1, 8, 9)


def test_matlab_7_3_is_hdf5_with_its_axes_in_reverse(tmp_path: Path, draw: Draw) -> None:
    values = draw(8, 9, 3, 5)
    with h5py.File(tmp_path / "a.mat", "w", userblock_size=512) as file:
        file["images"] = values.T
    header = b"MATLAB 7.3 MAT-file".ljust(124, b" ") + (0x0200).to_bytes(2, "little") + b"IM"
    content = (tmp_path / "a.mat").read_bytes()
    (tmp_path / "a.mat").write_bytes(header + content[len(header) :])
    assert np.array_equal(load_data(tmp_path / "a.mat").images.numpy(), values.transpose(3, 2, 0, 1))


def test_folders_in_an_archive_are_classes(tmp_path: Path, draw: Draw) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in ("all/cat/a.png", "all/cat/b.png", "all/dog/a.png"):
            content = BytesIO()
            Image.fromarray(draw(8, 8)).save(content, "PNG")
            archive.writestr(name, content.getvalue())
    labels = load_data(tmp_path / "a.zip").labels
    assert labels is not None
    assert labels.tolist() == [0, 0, 1]


@pytest.mark.parametrize(("name", "message"), [("notes.txt", "expected images .*found none"), (None, "damaged")])
def test_an_archive_without_images_is_refused(name: str | None, message: str, tmp_path: Path) -> None:
    if name is None:
        (tmp_path / "a.zip").write_bytes(b"no archive")
    else:
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
            archive.writestr(name, "no image")
    with pytest.raises(GenpriorError, match=rf"^data: .*a\.zip: .*{message}"):
        load_data(tmp_path / "a.zip")


# Which number is white.


@pytest.mark.parametrize("top", [1, 60])
def test_a_sliver_of_the_range_is_told(top: int, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.eye(8, dtype=np.uint8)[None] * top)
    with pytest.warns(UserWarning, match=rf"a\.npy: the largest number is {top} where 255 is white"):
        load_data(tmp_path / "a.npy")


@pytest.mark.parametrize(("kind", "white"), [("uint16", 4095), ("int64", 4095), ("float32", 4095), ("uint8", 1)])
def test_white_is_what_it_is_said_to_be(kind: str, white: int, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", (np.eye(8) * white)[None].astype(kind))
    assert torch.equal(load_data(tmp_path / "a.npy", white=white).images[0, 0], torch.eye(8).byte() * 255)


@pytest.mark.parametrize("white", [0, -1, np.inf, np.nan])
def test_white_is_a_positive_number(white: float) -> None:
    with pytest.raises(GenpriorError, match=r"^white: expected a number above 0"):
        load_data("digits[:3]", white=white)


def test_named_data_sets_know_their_white() -> None:
    with pytest.raises(GenpriorError, match=r"^white: digits knows its white; leave this out"):
        load_data("digits[:3]", white=16)


@pytest.mark.parametrize(("channels", "expected"), [(None, 255), (3, 255), (4, 0)])
def test_transparency_of_arrays_is_laid_on_white_or_kept(channels: int | None, expected: int, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((2, 8, 8, 4), np.uint8))
    images = load_data(tmp_path / "a.npy", channels=channels).images
    assert images.shape == (2, channels or 3, 8, 8)
    assert (images == expected).all()


def damaged(path: Path, damage: str) -> Path:
    if path.suffix == ".npy":
        np.save(path, np.full((20, 16, 16), 0.3))
    else:
        np.savez_compressed(path, x=np.random.default_rng(0).random((20, 16, 16)))
    whole = path.read_bytes()
    middle = len(whole) // 2
    flipped = whole[:middle] + bytes([whole[middle] ^ 255]) + whole[middle + 1 :]
    cut = {"empty": b"", "text": b"hello", "cut": whole[:900], "head": whole[:40], "bit": flipped}
    path.write_bytes(cut[damage])
    return path


@pytest.mark.parametrize("damage", ["empty", "text", "cut", "head"])
@pytest.mark.parametrize("name", ["a.npy", "a.npz"])
def test_damaged_files_are_told_in_one_line(name: str, damage: str, tmp_path: Path) -> None:
    with pytest.raises(GenpriorError, match=f"^data: .*{name}: .*(cannot read|damaged)") as caught:
        load_data(damaged(tmp_path / name, damage))
    assert "\n" not in str(caught.value)


def test_a_flipped_bit_in_an_archive_is_noticed(tmp_path: Path) -> None:
    with pytest.raises(GenpriorError, match=r"^data: .*a\.npz: the file is damaged"):
        load_data(damaged(tmp_path / "a.npz", "bit"))


@pytest.mark.parametrize("name", ["a.npy", "a.npz"])
def test_pickled_objects_are_never_loaded(name: str, tmp_path: Path) -> None:
    (np.save if name == "a.npy" else np.savez)(tmp_path / name, np.array([{}], dtype=object))
    with pytest.raises(GenpriorError, match=f"^data: .*{name}: cannot read it as arrays of numbers"):
        load_data(tmp_path / name)


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "photo.png").write_bytes(b"")
    with pytest.raises(GenpriorError, match=r"^data: expected a folder of images or a file that ends in \.npy, "):
        load_data(tmp_path / "photo.png")
