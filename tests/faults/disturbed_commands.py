"""Commands in which something is to go wrong, what must be left of them, and what a user then does."""

import os
import re
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from faulty_disk import FaultyDisk, Killed
from faulty_memory import ERRORS, FaultyMemory
from safetensors.torch import load_file
from typer.main import get_command

from genprior import cli
from genprior.writing import MARK

TIMES = re.compile(
    r'"(seconds|inversion_seconds|images_per_second|own_sha256|checksum|sha256|log|parts/.*json)": ?("[^"]*"|[^,}]*)'
)
BUILT = get_command(cli.app)  # else built anew for each command, which takes longer than some of them
SUM, NUMBER = re.compile(r"[0-9a-f]{64}"), re.compile(r"-?\d+\.\d+(?:e[-+]\d+)?")
POINTS = "--preset points --data ring:count=500 --batch-size 50 --threads 1 --precision float32"


@dataclass(frozen=True)
class Tried:
    """A command in which something goes wrong.

    Attributes:
        words: It, at runs `run` and `points` and pictures `photos`.
        again: What a user then does; the first of these that ends well.
        makes: What is compared in the end.
        sample: Operations on files at which each fault is tried, where not all are asked for.
    """

    words: str
    again: tuple[str, ...]
    makes: str
    sample: int = 2


TRAIN = f"train gan {POINTS} --images-seen 200 --checkpoint-seconds 1e-9 --out out"
FORK = "train gan --fork points --images-seen 200 --loss hinge --checkpoint-seconds 1e-9 --out out"
RESTORE = "photos --batch-size 2 --starts 1 --iterations 2 --threads 1 --out out"
SMALL = "--data digits[:64] --held-out 0 --size 8 --batch-size 8 --images-seen 48 --threads 1 --precision float32"
FLOW = f"train flow-matching {SMALL} --model unet:width=4,levels=1,blocks=1"
MIXTURE = f"train mixture {SMALL} --components 2 --rank 2 --checkpoint-seconds 1e-9 --out out"
NOISY = "--operator denoise --noise gaussian:sigma=0.3"
JUDGED = "--data-root root --threads 1"
COMPARE = "compare run --held-out digits[64:] --count 2 --threads 1 --out out"
COMMANDS = {
    "train": Tried(TRAIN, ("resume out", TRAIN, f"{TRAIN} --overwrite"), "out"),
    "resume": Tried("resume points --images-seen 200", ("resume points --images-seen 200", "resume points"), "points"),
    "fork": Tried(FORK, ("resume out", FORK, f"{FORK} --overwrite"), "out"),
    "encoder": Tried("train encoder run --images-seen 512 --threads 1", (), "run"),
    "sample": Tried("sample run -n 3 --out out.npy", (), "out.npy"),
    "each": Tried("sample run -n 3 --each --out out", ("sample run -n 3 --each --out out --overwrite",), "out"),
    "invert": Tried(f"invert run {RESTORE}", (), "out"),
    "restore": Tried(f"restore run {RESTORE} --operator inpaint:box=3 --simulate", (), "out"),
    "degrade": Tried("degrade photos --batch-size 2 --operator inpaint:random=0.5 --out out", (), "out"),
    "evaluate": Tried(f"evaluate run --held-out digits[64:] --inversions 0 {JUDGED}", (), "run"),
    "report": Tried("report run", (), "run", sample=1),
    "diagnose": Tried(f"diagnose run {JUDGED}", (), "run"),
    "compare": Tried(COMPARE, (), "out", sample=1),
    "saturation": Tried("probe saturation run --steps 2 --threads 1", (), "run", sample=1),
    "collapse": Tried(f"probe collapse run --steps 1 --ages 1 {JUDGED}", (), "run", sample=1),
    "equilibrium": Tried("probe equilibrium run --steps 2 --threads 1", (), "run", sample=1),
    "flow": Tried(f"{FLOW} --out out", ("resume out", f"{FLOW} --out out", f"{FLOW} --out out --overwrite"), "out"),
    "mixture": Tried(MIXTURE, ("resume out", MIXTURE, f"{MIXTURE} --overwrite"), "out"),
    "calibrate": Tried(f"calibrate run {NOISY} --images digits[64:] --count 10 --draws 9 --threads 1", (), "run"),
    "residual": Tried("train residual run --images digits[64:] --count 20 --threads 1", (), "run"),
    "base": Tried("train base flow --components 2 --threads 1", (), "flow"),
    "draws": Tried(f"restore flow photos {NOISY} --draws 2 --threads 1 --batch-size 2 --out out", (), "out"),
}
RARE = {"flow", "mixture", "calibrate", "residual", "base", "draws"}  # tried where much is asked for


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit code, None where it was killed, and what it said."""

    code: int | None
    said: str


def told(patch: pytest.MonkeyPatch, words: str, capsys: pytest.CaptureFixture[str] | None) -> Ended:
    """Gives a command in this process."""
    patch.setattr(sys, "argv", ["genprior", *words.split()])
    patch.setattr(cli, "app", BUILT)
    code: int | None = None
    with warnings.catch_warnings():
        warnings.simplefilter("default")  # a user sees them
        try:
            cli.main()
        except SystemExit as end:
            code = int(end.code or 0)
        except Killed:
            pass
    output = capsys.readouterr() if capsys is not None else None
    return Ended(code, "" if output is None else output.out + output.err)


def disturbed(
    words: str, capsys: pytest.CaptureFixture[str], fault: str = "killed", at: int | None = None
) -> tuple[Ended, FaultyDisk | FaultyMemory]:
    """Gives a command with a disk, or a memory, that may fail under it."""
    with pytest.MonkeyPatch.context() as patch:
        if fault not in ERRORS:
            disk = FaultyDisk(patch, Path.cwd(), fault, at)
            return told(patch, words, capsys), disk
        with FaultyMemory(fault, at) as memory:
            return told(patch, words, capsys), memory


def contents(path: Path) -> dict[str, object]:
    """What is in a file, or in all files of a folder, without times; tensors as numbers."""
    files = [path] if path.is_file() else [each for each in sorted(path.rglob("*")) if each.is_file()]
    found: dict[str, object] = {}
    for file in files:
        name = file.relative_to(path).as_posix()
        if file.suffix == ".safetensors":
            found[name] = load_file(file)
        elif file.suffix in (".json", ".jsonl"):
            found[name] = TIMES.sub("", file.read_text())
        elif name == "table.csv":
            found[name] = re.sub(r"\d+ ms", "", file.read_text())
        elif not name.endswith(("lock", ".html")):
            found[name] = file.read_bytes()
        elif name.endswith(".html"):
            found[name] = len(file.read_bytes()) > 0
    return found


def check_equal(found: dict[str, object], expected: dict[str, object], *, rounded: bool) -> None:
    """Raises `AssertionError` where files differ.

    Arguments:
        found, expected: As `contents` returns them.
        rounded: Whether numbers may differ by rounding, as where a part was searched in halves; checksums then, too.
    """
    assert found.keys() == expected.keys(), f"files: {sorted(found.keys() ^ expected.keys())}"
    for name, value in found.items():
        if not rounded:
            assert _is_equal(value, expected[name]), name
            continue
        (numbers, rest), (usual, other) = _numbers(value), _numbers(expected[name])
        assert rest == other, name
        assert numbers == pytest.approx(usual, rel=1e-4, abs=1e-5, nan_ok=True), name


def _is_equal(value: object, other: object) -> bool:
    """Whether two files hold the same; what is not a number equals itself."""
    if not isinstance(value, dict) or not isinstance(other, dict):
        return value == other
    pairs = ((each, other[key]) for key, each in value.items() if key in other)
    return value.keys() == other.keys() and all(
        a.dtype == b.dtype and a.shape == b.shape and torch.allclose(a.double(), b.double(), 0, 0, equal_nan=True)
        for a, b in pairs
    )


def _numbers(value: object) -> tuple[list[float], object]:
    """The numbers of a file, and what else it holds."""
    if isinstance(value, str):
        text = SUM.sub("", value)
        return [float(each) for each in NUMBER.findall(text)], NUMBER.sub("", text)
    if isinstance(value, dict):
        flat = {key: each.flatten().tolist() for key, each in value.items()}
        return [each for key in sorted(flat) for each in flat[key]], sorted(flat)
    return [], value


def check_said(ended: Ended, fault: str, usual: int | None) -> None:
    """An error is one line that names a file, or what to lower; a command that got through said nothing of it."""
    assert ended.code in (usual, 2)
    assert "Traceback" not in ended.said
    if ended.code == 2:
        lines = [line for line in ended.said.splitlines() if line.startswith("genprior: ") and "warning" not in line]
        assert len(lines) == 1
        if fault in ERRORS:
            assert re.search(r"there is not enough memory.*( --[a-z]|close other programs)", lines[0])
        else:
            assert re.search(r"No space left|Permission denied|Input/output error", lines[0])


def check_gets_through(tried: Tried, usual: int | None, capsys: pytest.CaptureFixture[str]) -> None:
    """The same command, or what is to be done in its place, ends as usual; or says that all is done."""
    said = []
    for words in tried.again or (tried.words,):
        again, _ = disturbed(words, capsys)
        said.append(f"{words}: {again}")
        if again.code == usual or "is finished" in again.said or (not tried.again and "exists; replace" in again.said):
            return
    raise AssertionError("\n".join(said))


def age_leftovers(folder: Path) -> None:
    """Makes what a killed process was writing as old as it is when somebody comes back."""
    for path in folder.rglob(f"{MARK}*"):
        os.utime(path, (0, 0))
