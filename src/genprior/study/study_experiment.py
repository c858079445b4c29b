"""The study as an experiment: which cells and measures its statements need, in which order, and what is found.

Imports no torch before it measures. `EXPERIMENTS`, at the end, is what the command line reads.
"""

import os
import platform
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genprior.engines import worked_off
from genprior.errors import GenpriorError
from genprior.progress import Stage, Task
from genprior.runs.experiment import Experiment, aligned, read_result, save_result
from genprior.settings import Model
from genprior.stored_files import read_model
from genprior.study.comparing_studies import compared
from genprior.study.statements import STATEMENTS
from genprior.study.study_cells import CELLS
from genprior.study.study_evidence import DIGITS, Need, StudyEvidence
from genprior.study.study_record import JudgedStatement, StudiedRun, StudyResult
from genprior.study.study_settings import StudySettings
from genprior.writing import refuse_unwritable

if TYPE_CHECKING:
    from genprior.study.study_jobs import StudyJob

ENOUGH_IMAGES = 50_000  # that flow matching sees: after fewer nothing is refuted of posteriors
WITHOUT_BF16 = 2.2  # times as long as costs say, which were measured with it: a lesson took 2.1, a demo 2.2
RESULT, ASKED, PAGE, TEXT = "study.json", "asked.json", "index.html", "study.md"


class AskedStudy(Model):
    """What a folder was made for: everything in it belongs to these settings, this spending and these images.

    Attributes:
        settings: Of the study.
        spending: What its size allows.
        learned_sha256, held_out_sha256: Of the contents of the images.
    """

    settings: StudySettings
    spending: dict[str, float]
    learned_sha256: str
    held_out_sha256: str


@dataclass(frozen=True)
class StudyPlan:
    """What is to be done.

    Attributes:
        settings: Of the study.
        names: Statements that are asked for.
        waves: Jobs that need those of the waves before.
        missing: Why cells cannot be trained, by their names, of all statements.
        data: What the images are, in words.
        asked: What its folder is made for.
    """

    settings: StudySettings
    names: tuple[str, ...]
    waves: "tuple[list[StudyJob], ...]"
    missing: Mapping[str, str]
    data: str
    asked: AskedStudy


def stages(settings: StudySettings, kept: StudyResult | None = None) -> Task[StudyResult]:
    """Trains what statements need, measures it, and judges; what is done is never done again.

    Raises:
        GenpriorError: The folder holds something else, another process works in it, or images cannot be had.
    """
    from genprior.runs.prepare import refuse_among_images
    from genprior.runs.run_folder import alone_in
    from genprior.study.study_jobs import done

    refuse_among_images(settings.out, settings.data)
    if settings.publish is not None:
        refuse_among_images(settings.publish, settings.data, argument="publish")
        _check_published(settings, settings.publish)
    other = _other(settings)
    plan = planned(settings)
    _check_folder(plan)
    with alone_in(settings.out):
        save_result(settings.out / ASKED, plan.asked)
        waves = [sorted((job for job in wave if not job.is_done), key=lambda job: -job.cost) for wave in plan.waves]
        total, count = sum(job.cost for wave in plan.waves for job in wave), _jobs(plan) - sum(map(len, waves))
        spent = total - sum(job.cost for wave in waves for job in wave)
        yield Stage(spent / total, "", notes=(_headline(plan, waves),))
        for left in waves:
            if left and left[0].measure is not None:
                yield Stage(spent / total, "all is trained; what judges the images is made ready")
                _ = replace(left[0].opened).judge  # trained once, before workers ask for it at the same time
            if left:
                first = f"now: {_title(plan, left[0])}, about {_pace(plan) * left[0].cost / 60:.1f} min"
                yield Stage(spent / total, f"{count} of {_jobs(plan)} done; {first}")
            for finished in worked_off(done, left, settings):
                spent, count = spent + finished.cost, count + 1
                part = None if finished.measure is None else _judged(plan, other, is_complete=False)
                yield Stage(min(1.0, spent / total), _told(plan, finished, count), found=part)
        return _judged(plan, other, is_complete=True)


def planned(settings: StudySettings) -> StudyPlan:
    """Returns what is to be done for the statements of the settings; errors as `stages` has them."""
    from genprior.families import parse_config
    from genprior.study.opened_cell import OpenedCell, held_out_of
    from genprior.study.study_cells import settings_of
    from genprior.study.study_jobs import StudyJob, impossible

    names = tuple(name for name in STATEMENTS if not settings.statement or name in settings.statement)
    needs = dict.fromkeys(need for name in names for need in STATEMENTS[name].needs)
    try:
        split = parse_config(settings_of(CELLS["non-saturating"], settings, settings.seed)).load_split()
    except GenpriorError as error:  # runs call the pixels of images their size
        argument = "pixels" if error.argument == "size" else error.argument
        raise GenpriorError(error.message, argument=argument) from error
    held_out, learned = held_out_of(split), split.learned
    missing = impossible(settings, learned)
    cells = [cell for cell in CELLS if cell in _trained_for(needs) and cell not in missing]
    if not cells:
        reason = next(reason for cell, reason in missing.items() if cell in _trained_for(needs))
        raise GenpriorError(f"nothing that these statements need can be trained: {reason}", argument="data")
    opened = {(cell, seed): OpenedCell(settings, cell, seed) for seed in settings.seeds for cell in cells}
    fresh = [StudyJob(each) for (cell, _), each in opened.items() if CELLS[cell].begins_as is None]
    warm = [StudyJob(each) for (cell, _), each in opened.items() if CELLS[cell].begins_as in cells]
    measured = [
        StudyJob(opened[cell, seed], kind) for seed in settings.seeds for cell, kind in needs if (cell, seed) in opened
    ]
    shape = "x".join(map(str, learned.image_shape))
    data = f"{len(learned):,} images of {shape} from {settings.data}; {len(held_out):,} more are held out"
    asked = AskedStudy(
        settings=settings,
        spending=asdict(settings.spending),
        learned_sha256=learned.fingerprint(),
        held_out_sha256=held_out.fingerprint(),
    )
    return StudyPlan(settings, names, (fresh, warm, measured), missing, data, asked)


def _trained_for(needs: Iterable[Need]) -> set[str]:
    """Cells that are trained, and those with which they begin."""
    cells = {cell for cell, _ in needs}
    return cells | {source for cell in cells if (source := CELLS[cell].begins_as) is not None}


def evidence_of(plan: StudyPlan) -> StudyEvidence:
    """Returns all that is measured so far, also for statements that are not asked for."""
    from genprior.study.opened_cell import OpenedCell

    settings, found = plan.settings, {}
    for cell, kind in dict.fromkeys(need for each in STATEMENTS.values() for need in each.needs):
        files = (OpenedCell(settings, cell, seed).file(kind.__name__) for seed in settings.seeds)
        found[cell, kind.__name__] = [read_result(file, kind) for file in files]
    is_brief = settings.spending.flow_images < ENOUGH_IMAGES
    failed = {run.cell: f"{run.cell} ended with {run.failed}" for run in _runs(plan) if run.failed}
    has_digits = plan.settings.data.partition(":")[0].partition("[")[0] in DIGITS
    return StudyEvidence(found, {**plan.missing, **failed}, has_digits, settings.spending.draws, is_brief)


def _judged(plan: StudyPlan, other: StudyResult | None, *, is_complete: bool) -> StudyResult:
    """Judges what is asked for, and what was measured whole before."""
    evidence, seeds = evidence_of(plan), len(plan.settings.seeds)
    judged = []
    for name, statement in STATEMENTS.items():
        if name not in plan.names and not evidence.is_whole(statement.needs, seeds):
            continue
        finding = statement.finding(evidence)
        advice = statement.advice_for(finding.outcome)
        judged.append(
            JudgedStatement(name=name, title=statement.title, claim=statement.claim, finding=finding, advice=advice)
        )
    runs = tuple(_runs(plan))
    result = StudyResult(
        settings=plan.settings,
        is_complete=is_complete,
        data=plan.data,
        made=_made(),
        statements=tuple(judged),
        runs=runs,
    )
    return result.model_copy(update={"comparison": None if other is None else compared(result, other)})


def _made() -> str:
    """With which version, when, and on what, as a page is cited."""
    today = datetime.now(UTC)
    machine = f"{platform.machine()} with {os.cpu_count()} cores"
    return f"genprior {version('genprior')}, {today.day} {today:%B %Y}, {machine}"


def _runs(plan: StudyPlan) -> list[StudiedRun]:
    """All runs that are trained so far, with commands for the folder as it is called now, and their steps."""
    from genprior.runs.checkpoint import load_counters
    from genprior.study.opened_cell import OpenedCell
    from genprior.study.study_jobs import TRAINED, run_record

    def now(each: OpenedCell, run: StudiedRun) -> StudiedRun:
        if not each.folder.is_dir():
            trained = each.file(TRAINED)
            told = f"{each.folder} is gone; put it back, or delete {trained} and let the same command train it again"
            raise GenpriorError(told, argument="out")
        counters, _ = load_counters(each.run.checkpoints)
        steps = run.steps if counters is None else counters.step
        return run.model_copy(update={"command": run_record(each).command, "steps": steps})

    opened = [OpenedCell(plan.settings, cell, seed) for seed in plan.settings.seeds for cell in CELLS]
    trained = [(each, read_result(each.file(TRAINED), StudiedRun)) for each in opened]
    return [now(each, run) for each, run in trained if run is not None]


def _check_folder(plan: StudyPlan) -> None:
    """Raises `GenpriorError` where the folder holds something else, or a study of other settings or images."""
    out, asked = plan.settings.out, plan.settings.out / ASKED
    if out.exists() and not out.is_dir():
        raise GenpriorError(f"{out} is no folder; choose another one", argument="out")
    if not asked.exists():
        if out.exists() and any(path.name != "lock" for path in out.iterdir()):
            raise GenpriorError(f"{out} holds something else than a study; choose another folder", argument="out")
        return
    then, now = read_model(asked, AskedStudy, "out"), plan.asked
    of_this_size = then.settings.model_copy(update={"size": now.settings.size})  # which stands for what is spent
    if not of_this_size.same_outcome(now.settings):
        raise GenpriorError(f"{out} holds a study of other settings; choose another folder with --out", argument="out")
    differ = [
        f"{name.replace('_', ' ')} {then.spending[name]:g} there, {value:g} now"
        for name, value in now.spending.items()
        if name != "seeds" and then.spending.get(name, value) != value  # one size may go on with more seeds
    ]
    if differ:
        told = f"{out} holds a study that spends something else: {', '.join(differ)}; choose another folder with --out"
        raise GenpriorError(told, argument="out")
    if (then.learned_sha256, then.held_out_sha256) != (now.learned_sha256, now.held_out_sha256):
        raise GenpriorError(
            f"{out} holds a study of other images: {now.settings.data} has changed since; choose another folder with "
            "--out",
            argument="data",
        )


def _check_published(settings: StudySettings, folder: Path) -> None:
    """Raises `GenpriorError` where the copy of the page cannot be written, or would take the place of another."""
    if folder.resolve() == settings.out.resolve():
        raise GenpriorError(f"{folder} is the study itself; choose another folder", argument="publish")
    place = next(each for each in (folder, *folder.absolute().parents) if each.exists())
    if not place.is_dir():
        raise GenpriorError(f"{place} is no folder; choose another one", argument="publish")
    if folder.is_dir() and any(folder.iterdir()):
        there = read_result(folder / RESULT, StudyResult)
        if there is None or (folder / ASKED).exists():
            told = f"{folder} holds something else than a published study; choose another folder"
            raise GenpriorError(told, argument="publish")
        if not there.settings.same_outcome(settings):
            other = f"another study, of {there.settings.data} and size {there.settings.size}"
            raise GenpriorError(f"{folder} holds {other}; choose another folder, or remove it", argument="publish")
    try:
        refuse_unwritable(folder)
    except OSError as error:
        raise GenpriorError(f"{folder} cannot be written: {error.strerror}", argument="publish") from error


def _other(settings: StudySettings) -> StudyResult | None:
    if settings.against is None:
        return None
    if settings.against.resolve() == (settings.out / RESULT).resolve():
        raise GenpriorError(f"{settings.against} is this study's own; name that of another one", argument="against")
    return read_model(settings.against, StudyResult, "against")


def _headline(plan: StudyPlan, waves: "list[list[StudyJob]]") -> str:
    """What is studied, and what of it is still to do, at the pace of what was trained here before."""
    minutes = _pace(plan) * sum(job.cost for left in waves for job in left) / 60
    trainings, measurements = len(waves[0]) + len(waves[1]), len(waves[2])
    needed = _trained_for(need for name in plan.names for need in STATEMENTS[name].needs)
    return "; ".join(
        [
            f"{plan.data}; {len(plan.names)} statements, {len(plan.settings.seeds)} seeds",
            f"to do: {trainings} trainings and {measurements} measurements, roughly {minutes:.0f} minutes of one core",
            *dict.fromkeys(reason for cell, reason in plan.missing.items() if cell in needed),
        ]
    )


def _pace(plan: StudyPlan) -> float:
    """Seconds that this folder's trainings took for each second that they were said to cost."""
    import torch

    from genprior.hardware import resolve_precision

    costs = {(job.opened.cell, job.opened.seed): job.cost for wave in plan.waves[:2] for job in wave}
    whole = (run for run in _runs(plan) if not run.failed and (run.cell, run.seed) in costs)
    took = [(60 * run.minutes, costs[run.cell, run.seed]) for run in whole]
    if took:
        return sum(seconds for seconds, _ in took) / sum(cost for _, cost in took)
    return 1.0 if resolve_precision("auto", torch.device("cpu")) == "bf16" else WITHOUT_BF16


def _told(plan: StudyPlan, job: "StudyJob", count: int) -> str:
    """How much is done, and what was done last."""
    return f"{count} of {_jobs(plan)} done; last: {_title(plan, job)}"


def _title(plan: StudyPlan, job: "StudyJob") -> str:
    """A piece of work, and the first statement that it is done for."""
    cell = job.opened.cell
    users = (
        name
        for name in plan.names
        for own, kind in STATEMENTS[name].needs
        if (cell in _trained_for([(own, kind)]) if job.kind is None else (own, kind) == (cell, job.kind))
    )
    return f"{STATEMENTS[next(users)].title}: {job.title}"


def _jobs(plan: StudyPlan) -> int:
    return sum(map(len, plan.waves))


def lines(result: StudyResult) -> list[str]:
    """Returns the verdicts as a table."""
    rows = [["statement", "verdict"], *([each.title, each.finding.outcome] for each in result.statements)]
    return ["", *aligned(rows), ""]


def figures(settings: StudySettings, result: StudyResult) -> Mapping[str, Path]:
    """Writes the page and its text, and returns the files."""
    from genprior.study.study_page import write_page
    from genprior.study.study_text import write_study_text

    page, text = settings.out / PAGE, settings.out / TEXT
    evidence = evidence_of(planned(settings))
    write_study_text(result, text)
    write_page(result, evidence, page)
    if settings.publish is None:
        return {"text": text, "page": page}
    save_result(settings.publish / RESULT, result)
    write_study_text(result, settings.publish / TEXT, is_linked=False)
    write_page(result, evidence, settings.publish / PAGE, is_linked=False)
    return {"text": text, "page": page, "published": settings.publish / PAGE}


EXPERIMENTS: dict[str, Experiment[Any, Any]] = {
    "study": Experiment(
        help="Ask all questions of the lab report of these images: one page, each statement with its verdict; resumes.",
        settings=StudySettings,
        result=StudyResult,
        file=lambda settings: settings.out / RESULT,
        stages=stages,
        lines=lines,
        figures=figures,
        is_derived=True,  # of what lies in its folder
    ),
}
