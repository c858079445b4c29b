"""Whatever happens at any operation of any command: one line, nothing lost, and the same command gets through.

Operations are those on files, and those of torch, which ask for memory.
"""

import shutil
import time
from collections.abc import Callable
from itertools import product
from pathlib import Path

import pytest
from disturbed_commands import (
    COMMANDS,
    FLOW,
    POINTS,
    RARE,
    Ended,
    Tried,
    age_leftovers,
    check_equal,
    check_gets_through,
    check_said,
    contents,
    disturbed,
    told,
)
from faulty_disk import FAULTS
from faulty_memory import ERRORS

from genprior.writing import MARK
from tiny_run import make_tiny_run

SHORT = ("full", "denied", "killed")
PICTURE = "figures/samples.png"  # drawn when training has ended, never resumed
ALLOCATIONS = 100  # of all, at most, at which a lack of memory is tried where much is asked for
SLOW = {
    "compare",
    "saturation",
    "collapse",
    "equilibrium",
    "report",
    "fork",
}  # tried with disks alone where little is asked for

Begin = Callable[[], None]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Path:
    """A folder with runs, pictures and a judge, as it is before each command."""
    folder = tmp_path_factory.mktemp("place")
    make_tiny_run(folder / "run")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert told(patch, f"train gan {POINTS} --images-seen 100 --out points", None).code == 0
        assert told(patch, f"{FLOW} --out flow", None).code == 0
        assert told(patch, "sample run -n 3 --each --out photos", None).code == 0
    shutil.copytree(root, folder / "root")
    return folder


def points_of(count: int, most: int) -> list[int]:
    """Where a fault is tried: everywhere, or at `most` places that are spread over all."""
    if count <= most:
        return list(range(count))
    return [int((i + 0.5) * count / most) for i in range(most)]


def tried_at(
    tried: Tried, fault: str, at: int, usual: Ended, expected: dict[str, object], capsys: pytest.CaptureFixture[str]
) -> str:
    """Gives a command with one fault, and what gets through after it; returns what is wrong, or nothing."""
    ended, faulty = disturbed(tried.words, capsys, fault, at)
    what = f"{fault} at {at}, {faulty.done[at] if at < len(faulty.done) else '-'}: {ended}"
    try:
        assert faulty.has_fired
        if ended.code is not None:
            check_said(ended, fault, usual.code)
            assert not list(Path().rglob(f"{MARK}*")) or "unlink" in faulty.done[at], "leftovers"
        age_leftovers(Path())
        check_gets_through(tried, usual.code, capsys)
        found = contents(Path(tried.makes))
        wanted = {name: value for name, value in expected.items() if name != PICTURE or name in found}
        check_equal(found, wanted, rounded=fault in ERRORS)
    except AssertionError as error:
        return f"{what}\n{str(error)[:2000]}"
    return ""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """All commands with --long-faults; else those whose trials are quick."""
    if "kind" not in metafunc.fixturenames:
        return
    is_long = bool(metafunc.config.getoption("--long-faults"))
    slow = {"disk": set(RARE), "memory": {*RARE, *SLOW}}
    cases = [(name, kind) for kind in slow for name in COMMANDS if is_long or name not in slow[kind]]
    metafunc.parametrize(("name", "kind"), cases, ids=["-".join(each) for each in cases])


def test_a_fault_at_any_operation_loses_nothing(
    name: str,
    kind: str,
    place: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
    capsys: pytest.CaptureFixture[str],
) -> None:
    tried, long = COMMANDS[name], request.config.getoption("--long-faults")

    def begin() -> None:
        monkeypatch.chdir(tmp_path)
        shutil.rmtree(tmp_path / "here", ignore_errors=True)
        monkeypatch.chdir(shutil.copytree(place, tmp_path / "here"))

    faults = tuple(ERRORS) if kind == "memory" else FAULTS if long else SHORT
    most = min(long or 1, ALLOCATIONS) if kind == "memory" else long or tried.sample
    begin()
    usual, counted = disturbed(tried.words, capsys, faults[0])
    assert usual.code in (0, 1), usual.said
    expected = contents(Path(tried.makes))
    trials, began = list(product(faults, points_of(len(counted.done), most))), time.process_time()
    wrong = []
    for fault, at in trials:
        begin()
        wrong.append(tried_at(tried, fault, at, usual, expected, capsys))
    wrong = [each for each in wrong if each]
    if long:
        with capsys.disabled():
            minutes = (time.process_time() - began) / 60
            what = f"{len(counted.done)} operations, {len(trials)} trials, {minutes:.1f} minutes of the CPU"
            print(f"\n{name}, {kind}: {what}, {len(wrong)} wrong", *wrong, sep="\n")
    assert not wrong, f"{len(wrong)} of {len(trials)}:\n" + "\n".join(wrong[:20])
