"""The commands of this room, from settings to what they print; `COMMANDS`, at the end, is the place to add one.

A job is worked through part by part, by one process or many, and then all is collected. Never imports torch itself.
"""

import shlex
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import Any, Generic, TypeVar

from genprior.engines import EngineSettings, worked_off
from genprior.errors import GenpriorError
from genprior.progress import Stage, Task
from genprior.restoring.job_settings import DegradeSettings, InvertSettings, JobFlags, RestoreSettings
from genprior.restoring.ledger import FILES, MASKS, Output, Prepared, Work
from genprior.restoring.opened_output import opened
from genprior.restoring.records import IMAGES, MEASUREMENTS, DegradeSummary, JobSummary, RestoreSummary, readable
from genprior.settings import Settings
from genprior.stored_files import read_model

S = TypeVar("S", bound=JobSummary)

THIS_PROCESS = EngineSettings()
FAILURES_SHOWN = 5


@dataclass(frozen=True)
class JobResult(Generic[S]):
    """A finished job: its folder, and what came of it."""

    path: Path
    summary: S


def work_through(
    prepare: Callable[[], Prepared[S]], flags: JobFlags, engine: EngineSettings = THIS_PROCESS
) -> Task[JobResult[S]]:
    """Does all parts that are not done, collects, and returns what came of the job.

    Finished parts are done again where the contents of an input changed, or where an item failed that can be read now.
    Whatever ends it leaves the finished parts as they are, and a part at hand to be done again.

    Arguments:
        prepare: Makes the job; must be picklable where workers are other processes, which call it once each.
        flags: Where the results go; the folder is made after `prepare`, so that bad input leaves none behind.
        engine: Who does the parts.

    Raises:
        GenpriorError: Bad input, another process works in the folder, or whatever the work raises.
    """
    prepared = prepare()
    work = prepared.work
    work.check(flags.out)
    with opened(flags, prepared.record, prepared.count, prepared.settings.batch_size) as output:
        notes = [f"{output.path}: {prepared.note}", *_reopened(output, work)]
        stage_of = _Clock(output).stage
        yield stage_of(*notes)
        worker = _Worker(uuid.uuid4().hex, prepare, output)
        left = [part for part in range(output.parts) if not output.is_finished(part)]
        with _kept(worker.job, prepared), closing(worked_off(worker, left, engine)) as done:
            for stage in (stage_of() for _ in done):
                if stage.fraction < 1:  # the last one comes when all is collected
                    yield stage
        if not output.summary.exists():
            work.collect(output)
        result = JobResult(output.path, read_model(output.summary, work.summary, "out"))
        work.tidy(output, result.summary)  # also where an earlier command was ended between the two
        output.close()
        for line in _alarms(result.summary):
            yield Stage(1.0, "", alarm=line)
        yield stage_of()
        return result


def invert_task(
    settings: InvertSettings, flags: JobFlags, engine: EngineSettings = THIS_PROCESS
) -> Task[JobResult[RestoreSummary]]:
    """Finds the latents of many images; arguments and errors as `work_through` has them."""
    from genprior.restoring.restore_job import prepare_inverting

    return work_through(partial(prepare_inverting, settings), flags, engine)


def restore_task(
    settings: RestoreSettings, flags: JobFlags, engine: EngineSettings = THIS_PROCESS
) -> Task[JobResult[RestoreSummary]]:
    """Restores many damaged images; arguments and errors as `work_through` has them."""
    from genprior.restoring.restore_job import prepare_restoring

    return work_through(partial(prepare_restoring, settings), flags, engine)


def degrade_task(
    settings: DegradeSettings, flags: JobFlags, engine: EngineSettings = THIS_PROCESS
) -> Task[JobResult[DegradeSummary]]:
    """Damages many images, to have something to restore; arguments and errors as `work_through` has them."""
    from genprior.restoring.degrading import prepare_degrading

    return work_through(partial(prepare_degrading, settings), flags, engine)


class _Clock:
    """How far a job is, and how fast since this process began."""

    def __init__(self, output: Output) -> None:
        self.output, self.began, self.start = output, output.finished_items(), time.perf_counter()

    def stage(self, *notes: str) -> Stage:
        done, total = self.output.finished_items(), self.output.count
        new, seconds = done - self.began, time.perf_counter() - self.start
        rate = f"  {new / seconds:,.0f}/s" if new >= 10 * seconds else f"  {new / seconds:.2g}/s"
        return Stage(done / total, f"{done:,} of {total:,} images" + (rate if new else ""), notes)


@dataclass(frozen=True)
class _Worker:
    """Does a part, in whatever process it is called.

    Attributes:
        job: Tells this job from all others that the process worked on.
        prepare: Makes the job in a process that does not have it yet.
        output: Where the results go.
    """

    job: str
    prepare: Callable[[], Prepared[Any]]
    output: Output

    def __call__(self, part: int) -> int:
        prepared = self._prepared()
        _set_threads(prepared.settings.threads)
        with self.output.lock(part):  # held by nobody, but for a worker that outlives a process that was killed
            if not self.output.is_finished(part):
                start = time.perf_counter()
                # before they are read: what is exchanged meanwhile is found out when the command is given again
                contents = list(map(prepared.work.content, self.output.items(part)))
                rows = prepared.work.do(self.output, part)
                files = prepared.work.files(self.output, part)
                self.output.finish(part, rows, time.perf_counter() - start, contents, files)
        return part

    def _prepared(self) -> Prepared[Any]:
        with _MAKING:
            if self.job not in _KEPT:
                _KEPT.clear()
                found = self.prepare()
                self.output.refuse_other(found.record, listed=True)
                _KEPT[self.job] = found
            return _KEPT[self.job]


_KEPT: dict[str, Prepared[Any]] = {}  # the job that this process works on
_MAKING = threading.Lock()


@contextmanager
def _kept(job: str, prepared: Prepared[Any]) -> Iterator[None]:
    _KEPT[job] = prepared
    try:
        yield
    finally:
        _KEPT.pop(job, None)


def _set_threads(count: int | None) -> None:
    if count is not None:
        import torch

        torch.set_num_threads(count)


def _reopened(output: Output, work: Work[Any]) -> Iterator[str]:
    """Has parts done again that no longer hold what their inputs say; yields a line that says so."""
    changed, is_tidy = 0, output.summary.exists() and not work.keeps_tensors
    gone, damaged = output.reopen_unfitting(set(work.names()))
    for part in filter(output.is_finished, range(output.parts)):
        then, now = output.contents(part), list(map(work.content, output.items(part)))  # older results do not tell
        differ = sum(before != after for before, after in zip_longest(then, now))
        changed += differ
        if differ or any(map(work.is_readable, output.failed_items(part))):
            output.reopen(part)
    damaged += [
        name for part in filter(output.is_finished, range(output.parts)) for name in _mended(output, part, is_tidy)
    ]
    damaged += _recollected(output, work)
    if not all(map(output.is_finished, range(output.parts))):  # some images are new
        output.summary.unlink(missing_ok=True)
    if not output.summary.exists():  # what is collected needs the tensors of all parts, and some jobs remove them
        for part in filter(output.is_finished, range(output.parts)):
            if not output.is_whole(part):
                output.reopen(part)
    if gone:
        yield f"{len(gone)} images are gone, such as {readable(gone[0])}: their pictures stay, their rows do not"
    if changed:
        yield f"the contents of {changed} images or masks changed since: their parts are made anew"
    if damaged:
        yield f"{len(damaged)} files of results are gone or damaged, such as {damaged[0]}: they are made anew"


def _mended(output: Output, part: int, is_tidy: bool) -> list[str]:
    """Has a finished part done again whose files are damaged; returns their names."""
    damaged = output.damaged_of(part, is_tidy=is_tidy)
    if damaged:
        output.reopen(part)
    return damaged


def _recollected(output: Output, work: Work[Any]) -> list[str]:
    """Has all collected again where a file that is made of all parts is damaged; returns the names of such files."""
    if not output.summary.exists():
        return []
    try:
        damaged = output.damaged(read_model(output.summary, work.summary, "out").files)
    except GenpriorError:
        damaged = [output.summary.name]
    if damaged:
        output.summary.unlink()
    return damaged


def _alarms(summary: JobSummary) -> Iterator[str]:
    """Lines about what failed."""
    for each in summary.failures[:FAILURES_SHOWN]:
        yield f"{each.name}: {each.problem}"
    for note, count in summary.notes.items():
        yield f"{count} of {summary.images} images: {note}"
    if summary.failed:
        yield f"{summary.failed} of {summary.images} images failed: mend them, and give the same command again"


def restored_lines(result: JobResult[RestoreSummary]) -> list[str]:
    """Returns lines about inverted or restored images: how good they are, and where they lie."""
    summary, facts = result.summary, {}
    for name, what in (("psnr", "{:.2f} dB"), ("ssim", "{:.3f}"), ("error", "{:.4g}"), ("iterations", "{:.0f}")):
        if name in summary.mean:
            mean, middle = what.format(summary.mean[name]), what.format(summary.median[name])
            facts[name.upper() if name in ("psnr", "ssim") else name] = f"{mean} on average, median {middle}"
    for name, counts in (("stopped", summary.stopped_counts), ("verdict", summary.verdict_counts)):
        if counts:
            facts[name] = ", ".join(f"{word} ({count})" for word, count in counts.items())
    return _aligned(result, facts)


def degraded_lines(result: JobResult[DegradeSummary]) -> list[str]:
    """Returns lines about damaged images: where they lie, and the command that restores them."""
    command = restoring_command(result.summary.settings, result.path)
    lines = [*_aligned(result, {}), f"restore them with: {command}"]
    if result.summary.failed < result.summary.images and not (result.path / MEASUREMENTS).exists():
        lines.append(
            "they have several sizes: RUN must be one of flow matching; pictures alone were written, of 8 bits"
        )
    return lines


def restoring_command(settings: DegradeSettings, out: Path) -> str:
    """Returns the command that restores what was damaged."""
    has_masks = (out / MASKS).is_dir()
    operator = [settings.operator.name, "--mask", str(out / MASKS)] if has_masks else [str(settings.operator)]
    seed = ["--seed", str(settings.seed)] if settings.seed else []
    flags = ["--operator", *operator, "--noise", str(settings.noise), *seed, "--out", f"{out}-restored"]
    has_array = (out / MEASUREMENTS).exists() or not (out / IMAGES).is_dir()
    return f"genprior restore RUN {shlex.join([str(out / (MEASUREMENTS if has_array else IMAGES)), *flags])}"


def _aligned(result: JobResult[Any], more: Mapping[str, str]) -> list[str]:
    summary = result.summary
    facts = {"images": str(summary.images), **more}
    if summary.images_per_second is not None:
        facts["speed"] = f"{summary.images_per_second:.3g} images a second and process"
    facts |= {what: str(result.path / file) for what, file in FILES.items() if (result.path / file).exists()}
    width = max(map(len, facts))
    return [f"{key:<{width}}  {value}" for key, value in facts.items()]


def _failed(result: JobResult[Any]) -> int:
    count: int = result.summary.failed
    return count


@dataclass(frozen=True)
class Command:
    """A command that works on many images.

    Attributes:
        help: What it does, in a sentence.
        settings: The models of its arguments and flags, in their order.
        run: One of each model, in that order -> a task.
        lines: Lines to print at the end.
        failed: How many images have no result; any at all is exit code 1.
    """

    help: str
    settings: tuple[type[Settings], ...]
    run: Callable[[Sequence[Any]], Task[JobResult[Any]]]
    lines: Callable[[JobResult[Any]], list[str]]
    failed: Callable[[JobResult[Any]], int] = _failed


COMMANDS: dict[str, Command] = {
    "invert": Command(
        "Find the latents of images: the codes from which a trained run makes them again.",
        (InvertSettings, JobFlags, EngineSettings),
        lambda models: invert_task(*models),
        restored_lines,
    ),
    "restore": Command(
        "Restore damaged images with a trained run.",
        (RestoreSettings, JobFlags, EngineSettings),
        lambda models: restore_task(*models),
        restored_lines,
    ),
    "degrade": Command(
        "Damage images, to have something to restore.",
        (DegradeSettings, JobFlags, EngineSettings),
        lambda models: degrade_task(*models),
        degraded_lines,
    ),
}
