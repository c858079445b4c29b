"""Whatever happens at any operation of any command: one line, nothing lost, and the same command gets through."""

import os
import re
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import pytest
from faulty_disk import FAULTS, FaultyDisk, Killed
from safetensors.torch import load_file

from genprior.cli import main
from genprior.writing import MARK
from tiny_run import make_tiny_run

SHORT = ("full", "denied", "killed")
TIMES = re.compile(r'"(seconds|images_per_second|own_sha256|checksum|sha256|log|parts/.*json)": ?("[^"]*"|[^,}]*)')
OLDER = re.compile("checkpoint/step-")  # kept where the disk may not have the newest: more is no loss
PICTURE = "figures/samples.png"  # drawn when training has ended, never resumed
POINTS = "--preset points --data ring:count=500 --batch-size 50 --threads 1 --precision float32"


@dataclass(frozen=True)
class Tried:
    """A command in which something goes wrong.

    Attributes:
        words: It, at a run `run` and pictures `photos`.
        again: What a user then does; the first of these that ends well.
        makes: What is compared in the end.
        sample: Operations at which each fault is tried, where not all are asked for.
    """

    words: str
    again: tuple[str, ...]
    makes: str
    sample: int = 2


TRAIN = f"train gan {POINTS} --images-seen 200 --checkpoint-seconds 1e-9 --out out"
RESTORE = "photos --batch-size 2 --starts 1 --iterations 2 --threads 1 --out out"
COMMANDS = {
    "train": Tried(TRAIN, ("resume out", TRAIN, f"{TRAIN} --overwrite"), "out"),
    "resume": Tried("resume points --images-seen 200", ("resume points --images-seen 200", "resume points"), "points"),
    "encoder": Tried("train encoder run --images-seen 512 --threads 1", (), "run"),
    "sample": Tried("sample run -n 3 --out out.npy", (), "out.npy"),
    "each": Tried("sample run -n 3 --each --out out", ("sample run -n 3 --each --out out --overwrite",), "out"),
    "invert": Tried(f"invert run {RESTORE}", (), "out"),
    "restore": Tried(f"restore run {RESTORE} --operator inpaint:box=3 --simulate", (), "out"),
    "degrade": Tried("degrade photos --batch-size 2 --operator inpaint:random=0.5 --out out", (), "out"),
    "evaluate": Tried("evaluate run --held-out digits[64:] --inversions 0 --data-root root --threads 1", (), "run"),
    "report": Tried("report run", (), "run", sample=1),
}


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit code, None where it was killed, and what it said."""

    code: int | None
    said: str


Run = Callable[[str], Ended]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Path:
    """A folder with runs, pictures and a judge, as it is before each command."""
    folder = tmp_path_factory.mktemp("place")
    make_tiny_run(folder / "run")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert told(patch, f"train gan {POINTS} --images-seen 100 --out points", None).code == 0
        assert told(patch, "sample run -n 3 --each --out photos", None).code == 0
    shutil.copytree(root, folder / "root")
    return folder


def told(patch: pytest.MonkeyPatch, words: str, capsys: pytest.CaptureFixture[str] | None) -> Ended:
    """Gives a command in this process."""
    patch.setattr(sys, "argv", ["genprior", *words.split()])
    code: int | None = None
    with warnings.catch_warnings():
        warnings.simplefilter("default")  # a user sees them
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        except Killed:
            pass
    output = capsys.readouterr() if capsys is not None else None
    return Ended(code, "" if output is None else output.out + output.err)


@pytest.fixture
def give(capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[..., Ended]]:
    """Gives a command, with a disk that may fail under it."""

    def run(words: str, fault: str = "killed", at: int | None = None) -> tuple[Ended, FaultyDisk]:
        with pytest.MonkeyPatch.context() as patch:
            disk = FaultyDisk(patch, Path.cwd(), fault, at)
            ended = told(patch, words, capsys)
        return ended, disk

    return run


def contents(path: Path) -> dict[str, object]:
    """What is in a file, or in all files of a folder, without times; tensors as numbers."""
    files = [path] if path.is_file() else [each for each in sorted(path.rglob("*")) if each.is_file()]
    found: dict[str, object] = {}
    for file in files:
        name = file.relative_to(path).as_posix()
        if ".tmp/" in name:  # of checkpoints, removed with the next one
            continue
        if file.suffix == ".safetensors":
            found[name] = {key: value.tolist() for key, value in load_file(file).items()}
        elif file.suffix in (".json", ".jsonl"):
            found[name] = TIMES.sub("", file.read_text())
        elif not name.endswith(("lock", ".html")):
            found[name] = file.read_bytes()
        elif name.endswith(".html"):
            found[name] = len(file.read_bytes()) > 0
    return found


def points_of(count: int, sample: int, long: bool) -> list[int]:
    """Where a fault is tried: everywhere, or at a sample that is spread over all."""
    if long or count <= sample:
        return list(range(count))
    return [int((i + 0.5) * count / sample) for i in range(sample)]


@pytest.mark.parametrize("name", COMMANDS)
def test_a_fault_at_any_operation_loses_nothing(
    name: str,
    place: Path,
    give: Callable[..., tuple[Ended, FaultyDisk]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
    capsys: pytest.CaptureFixture[str],
) -> None:
    tried = COMMANDS[name]

    where = tmp_path / "here"
    monkeypatch.chdir(tmp_path)

    def begin() -> None:
        monkeypatch.chdir(tmp_path)
        shutil.rmtree(where, ignore_errors=True)
        shutil.copytree(place, where)
        monkeypatch.chdir(where)

    begin()
    ended, disk = give(tried.words)
    assert ended.code == 0, ended.said
    expected = contents(where / tried.makes)
    long = request.config.getoption("--long-faults")
    trials = list(product(FAULTS if long else SHORT, points_of(len(disk.done), tried.sample, long)))
    if long:
        with capsys.disabled():
            print(f"\n{name}: {len(disk.done)} operations, {len(trials)} trials")
    for fault, at in trials:
        begin()
        ended, faulty = give(tried.words, fault, at)
        assert faulty.has_fired
        what = f"{fault} at {at}, {faulty.done[at]}: {ended}"
        if fault != "killed":
            check_said(ended, what)
            assert not list(where.rglob(f"{MARK}*")) or "unlink" in faulty.done[at], what
        age_leftovers(where)
        check_gets_through(tried, ended, give, what)
        found = contents(where / tried.makes)
        found = {name: value for name, value in found.items() if name in expected or not OLDER.match(name)}
        assert found == {name: value for name, value in expected.items() if name != PICTURE or name in found}, what


def check_said(ended: Ended, what: str) -> None:
    """An error is one line that names a file; a command that got through all the same said nothing of it."""
    assert ended.code in (0, 2), what
    assert "Traceback" not in ended.said, what
    if ended.code == 2:
        lines = [line for line in ended.said.splitlines() if line.startswith("genprior: ") and "warning" not in line]
        assert len(lines) == 1, what
        assert re.search(r"No space left|Permission denied|Input/output error", lines[0]), what


def check_gets_through(tried: Tried, ended: Ended, give: Callable[..., tuple[Ended, FaultyDisk]], what: str) -> None:
    """The same command, or what is to be done in its place, ends well; or says that all is done."""
    said = []
    for words in tried.again or (tried.words,):
        again, _ = give(words)
        said.append(f"{words}: {again}")
        if again.code == 0 or "is finished" in again.said or (not tried.again and "exists; replace" in again.said):
            return
    raise AssertionError(f"{what}\n" + "\n".join(said))


def age_leftovers(folder: Path) -> None:
    """Makes what a killed process was writing as old as it is when somebody comes back."""
    for path in folder.rglob(f"{MARK}*"):
        os.utime(path, (0, 0))
