"""More than the memory holds, pipes in place of files, and rights that are missing: refused in one line, at once."""

import os
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from genprior import memory
from genprior.data import load_data
from genprior.data.image_files import image_files
from genprior.families import GANConfig
from genprior.runs.run_folder import Run

Command = Callable[..., str]
MANY = 99_999_999_999
TOO_MUCH = {
    "points": (f"data ring:count={MANY}", "--data: 99,999,999,999 points need about "),
    "samples": (f"sample run -n {MANY}", "--count: 99,999,999,999 samples need about "),
    "numbers": (f"sample run --out x.npy -n {MANY}", "--count: 99,999,999,999 samples need at least 25,600.0 GB in "),
    "single samples": (f"sample run --each -n {MANY}", "--count: 99,999,999,999 pictures need at least 6,700.0 GB in "),
    "rows": (f"sample run --interpolate -n {MANY}", "--count: 99,999,999,999 samples need about "),
    "wide networks": (
        "train gan --data digits[:64] --model dcgan:generator_width=1024 --out new --device cpu",
        "--model: networks of this width need about ",
    ),
    "long latents": (
        "train gan --data digits[:64] --size 8 --latent-size 65536 --out new --device cpu",
        "lower its width or --latent-size\n",
    ),
}


@pytest.mark.parametrize("case", TOO_MUCH)
def test_what_memory_cannot_hold_is_refused(
    case: str, genprior: Command, tiny_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "free_memory", lambda: 10**8)
    os.symlink(tiny_run, "run")
    words, told = TOO_MUCH[case]
    text = genprior(*words.split(), code=2)
    assert told in text
    assert not any(Path(name).exists() for name in ("new", "x.npy", "samples", "samples.png"))


ERRORS = {
    "torch": RuntimeError(
        "[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"
    ),
    "a GPU": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB"),
    "numpy": MemoryError("Unable to allocate 1.00 TiB"),
}


@pytest.mark.parametrize("whose", ERRORS)
def test_a_model_that_memory_cannot_hold_is_one_line(
    whose: str, genprior: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def build(*_: object) -> None:
        raise ERRORS[whose]

    monkeypatch.setattr(GANConfig, "build", build)
    text = genprior("train", "gan", "--data", "digits[:64]", "--out", "new", code=2)
    assert text == (
        "genprior: there is not enough memory: lower --batch-size, --size, --latent-size or the width in --model\n"
    )
    assert not Path("new").exists()


def test_a_picture_of_too_many_pixels_is_left_out(tmp_path: Path, genprior: Command) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    Image.new("L", (9000, 8000)).save(photos / "bomb.png")
    Image.new("L", (16, 16)).save(photos / "a.png")
    assert (photos / "bomb.png").stat().st_size < 10**6
    with pytest.warns(UserWarning, match=r"1 of 2 images cannot be read and are left out: bomb\.png"):
        assert len(load_data(photos, size=8)) == 1
    assert "72,000,000 pixels, at most" in genprior("data", photos, "--strict", "--size", 8, code=2)


PIPES = {
    "images": "invert run pipe.png --out out",
    "an array": "invert run pipe.npy --out out",
    "data": "train gan --data pipe.npz --out new",
    "an archive": "data pipe.zip",
    "settings": "train gan --config pipe.json --out new",
    "latents": "sample run --latents pipe.npy",
    "a mask": "restore run photos --operator inpaint --mask pipe.png --out out",
    "a config": "info piped",
}


@pytest.mark.parametrize("case", PIPES)
def test_pipes_are_not_waited_for(
    case: str, genprior: Command, tiny_run: Path, image_folder: Callable[..., Path]
) -> None:
    image_folder(2)
    os.symlink(tiny_run, "run")
    for name in ("pipe.png", "pipe.npy", "pipe.npz", "pipe.zip", "pipe.json"):
        os.mkfifo(name)
    Path("piped").mkdir()
    os.mkfifo("piped/config.json")
    text = genprior(*PIPES[case].split(), code=2)
    assert "pipe" in text
    assert text.count("\n") == 1


def test_a_folder_that_may_not_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("L", (8, 8)).save(tmp_path / "a.png")
    (tmp_path / "locked").mkdir()
    scan = os.scandir

    def refused(path: str) -> object:
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refused)
    with pytest.warns(UserWarning, match="locked cannot be read and is left out: Permission denied"):
        assert image_files(tmp_path) == ["a.png"]
    with warnings.catch_warnings():
        monkeypatch.undo()
        image_files(tmp_path)


@pytest.mark.parametrize("file", ["checkpoint", "counters.json", "tensors.safetensors"])
@pytest.mark.parametrize("command", ["resume {} --images-seen 2000", "sample {}", "info {}"])
def test_a_missing_right_never_leads_to_overwriting(
    file: str, command: str, genprior: Command, make_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run()

    def refuse(call: Callable[..., object]) -> Callable[..., object]:
        def refused(path: object, *others: object, **named: object) -> object:
            if str(path).endswith(file):
                raise PermissionError(13, "Permission denied", str(path))
            return call(path, *others, **named)

        return refused

    monkeypatch.setattr(os, "listdir", refuse(os.listdir))
    for name in ("read_bytes", "open"):
        monkeypatch.setattr(Path, name, refuse(getattr(Path, name)))
    needs_tensors = not command.startswith("info") and file.startswith("tensors")
    if command.startswith("info") and file.startswith("tensors"):
        genprior(*command.format(run.path).split())  # counters are enough
        return
    text = genprior(*command.format(run.path).split(), code=2)
    assert "cannot be read: Permission denied; give this user the right to read it" in text, needs_tensors
    assert "--overwrite" not in text


@pytest.mark.parametrize(
    "command", ["resume {} --images-seen 2000", "diagnose {}", "report {}", "sample {} --out {}/x.png"]
)
def test_a_run_that_may_not_be_written_is_found_before_the_work(
    command: str, genprior: Command, make_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run()
    opened = Path.open

    def refused(path: Path, mode: str = "r", *others: object, **named: object) -> object:
        if set(mode) & set("wax") and run.path in path.parents:
            raise PermissionError(30, "Read-only file system", str(path))
        return opened(path, mode, *others, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(Path, "open", refused)
    text = genprior(*command.replace("{}", str(run.path)).split(), code=2)
    assert "Read-only file system" in text
    assert "%" not in text
