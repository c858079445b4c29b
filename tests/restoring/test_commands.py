"""Parts of a folder of results: each done once, whoever does it and however often it is begun."""

import os
import threading
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest
from filelock import FileLock

from genprior.engines import EngineSettings
from genprior.errors import GenpriorError
from genprior.progress import Stage, result_of
from genprior.restoring.commands import COMMANDS, THIS_PROCESS, work_through
from genprior.restoring.job_settings import DegradeSettings, JobFlags
from genprior.restoring.ledger import LOCK, SETTINGS, Output, Prepared
from genprior.restoring.opened_output import opened
from genprior.restoring.records import DegradeSummary, ImageRow, JobRecord, JobSummary, Tally, write_model
from genprior.writing import MARK

SETTINGS_OF_JOB = DegradeSettings(images="a", operator="denoise")
TWO = EngineSettings(jobs=2)


@dataclass(frozen=True)
class Counting:
    """Work that notes in a file which parts it was asked for, in all processes."""

    log: Path
    seconds: float = 0.0
    killed_in: int | None = None
    broken: frozenset[int] = field(default_factory=frozenset)

    @property
    def summary(self) -> type[DegradeSummary]:
        return DegradeSummary

    @property
    def keeps_tensors(self) -> bool:
        return False

    def check(self, out: Path) -> None: ...

    def names(self) -> list[str]:
        return [str(i) for i in range(1000)]

    def is_readable(self, place: int) -> bool:
        return place not in self.broken

    def content(self, place: int) -> str:
        changed = self.log.with_name(f"changed-{place}")
        return changed.read_text() if changed.exists() else ""

    def do(self, output: Output, part: int) -> list[ImageRow]:
        with self.log.open("a") as file:
            file.write(f"{part}\n")
        time.sleep(self.seconds)
        if part == self.killed_in:
            raise KeyboardInterrupt
        places = output.items(part)
        output.tensors(part).write_text(f"{list(places)}")
        return [
            ImageRow(number=i, name=str(i), problem="broken") if i in self.broken else ImageRow(number=i, name=str(i))
            for i in places
        ]

    def files(self, output: Output, part: int) -> list[Path]:
        return [output.tensors(part)]

    def collect(self, output: Output) -> None:
        with self.log.open("a") as file:
            file.write("collected\n")
        tally = Tally(output.rows())
        numbers = [row.number for row in tally.good()]
        (output.path / "numbers.txt").write_text(f"{numbers}")
        write_model(tally.summary(DegradeSummary, SETTINGS_OF_JOB, 1.0, {"command": "degrade"}), output.summary)

    def tidy(self, output: Output, summary: JobSummary) -> None: ...


def record(**changes: object) -> JobRecord:
    settings = {"fidelity": "l1", **changes}
    return JobRecord(genprior="restore", settings=settings, source={"images": "a"})


def prepared(work: Counting, size: int = 3, **changes: object) -> Prepared[DegradeSummary]:
    settings = SETTINGS_OF_JOB.model_copy(update={"batch_size": size})
    return Prepared(work, record(**changes), 10, settings, "10 items")


def stages(path: Path, work: Counting, size: int = 3, engine: EngineSettings = THIS_PROCESS) -> list[Stage]:
    return list(work_through(partial(prepared, work, size), JobFlags(out=path / "out"), engine))


def output(path: Path, size: int = 3) -> Output:
    return Output(path / "out", 10, size)


def done(log: Path) -> list[str]:
    return log.read_text().split()


def test_all_parts_are_done_once_and_in_order(tmp_path: Path) -> None:
    log = tmp_path / "log"
    stages(tmp_path, Counting(log))
    assert done(log) == ["0", "1", "2", "3", "collected"]
    assert (tmp_path / "out" / "numbers.txt").read_text() == str(list(range(10)))
    stages(tmp_path, Counting(log))
    assert len(done(log)) == 5  # nothing is left to do


def test_stages_tell_counts_and_speed(tmp_path: Path) -> None:
    seen = stages(tmp_path, Counting(tmp_path / "log"))
    assert [each.fraction for each in seen] == [0, 0.3, 0.6, 0.9, 1]
    assert seen[0].what == "0 of 10 images"
    assert seen[0].notes == (f"{tmp_path / 'out'}: 10 items",)
    assert all(each.what.startswith("9 of 10 images  ") and each.what.endswith("/s") for each in seen[3:4])


def test_failures_are_alarms_before_the_end(tmp_path: Path) -> None:
    seen = stages(tmp_path, Counting(tmp_path / "log", broken=frozenset(range(2, 9))))
    alarms = [each.alarm for each in seen if each.alarm is not None]
    assert alarms[:5] == [f"{i}: broken" for i in range(2, 7)]
    assert alarms[5:] == ["7 of 10 images failed: mend them, and give the same command again"]
    assert (seen[-1].fraction, seen[-1].alarm) == (1, None)


def test_an_interrupted_part_is_done_again_and_finished_ones_are_not(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with pytest.raises(KeyboardInterrupt):
        stages(tmp_path, Counting(log, killed_in=2))
    assert done(log) == ["0", "1", "2"]
    assert output(tmp_path).finished_items() == 6
    (tmp_path / "out" / "parts" / f"{MARK}12ab34cd.json").write_text("{")  # another process is writing it
    assert output(tmp_path).finished_items() == 6
    assert not output(tmp_path).summary.exists()
    assert stages(tmp_path, Counting(log))[0].what == "6 of 10 images"
    assert done(log) == ["0", "1", "2", "2", "3", "collected"]


def test_a_kill_while_collecting_collects_again(tmp_path: Path) -> None:
    log = tmp_path / "log"
    stages(tmp_path, Counting(log))
    output(tmp_path).summary.unlink()
    stages(tmp_path, Counting(log))
    assert done(log)[-2:] == ["collected", "collected"]


def test_parts_with_mended_items_are_done_again(tmp_path: Path) -> None:
    log, broken = tmp_path / "log", frozenset({4})
    stages(tmp_path, Counting(log, broken=broken))
    stages(tmp_path, Counting(log, broken=broken))
    assert done(log) == ["0", "1", "2", "3", "collected"]
    stages(tmp_path, Counting(log))
    assert done(log)[5:] == ["1", "collected"]
    assert output(tmp_path).failed_items(1) == []


def test_parts_whose_inputs_changed_are_done_again_and_told(tmp_path: Path) -> None:
    log = tmp_path / "log"
    stages(tmp_path, Counting(log))
    (tmp_path / "changed-4").write_text("other")
    seen = stages(tmp_path, Counting(log))
    assert done(log)[5:] == ["1", "collected"]
    assert seen[0].what == "7 of 10 images"
    assert "the contents of 1 images or masks changed since" in seen[0].notes[1]
    assert len(stages(tmp_path, Counting(log))[0].notes) == 1
    assert len(done(log)) == 7


def test_results_that_do_not_tell_their_contents_are_made_anew(tmp_path: Path) -> None:
    log = tmp_path / "log"
    stages(tmp_path, Counting(log))
    output(tmp_path).finish(2, list(output(tmp_path).part_rows(2)), 0.0, [])
    stages(tmp_path, Counting(log))
    assert done(log)[5:] == ["2", "collected"]


def test_all_parts_are_done_again_where_the_tensors_of_others_are_gone(tmp_path: Path) -> None:
    log = tmp_path / "log"
    stages(tmp_path, Counting(log))
    for part in range(4):
        output(tmp_path).tensors(part).unlink()
    stages(tmp_path, Counting(log))
    assert len(done(log)) == 5
    (tmp_path / "changed-4").write_text("other")
    with pytest.raises(KeyboardInterrupt):
        stages(tmp_path, Counting(log, killed_in=0))
    stages(tmp_path, Counting(log))
    assert done(log)[5:] == ["0", "0", "1", "2", "3", "collected"]


# Several processes.


def test_two_workers_do_each_part_once(tmp_path: Path) -> None:
    log = tmp_path / "log"
    seen = stages(tmp_path, Counting(log, 0.02), size=1, engine=TWO)
    assert sorted(done(log)) == sorted([*map(str, range(10)), "collected"])
    assert [each.fraction for each in seen] == sorted(each.fraction for each in seen)
    assert (tmp_path / "out" / "numbers.txt").read_text() == str(list(range(10)))


def test_a_part_that_a_left_over_worker_holds_is_waited_for_and_not_done_again(tmp_path: Path) -> None:
    log, folder, holds = tmp_path / "log", begin(tmp_path / "out"), threading.Event()

    def finish_late() -> None:
        with folder.lock(0):
            holds.set()
            time.sleep(0.3)
            folder.finish(0, [ImageRow(number=i, name=str(i)) for i in range(3)], 0.0, ["", "", ""])

    left_over = threading.Thread(target=finish_late)
    left_over.start()
    holds.wait(10)
    stages(tmp_path, Counting(log))
    left_over.join()
    assert done(log) == ["1", "2", "3", "collected"]


def test_a_worker_that_sees_other_files_refuses(tmp_path: Path) -> None:
    def prepare() -> Prepared[DegradeSummary]:
        return prepared(Counting(tmp_path / "log"), fidelity="l1" if os.getpid() == here else "l2")

    here = os.getpid()
    with pytest.raises(GenpriorError, match=r"other settings \(fidelity l1 then, l2 now\)"):
        result_of(work_through(prepare, JobFlags(out=tmp_path / "out"), TWO))


def test_a_second_process_is_refused(tmp_path: Path) -> None:
    with opened(JobFlags(out=tmp_path / "out"), record(), 10, 3):
        for overwrite in (False, True):
            flags = JobFlags(out=tmp_path / "out", overwrite=overwrite)
            with pytest.raises(GenpriorError, match="another process works in") as raised:
                result_of(work_through(partial(prepared, Counting(tmp_path / "log")), flags))
            assert raised.value.argument == "out"
    stages(tmp_path, Counting(tmp_path / "log"))


# Whose folder it is.


def begin(out: Path, overwrite: bool = False, **changes: object) -> Output:
    with opened(JobFlags(out=out, overwrite=overwrite), record(**changes), 10, 3) as folder:
        return folder


def test_other_settings_are_refused_and_named(tmp_path: Path) -> None:
    begin(tmp_path / "out")
    with pytest.raises(GenpriorError, match=r"other settings \(fidelity l1 then, l2 now\): .*--overwrite") as raised:
        begin(tmp_path / "out", fidelity="l2")
    assert raised.value.argument == "out"


def test_results_from_before_there_were_draws_are_resumed(tmp_path: Path) -> None:
    begin(tmp_path / "out")
    begin(tmp_path / "out", draws=0, estimate=None)
    with pytest.raises(GenpriorError, match=r"other settings \(draws 0 then, 8 now\)"):
        begin(tmp_path / "out", draws=8)


def test_foreign_folders_are_refused_and_stay_as_they_are(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "thesis.txt").write_text("years of work")
    for overwrite in (False, True):
        with pytest.raises(GenpriorError, match="holds no results of genprior"):
            begin(folder, overwrite)
    assert [path.name for path in folder.iterdir()] == ["thesis.txt"]
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(GenpriorError, match="is a file; name a folder"):
        begin(file)
    with pytest.raises(GenpriorError, match="cannot write to"):
        begin(file / "out")


OTHER = '{"genprior": "degrade", "version": "1", "settings": {}, "source": {}}'


@pytest.mark.parametrize("text", [OTHER, '{"anything": 1}', "[]", "{"])
def test_results_of_something_else_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / SETTINGS).write_text(text)
    for overwrite in (False, True):
        with pytest.raises(GenpriorError) as raised:
            begin(tmp_path / "out", overwrite)
        assert raised.value.argument == "out"
    assert (tmp_path / "out" / SETTINGS).read_text() == text


def test_overwriting_removes_results_and_nothing_else(tmp_path: Path) -> None:
    stages(tmp_path, Counting(tmp_path / "log"))
    (tmp_path / "out" / "numbers.txt").rename(tmp_path / "out" / "notes.txt")
    fresh = begin(tmp_path / "out", overwrite=True, fidelity="l2")
    assert fresh.finished_items() == 0
    left = {path.name for path in fresh.path.iterdir()} - {LOCK}
    assert left == {"notes.txt", "parts", SETTINGS}


def test_a_folder_that_a_left_over_worker_uses_is_not_overwritten(tmp_path: Path) -> None:
    folder = begin(tmp_path / "out")
    with FileLock(folder.path / "parts" / "000007.lock"), pytest.raises(GenpriorError, match="another process works"):
        begin(folder.path, overwrite=True, fidelity="l2")
    assert (folder.path / SETTINGS).exists()


def test_overwriting_that_was_killed_is_done_again(tmp_path: Path) -> None:
    folder = begin(tmp_path / "out")
    (folder.path / "parts").rmdir()
    assert begin(tmp_path / "out", overwrite=True, fidelity="l2").finished_items() == 0


def test_file_names_that_are_no_unicode_are_kept(tmp_path: Path) -> None:
    folder, name = begin(tmp_path / "out"), os.fsdecode(b"caf\xe9")
    folder.finish(0, [ImageRow(number=0, name=name)], 0.0, [""])
    assert folder.part_rows(0)[0].name == name


@pytest.mark.parametrize("name", COMMANDS)
def test_the_table_of_commands_names_every_flag_once(name: str) -> None:
    settings = [each.name for model in COMMANDS[name].settings for each in model.settings()]
    assert len(settings) == len(set(settings))
    assert {"images", "out", "overwrite", "jobs", "engine", "scheduler", "threads"} <= set(settings)
