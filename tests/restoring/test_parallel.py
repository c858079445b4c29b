"""Parts of a folder of results: each done once, whoever does it and however often it is begun."""

import json
import multiprocessing
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from genprior.errors import GenpriorError
from genprior.restoring.ledger import SETTINGS, Output, Row, open_output
from genprior.restoring.parallel import Job, refuse_overwriting_together, work_through

DECIDED = {"settings": {"fidelity": "l1"}, "source": {"images": "a"}}


@dataclass
class Counting:
    """Work that notes which parts it was asked for, in this process and, in a file, in all of them."""

    log: Path
    seconds: float = 0.0
    killed_in: int | None = None
    broken: set[int] = field(default_factory=set)

    def is_readable(self, place: int) -> bool:
        return place not in self.broken

    def do(self, output: Output, part: int) -> list[Row]:
        with self.log.open("a") as file:
            file.write(f"{part}\n")
        time.sleep(self.seconds)
        if part == self.killed_in:
            raise KeyboardInterrupt
        return [{"number": i} | ({"problem": "broken"} if i in self.broken else {}) for i in output.items(part)]

    def collect(self, output: Output) -> None:
        with self.log.open("a") as file:
            file.write("collected\n")
        output.summary.write_text(json.dumps({"numbers": [row["number"] for row in output.rows()]}))


def opened(path: Path, count: int = 10, size: int = 3, **changes: object) -> Output:
    decided = {**DECIDED, "settings": {**DECIDED["settings"], **changes}}
    return open_output(path / "out", "restore", decided, count, size)


def work(output: Output, work: Counting) -> None:
    for _ in work_through(Job(output, work, [])):
        pass


def done(log: Path) -> list[str]:
    return log.read_text().split()


def test_all_parts_are_done_once_and_in_order(tmp_path: Path) -> None:
    output, log = opened(tmp_path), tmp_path / "log"
    work(output, Counting(log))
    assert done(log) == ["0", "1", "2", "3", "collected"]
    assert json.loads(output.summary.read_text())["numbers"] == list(range(10))
    work(opened(tmp_path), Counting(log))
    assert len(done(log)) == 5  # nothing is left to do


def test_progress_tells_counts_and_speed(tmp_path: Path) -> None:
    seen = list(work_through(Job(opened(tmp_path), Counting(tmp_path / "log"), [])))
    assert [each.done for each in seen] == [0, 3, 6, 9, 10]
    assert seen[0].per_second is None
    assert all(each.per_second is not None and each.per_second > 0 for each in seen[1:])
    assert seen[-1].fraction == 1


def test_an_interrupted_part_is_done_again_and_finished_ones_are_not(tmp_path: Path) -> None:
    output, log = opened(tmp_path), tmp_path / "log"
    with pytest.raises(KeyboardInterrupt):
        work(output, Counting(log, killed_in=2))
    assert done(log) == ["0", "1", "2"]
    assert output.finished_items() == 6
    assert not output.summary.exists()
    progress = list(work_through(Job(opened(tmp_path), Counting(log), [])))
    assert progress[0].began == 6
    assert done(log) == ["0", "1", "2", "2", "3", "collected"]


def test_a_kill_while_collecting_collects_again(tmp_path: Path) -> None:
    output, log = opened(tmp_path), tmp_path / "log"
    work(output, Counting(log))
    output.summary.unlink()
    work(opened(tmp_path), Counting(log))
    assert done(log)[-2:] == ["collected", "collected"]


def test_parts_with_mended_items_are_done_again(tmp_path: Path) -> None:
    output, log = opened(tmp_path), tmp_path / "log"
    work(output, Counting(log, broken={4}))
    work(opened(tmp_path), Counting(log, broken={4}))
    assert done(log) == ["0", "1", "2", "3", "collected"]
    work(opened(tmp_path), Counting(log))
    assert done(log)[5:] == ["1", "collected"]
    assert output.failed_items(1) == []


def test_a_part_that_is_finished_while_it_is_claimed_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output, original = opened(tmp_path), Output.claimed

    @contextmanager
    def finished_by_another(self: Output, what: int | str, **named: bool) -> Iterator[bool]:
        with original(self, what, **named) as mine:
            if what == 1 and not self.is_finished(1):
                self.finish(1, [{"number": i} for i in self.items(1)], 0.0)
            yield mine

    monkeypatch.setattr(Output, "claimed", finished_by_another)
    work(output, Counting(tmp_path / "log"))
    assert done(tmp_path / "log") == ["0", "2", "3", "collected"]


def in_another_process(path: Path, work_: Counting) -> None:
    work(opened(path, size=1), work_)


def test_processes_share_a_folder(tmp_path: Path) -> None:
    log = tmp_path / "log"
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=in_another_process, args=(tmp_path, Counting(log, 0.02))) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(20)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    assert sorted(done(log)) == sorted([*map(str, range(10)), "collected"])


def test_parts_of_a_killed_process_are_taken_over(tmp_path: Path) -> None:
    log = tmp_path / "log"
    context = multiprocessing.get_context("fork")
    slow = context.Process(target=in_another_process, args=(tmp_path, Counting(log, 60.0)))
    slow.start()
    deadline = time.monotonic() + 10
    while not log.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    quick = context.Process(target=in_another_process, args=(tmp_path, Counting(log)))
    quick.start()
    while len(done(log)) < 10 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert quick.is_alive()  # it waits for the part that the slow one holds
    slow.kill()
    quick.join(10)
    assert quick.exitcode == 0
    assert done(log) == ["0", *map(str, range(1, 10)), "0", "collected"]


# Whose folder it is.


def test_other_settings_are_refused_and_named(tmp_path: Path) -> None:
    opened(tmp_path)
    with pytest.raises(GenpriorError, match=r"other settings \(fidelity l1 then, l2 now\): .*--overwrite") as raised:
        opened(tmp_path, fidelity="l2")
    assert raised.value.argument == "out"


def test_foreign_folders_are_refused_and_stay_as_they_are(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "thesis.txt").write_text("years of work")
    for overwrite in (False, True):
        with pytest.raises(GenpriorError, match="holds no results of genprior"):
            open_output(folder, "restore", DECIDED, 10, 3, overwrite=overwrite)
    assert [path.name for path in folder.iterdir()] == ["thesis.txt"]
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(GenpriorError, match="is a file; name a folder"):
        open_output(file, "restore", DECIDED, 10, 3)
    with pytest.raises(GenpriorError, match="cannot write to"):
        open_output(file / "out", "restore", DECIDED, 10, 3)


@pytest.mark.parametrize("text", ['{"genprior": "degrade"}', '{"anything": 1}', "[]", "{"])
def test_results_of_something_else_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / SETTINGS).write_text(text)
    for overwrite in (False, True):
        with pytest.raises(GenpriorError) as raised:
            open_output(tmp_path / "out", "restore", DECIDED, 10, 3, overwrite=overwrite)
        assert raised.value.argument == "out"
    assert (tmp_path / "out" / SETTINGS).read_text() == text


def test_overwriting_removes_results_and_nothing_else(tmp_path: Path) -> None:
    output = opened(tmp_path)
    work(output, Counting(tmp_path / "log"))
    (output.path / "notes.txt").write_text("mine")
    fresh = open_output(output.path, "restore", {"settings": {"fidelity": "l2"}}, 10, 3, overwrite=True)
    assert fresh.finished_items() == 0
    assert sorted(path.name for path in fresh.path.iterdir()) == ["notes.txt", "parts", SETTINGS]


def test_a_folder_in_use_is_not_overwritten(tmp_path: Path) -> None:
    output = opened(tmp_path)
    with output.claimed(1) as mine:
        assert mine
        with pytest.raises(GenpriorError, match="another process works in"):
            open_output(output.path, "restore", DECIDED, 10, 3, overwrite=True)
    assert (output.path / SETTINGS).exists()


def test_several_processes_do_not_start_anew_together(monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_overwriting_together(True)
    monkeypatch.setenv("WORLD_SIZE", "2")
    refuse_overwriting_together(False)
    with pytest.raises(GenpriorError, match="cannot start anew together"):
        refuse_overwriting_together(True)


def test_overwriting_that_was_killed_is_done_again(tmp_path: Path) -> None:
    output = opened(tmp_path)
    (output.path / "parts").rmdir()
    fresh = open_output(output.path, "restore", {"settings": {"fidelity": "l2"}}, 10, 3, overwrite=True)
    assert fresh.finished_items() == 0
