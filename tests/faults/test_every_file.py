"""Whatever is wrong with a file: one line that names it, no traceback, and never another answer without a word.

Files are cut off, emptied, lost, exchanged, have bits flipped, and hold values of other types. What is altered is found
by its checksum. What somebody signed anew, or an older version wrote without one, must at least end in a line.
"""

import hashlib
import json
import random
import re
import shutil
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from finished_folders import COMMANDS, QUICK
from genprior.cli import main
from genprior.report import page
from genprior.stored_files import CHECKSUM, signed

PAINTED = COMMANDS[5]
RESTORE = f"restore run damaged/measurements.npy {QUICK} --operator denoise --out again"
CHECKS = ("check run", "check job", "check damaged", "check comparison", "check judges")
INFO, DRAWN = "info run", "sample run -n 3 --out x.npy --overwrite"
REPORT = "report run --out page.html --overwrite"
JUDGED = COMMANDS[1]
READERS = {  # what reads a file, by how its path begins; `check` of the folder comes first in any case
    "run/config": (INFO, DRAWN),
    "run/environment": (INFO, DRAWN),
    "run/checkpoint": (INFO, DRAWN),
    "run/steps": (INFO, REPORT),
    "run/events": (INFO, REPORT),
    "run/history": (REPORT,),
    "run/metrics": (REPORT,),
    "run/diagnosis": (REPORT,),
    "run/encoder.s": (DRAWN,),
    "run/encoder.j": (),
    "run/residual.s": (DRAWN,),
    "run/residual.j": (),
    "job/": (PAINTED,),
    "damaged/measurements": (RESTORE,),
    "damaged/degradation": (RESTORE,),
    "damaged/": (),
    "judges/": (JUDGED,),
    "comparison/": (),
    "study/": (),
}
VALUES = (None, True, -1, 0, 10**30, 1e308, "", "x", "../../x", "\ud800", [], {}, [[-1]], {"a": None})
DEEP = "[" * 100_000
SAMPLE = 40  # of all that may be done to all files, where not all is asked for
MOST = 2_000
VOLATILE = re.compile(r"\d[\d.,]*( images a second|/s)|\d+:\d\d left|0x[0-9a-f]+")


@dataclass(frozen=True)
class Damage:
    """What is done to a file.

    Attributes:
        file: Its path.
        what: In words.
        is_signed: Whether the checksum fits again, so that only a traceback is wrong.
        content: What it holds then; None: it is gone.
    """

    file: str
    what: str
    is_signed: bool
    content: bytes | None


@dataclass(frozen=True)
class Answer:
    """Exit code, what was said, and what was made."""

    code: int
    said: str
    made: dict[str, str]


def answer(words: str) -> Answer:
    """Gives a command in this process, as a shell does: warnings are lines."""
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings(), Caught() as caught:
        warnings.simplefilter("always")
        patch.setattr(sys, "argv", ["genprior", *words.split()])
        patch.setattr(warnings, "showwarning", warnings.showwarning)
        for drawing in ("curves_svg", "points_svg", "counts_svg"):  # what is drawn is compared; drawing takes seconds
            patch.setattr(page, drawing, lambda *values: str(values))
        with pytest.raises(SystemExit) as ended:
            main()
    out = re.search(r"--out (\S+)", words)
    told = Path("page.html").read_text() if words == REPORT and not ended.value.code else ""
    return Answer(int(ended.value.code or 0), caught.text + told, made(Path(out[1])) if out else {})


class Caught:
    """Catches what is printed; pytest's own way would need a fixture in each function."""

    def __enter__(self) -> "Caught":
        from io import StringIO

        self.before, self.file, self.text = (sys.stdout, sys.stderr), StringIO(), ""
        sys.stdout = sys.stderr = self.file
        return self

    def __exit__(self, *_: object) -> None:
        sys.stdout, sys.stderr = self.before
        self.text = VOLATILE.sub("", self.file.getvalue())


def made(path: Path) -> dict[str, str]:
    """What results say, without times: pictures, arrays and pages."""
    files = [path] if path.is_file() else [each for each in sorted(path.rglob("*")) if each.is_file()]
    kinds = (".png", ".npy", ".csv", ".html")
    return {str(file): hashlib.sha256(file.read_bytes()).hexdigest() for file in files if file.suffix in kinds}


@pytest.fixture(scope="module")
def place(folders: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of one of everything that genprior stores."""
    return shutil.copytree(folders, tmp_path_factory.mktemp("stored") / "place")


def stored(place: Path) -> list[str]:
    """All files that are not locks, pages or drawings, which nothing reads."""
    files = sorted(
        each.relative_to(place).as_posix() for words in CHECKS for each in (place / words.split()[1]).rglob("*")
    )
    unread = ("lock", ".html", "pairs.png", "candidates.png", "draws.png", "figures/samples.png")
    return [name for name in files if (place / name).is_file() and not name.endswith(unread)]


def fields(values: Any, where: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:  # noqa: ANN401
    """The ways to all fields of JSON; of long lists the first and the last."""
    pairs = list(values.items()) if isinstance(values, dict) else []
    if isinstance(values, list):
        pairs = [(i, values[i]) for i in sorted({0, len(values) - 1}) if values]
    for key, value in pairs:
        yield (*where, key)
        yield from fields(value, (*where, key))


def altered(values: Any, where: tuple[Any, ...], value: object, *, removed: bool = False) -> Any:  # noqa: ANN401
    """A copy of JSON with another value in a field, or without it."""
    copy = json.loads(json.dumps(values))
    inside = copy
    for key in where[:-1]:
        inside = inside[key]
    if removed:
        del inside[where[-1]]
    else:
        inside[where[-1]] = value
    return copy


def damages(place: Path, draw: random.Random) -> Iterator[Damage]:
    """Everything that may be done to all files."""
    names = stored(place)
    for name in names:
        content = (place / name).read_bytes()
        yield Damage(name, "gone", False, None)
        yield Damage(name, "empty", False, b"")
        yield Damage(name, "cut off", False, content[: draw.randrange(1, len(content))])
        yield Damage(name, "exchanged", False, (place / draw.choice(names)).read_bytes())
        for _ in range(8):
            flipped = bytearray(content)
            flipped[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
            yield Damage(name, "a bit flipped", False, bytes(flipped))
        if name.endswith((".json", ".jsonl")):
            yield from _of_json(name, content.decode(), draw)


def _of_json(name: str, text: str, draw: random.Random) -> Iterator[Damage]:
    lines = text.splitlines() if name.endswith("l") else [text]
    number = draw.randrange(len(lines))
    values = json.loads(lines[number])

    def damage(what: str, line: str, *, is_signed: bool) -> Damage:
        whole = [*lines[:number], line.rstrip("\n"), *lines[number + 1 :]]
        return Damage(name, what, is_signed, ("\n".join(whole) + "\n").encode("utf-8", "surrogatepass"))

    yield damage("nested deeply", DEEP, is_signed=False)
    yield damage("a key twice", lines[number].replace("{", '{"a": 1, "a": 2, ', 1), is_signed=False)
    for where in fields(values):
        for value in VALUES:
            again = altered(values, where, value)
            what = f"{'.'.join(map(str, where))} = {value!r}"
            yield damage(what, json.dumps(again), is_signed=False)
            if CHECKSUM not in where and not name.endswith("counters.json"):
                yield damage(f"{what}, signed", signed(json.dumps(again), None), is_signed=True)
        gone = altered(values, where, None, removed=True)
        yield damage(f"no {'.'.join(map(str, where))}", json.dumps(gone), is_signed=where == (CHECKSUM,))


def readers(file: str) -> tuple[str, ...]:
    """The commands that read a file."""
    words = next(words for start, words in READERS.items() if file.startswith(start))
    return (f"check {file.partition('/')[0]}", *words)


def is_told(damage: Damage, given: Answer) -> bool:
    """Whether an answer names the file that is damaged, or its folder, or says that it is made anew."""
    name, folder = Path(damage.file).name, Path(damage.file).parent.name
    return any(word in given.said for word in (name, f"/{folder}", f"  {folder}: ", "anew"))


def tried(damage: Damage, place: Path, expected: dict[str, Answer]) -> str:
    """Does a damage, gives all commands that read the file, and mends it; returns what is wrong with the answers."""
    folder, words = damage.file.partition("/")[0], readers(damage.file)
    path = place / damage.file
    before, whole = path.read_bytes(), place / ".whole"
    shutil.rmtree(whole, ignore_errors=True)
    shutil.copytree(place / folder, whole)
    if damage.content is None:
        path.unlink()
    else:
        path.write_bytes(damage.content)
    given = []
    try:
        for each in words:
            given.append(answer(each))
    except Exception as error:
        return f"{damage.file}, {damage.what}: {words[len(given)]}: {type(error).__name__}: {error}"
    finally:
        shutil.rmtree(place / folder)
        whole.rename(place / folder)
        shutil.rmtree(place / "again", ignore_errors=True)
    assert path.read_bytes() == before
    return "" if damage.is_signed else _judged(damage, words, given, expected)


def _judged(damage: Damage, words: tuple[str, ...], given: list[Answer], expected: dict[str, Answer]) -> str:
    """What is wrong with answers, where the file was altered: each of them must be the same as before, or tell it."""
    for word, each in zip(words, given, strict=True):
        is_known_lost = damage.content is None and given[0].code == 1  # what is gone, `check` alone may miss
        if each != expected[word] and not is_told(damage, each) and not is_known_lost:
            return f"{damage.file}, {damage.what}: {word}: another answer without a word: {each.said}"
    return ""


@pytest.fixture(scope="module")
def expected(place: Path) -> dict[str, Answer]:
    """The answers while all is whole."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        found = {}
        for words in sorted({*CHECKS, *(each for own in READERS.values() for each in own)}):
            found[words] = answer(words)
            shutil.rmtree(place / "again", ignore_errors=True)
        return found


def test_no_damage_ends_in_a_traceback_or_in_another_answer(
    place: Path, expected: dict[str, Answer], request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    assert all(readers(name) for name in stored(place))
    draw = random.Random(0)
    every = list(damages(place, draw))
    long = request.config.getoption("--long-faults")
    chosen = draw.sample(every, min(len(every), long or SAMPLE, MOST))
    wrong = [problem for problem in (tried(each, place, expected) for each in chosen) if problem]
    assert not wrong, f"{len(wrong)} of {len(chosen)}:\n" + "\n".join(wrong[:20])
