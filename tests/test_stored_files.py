"""What is read back: bounded, strict, held against its checksum, and refused in one line that names the file."""

import io
import json
import os
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.lib import format as npy

from genprior import stored_files
from genprior.errors import GenpriorError
from genprior.settings import Model
from genprior.stored_files import (
    MOST_DEPTH,
    loads,
    loads_numbers,
    read_array,
    read_model,
    read_object,
    read_tensors,
    signed,
    sum_of,
    weights_sha256,
)
from genprior.writing import save_tensors, write_text


class Stored(Model):
    """What a file holds."""

    count: int
    names: tuple[str, ...] = ()


def test_what_is_signed_is_read_back_and_signing_again_changes_nothing(tmp_path: Path) -> None:
    text = signed('{"count": 3, "names": ["a", "\\udcff"]}')
    write_text(tmp_path / "x.json", text)
    assert read_model(tmp_path / "x.json", Stored, "run") == Stored(count=3, names=("a", "\udcff"))
    assert signed(text) == text
    assert read_object(tmp_path / "x.json", "run").is_signed


def test_the_order_of_keys_and_white_space_are_not_part_of_the_checksum(tmp_path: Path) -> None:
    values = json.loads(signed('{"count": 3, "names": []}'))
    (tmp_path / "x.json").write_text(json.dumps(dict(reversed(values.items())), indent=7))
    assert read_model(tmp_path / "x.json", Stored, "run") == Stored(count=3)


@pytest.mark.parametrize("change", [('"count": 3', '"count": 4'), ('"a"', '"b"'), ('"checksum": "', '"checksum": "0')])
def test_what_was_altered_is_refused(tmp_path: Path, change: tuple[str, str]) -> None:
    (tmp_path / "x.json").write_text(signed('{"count": 3, "names": ["a"]}').replace(*change))
    with pytest.raises(GenpriorError, match=r"x\.json was altered: its checksum does not fit"):
        read_model(tmp_path / "x.json", Stored, "run")


def test_files_without_checksum_are_those_of_older_versions(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text('{"count": 3}')
    assert read_model(tmp_path / "x.json", Stored, "run") == Stored(count=3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 100_000, "it is nested too deeply"),
        ("[" * (MOST_DEPTH + 1) + "]" * (MOST_DEPTH + 1), "it is nested too deeply"),
        ('{"count": NaN}', "NaN is no JSON"),
        ('{"count": 1e999}', "1e999 is too large a number"),
        ('{"count": 1, "count": 2}', "a key stands twice"),
        ('{"names": ["\\ud800"]}', "it has a lone surrogate"),
        ('{"\\udfff": 1}', "it has a lone surrogate"),
        ("{", "Expecting property name"),
        ("", "Expecting value"),
        ("[1]", "expected a table of values by name"),
        ('{"names": []}', "count: Field required"),
        ('{"count": "x"}', "count: Input should be a valid integer"),
        ('{"count": ' + "9" * 5000 + "}", "cannot be read"),
    ],
)
def test_nonsense_is_one_line_about_the_file(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(GenpriorError, match=rf"run: .*x\.json cannot be read: .*{message}|{message}") as caught:
        read_model(tmp_path / "x.json", Stored, "run")
    assert "\n" not in caught.value.message


def test_bytes_that_are_no_text_folders_and_pipes_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_bytes(b'{"count": "\xff"}')
    (tmp_path / "folder").mkdir()
    for name in ("x.json", "folder", "nothing"):
        with pytest.raises(GenpriorError, match=f"{name} cannot be read"):
            read_model(tmp_path / name, Stored, "run")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(GenpriorError, match="pipe cannot be read: it is no file"):
            read_model(tmp_path / "pipe", Stored, "run")


def test_a_file_that_is_too_long_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("genprior.stored_files.MOST_BYTES", 10)
    (tmp_path / "x.json").write_text('{"count":                3}')
    with pytest.raises(GenpriorError, match="it has more than 10 bytes"):
        read_model(tmp_path / "x.json", Stored, "run")


def test_as_deep_as_results_are_is_read() -> None:
    assert loads("[" * (MOST_DEPTH - 1) + "]" * (MOST_DEPTH - 1))


def test_tensors_are_held_against_their_checksum(tmp_path: Path) -> None:
    tensors = {"a": torch.arange(4.0), "b": torch.ones(2, dtype=torch.int64)}
    save_tensors(tensors, tmp_path / "x.safetensors", sum_of(tensors))
    assert weights_sha256(read_tensors(tmp_path / "x.safetensors")) == weights_sha256(tensors)
    data = bytearray((tmp_path / "x.safetensors").read_bytes())
    data[-1] ^= 1
    (tmp_path / "x.safetensors").write_bytes(data)
    with pytest.raises(ValueError, match="was altered: its checksum does not fit"):
        read_tensors(tmp_path / "x.safetensors")
    (tmp_path / "x.safetensors").write_bytes(data[:-1])
    with pytest.raises(ValueError, match=r"(?i)error while deserializing|incomplete"):
        read_tensors(tmp_path / "x.safetensors")


def _headed(shape: tuple[int, ...], numbers: int) -> bytes:
    """A .npy file whose header tells of this shape."""
    file = io.BytesIO()
    npy.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
    return file.getvalue() + bytes(4 * numbers)


@pytest.mark.parametrize("shape", [(-1, 8, 8), (10**15, 8, 8), (2**62, 2**62), (3, 8, 9)])
def test_a_header_that_tells_of_more_than_there_is_is_refused_before_memory_is_reserved(
    tmp_path: Path, shape: tuple[int, ...]
) -> None:
    from genprior.data.array_files import open_arrays

    content = _headed(shape, 3 * 64)
    (tmp_path / "x.npy").write_bytes(content)
    with pytest.raises(ValueError, match=r"cut off or damaged: .* bytes cannot hold"):
        read_array(tmp_path / "x.npy")
    with zipfile.ZipFile(tmp_path / "x.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("images.npy", content)
    with pytest.raises(GenpriorError, match=r"x\.npz: .*bytes cannot hold"):
        open_arrays(tmp_path / "x.npz").array("images")


def test_arrays_are_read_as_they_were_written(tmp_path: Path) -> None:
    from genprior.data.array_files import open_arrays

    x = np.arange(24.0).reshape(2, 3, 4)
    np.save(tmp_path / "x.npy", x)
    np.savez_compressed(tmp_path / "x.npz", images=x, y=np.arange(2))
    assert np.array_equal(read_array(tmp_path / "x.npy"), x)
    opened = open_arrays(tmp_path / "x.npz")
    assert set(opened.read) == {"images", "y"}
    assert np.array_equal(opened.array("images"), x)


@pytest.mark.parametrize(
    "text",
    [
        '{"a": NaN}',
        '{"a": 1e999}',
        '{"a": "1"}',
        '{"a": true}',
        '{"a": [1]}',
        "[1]",
        "5",
        "[" * 100_000,
        "{",
        '{"a": {}}',
        '{"flags": {"a": 1}}',
    ],
)
def test_a_row_holds_finite_numbers_alone(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected a table of numbers|nested too deeply|Expecting property name"):
        loads_numbers(text, "flags")
    with pytest.raises(ValueError, match="expected a table of numbers"):
        loads_numbers(json.dumps({"a": 10**400}), "flags")


READ = re.compile(r"\bjson\.loads?\(|model_validate_json\(|\bnp\.load\(|\bnumpy\.load\(|pickle\.load")


def test_all_json_and_arrays_are_read_in_one_place() -> None:
    root = Path(stored_files.__file__).parent
    found = {
        path.name
        for path in root.rglob("*.py")
        for line in path.read_text(encoding="utf-8").splitlines()
        if READ.search(line) and ">>>" not in line
    }
    assert found == {"stored_files.py"}
