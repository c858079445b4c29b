"""Whether a run is healthy: its record, its samples and its scores, in one verdict."""

from dataclasses import dataclass, replace

import torch

from genprior.data import Dataset
from genprior.data.held_out import split_specs
from genprior.diagnosis.health_verdict import STRETCH, Diagnosis, Sampled, decide, diversity, episodes
from genprior.errors import GenpriorError
from genprior.judges.mode_finder import finder_or_note, held_modes
from genprior.judges.run_images import run_split, with_data_root
from genprior.progress import Stage, Task, within
from genprior.runs.best_weights import used_counters
from genprior.runs.checkpoint import load_counters
from genprior.runs.experiment import read_result
from genprior.runs.kept_base import base_sha256
from genprior.runs.run_events import Setback, read_events
from genprior.runs.run_folder import Run, open_run, read_environment
from genprior.runs.step_log import ill_names, record_fault
from genprior.runs.step_rows import StepRows, read_rows
from genprior.runs.trained_prior import load_prior
from genprior.scoring.evaluation_experiment import EvaluationInputs, load_evaluation_inputs, measure_scores
from genprior.scoring.scoring_results import (
    METRICS,
    DiagnosisResult,
    DiagnosisSettings,
    Evaluation,
    EvaluationSettings,
    SignRecord,
)

SAMPLES = 2000
LEAST_KEPT = 500  # samples behind scores that are used again
LEAST_PER_CLASS = 20
PER_MODE = 10  # samples: of 1,000 modes a perfect model then misses one in twenty times
LEAST_STEPS = 150  # and one epoch: before that samples say nothing


@dataclass(frozen=True)
class Examined:
    """A run whose samples are looked at.

    Attributes:
        settings, run: What was asked for.
        images_seen, steps: Of the checkpoint, and in the record.
        is_finished: Whether the budget of training is used.
        notes: As they come.
        kept: Scores that an interrupted diagnosis has measured.
    """

    settings: DiagnosisSettings
    run: Run
    images_seen: int
    steps: int
    is_finished: bool
    notes: list[str]
    kept: Evaluation | None

    def is_young(self, data: Dataset) -> bool:
        """Whether samples may be poor because training has only begun."""
        return self.images_seen < len(data) or self.steps < LEAST_STEPS


def diagnose(settings: DiagnosisSettings, kept: DiagnosisResult | None = None) -> Task[DiagnosisResult]:
    """Looks at the record of a run and at its samples; an interrupted diagnosis is resumed with the scores it lacks.

    Scores in the run's folder are used where they belong to its last checkpoint. Else a few are measured, where there
    is a judge.

    Raises:
        GenpriorError: No run, or an untrained one: before the first stage. A named judge that cannot be had.
    """
    run = open_run(settings.run, settings.data)
    counters, _ = load_counters(run.checkpoints)
    rows = read_rows(run.steps)
    stopped = None if counters is None else _stopped(run, rows, counters.step)
    if counters is None or (counters.images_seen == 0 and stopped is None):
        raise GenpriorError(f"{settings.run} has no checkpoint of a trained model; train it first", argument="run")
    images_seen = counters.images_seen
    yield Stage(0.0, "record")
    game = run.config.game()
    notes: list[str] = []
    signs = [] if game is None else episodes(game, rows)
    if game is not None and len(rows) < STRETCH:
        notes.append(f"the record has {len(rows)} steps, signs need {STRETCH}: samples alone were judged")
    fault = record_fault(run, rows, counters.step, counters.log)
    last = max([images_seen, *(row["images_seen"] for row in rows[-1:])])

    def result(sampled: Sampled, scores: Evaluation | None = None) -> DiagnosisResult:
        verdict = decide(
            signs, last, sampled, stopped, fault=fault, has_players=run.config.adversarial_loss() is not None
        )
        return _result(settings, verdict, images_seen, notes, scores)

    sampled, scores = Sampled(1.0), None
    if stopped is None:
        is_finished = run.config.budget().share(images_seen, counters.seconds, read_environment(run).images) >= 1
        scored = kept.scores if kept else None
        looked = _sampled(Examined(settings, run, images_seen, len(rows), is_finished, notes, scored))
        unfinished = {"is_complete": False}
        sampled, scores = yield from within(
            looked, 0.0, 1.0, found=lambda scores: result(Sampled(1.0), scores).model_copy(update=unfinished)
        )
    yield Stage(1.0, "verdict")
    return result(sampled, scores)


def _sampled(examined: Examined) -> Task[tuple[Sampled, Evaluation | None]]:
    """What samples show, and the scores that were used."""
    data = run_split(examined.run, examined.settings.data_root).learned
    if data.modes is not None:
        return (yield from _counted(examined, data)), None
    real = data.some(SAMPLES)
    x = load_prior(examined.settings.run).sample(max(2, len(real)), 0)
    spread = diversity(x, real) if len(real) > 1 else 1.0
    sampled = Sampled(
        spread,
        is_finite=bool(torch.isfinite(x).all()),
        is_flat=len(real) > 1 and bool((real == real[0]).all()),
        is_young=examined.is_young(data),
        is_finished=examined.is_finished and examined.images_seen >= len(data),
    )
    yield Stage(0.1, "samples")
    scores = _kept_scores(examined)
    if scores is None and sampled.is_finite:
        scores = yield from within(_measured(examined), 0.1, 0.95)
    if scores is None:
        return sampled, None
    return with_scores(sampled, scores, _has_held_out(examined, scores)), scores


def _counted(examined: Examined, data: Dataset) -> Task[Sampled]:
    """What samples show where the modes of the data are known by construction."""
    assert data.modes is not None
    settings = examined.settings
    x = load_prior(settings.run).sample(max(SAMPLES, PER_MODE * data.modes.count), 0)
    sampled = Sampled(diversity(x, data.some(SAMPLES)), mode="mode", is_young=examined.is_young(data))
    if not bool(torch.isfinite(x).all()):
        return replace(sampled, is_finite=False)
    config = with_data_root(examined.run.config, settings.data_root)
    finder = yield from within(finder_or_note(config, data, settings.judge, examined.notes), 0.1, 0.9)
    if finder is None:
        return sampled
    count = finder(x)
    return replace(sampled, modes=held_modes(finder, x), precision=count.high_quality / max(count.ceiling, 1e-9))


def _measured(examined: Examined) -> Task[Evaluation | None]:
    """A few scores, or None where nothing can judge."""
    try:
        return (yield from measure_scores(_evaluation_inputs(examined), examined.kept))
    except GenpriorError as error:
        if examined.settings.judge is not None or error.argument not in ("judge", "run", "held_out", "count"):
            raise
        examined.notes.append(f"no judge looked at the samples: {error.message}")
        return None


def _evaluation_inputs(examined: Examined) -> EvaluationInputs:
    given = examined.settings
    settings = EvaluationSettings(
        run=given.run, count=SAMPLES, judge=given.judge, data=given.data, data_root=given.data_root, inversions=0
    )
    try:
        return load_evaluation_inputs(settings)
    except GenpriorError as error:
        if error.argument != "held_out":
            raise
    examined.notes.append("no images were held out: whether the samples are copies is not known")
    return load_evaluation_inputs(settings.model_copy(update={"held_out": examined.run.config.data}))


def _kept_scores(examined: Examined) -> Evaluation | None:
    """Scores that belong to the weights in use and were made of enough samples."""
    counters = used_counters(examined.run)
    kept = read_result(examined.run.path / METRICS, Evaluation) if examined.settings.judge is None else None
    if kept is None or counters is None or kept.images_seen != counters.images_seen:
        return None
    if kept.base_sha256 != base_sha256(examined.run.path):  # samples begin elsewhere now
        return None
    return kept if kept.samples >= LEAST_KEPT else None


def _has_held_out(examined: Examined, scores: Evaluation) -> bool:
    """Whether copies were looked for beside new images of the very distribution: those that the run holds out."""
    specs = split_specs(examined.run.config.data)
    is_test = specs is not None and scores.held_out == specs[1]
    is_own = is_test or scores.settings.held_out is None
    # of scores of an earlier version it is not known whether test images were learned
    return is_own and (is_test if scores.held_out_learned is None else scores.held_out_learned == 0)


def with_scores(sampled: Sampled, found: Evaluation, has_held_out: bool) -> Sampled:
    """Returns what samples show with what scores say of them."""
    copies, modes = found.scores.get("memorisation"), found.modes
    return replace(
        sampled,
        # Of fewer samples a class may be missing by chance.
        modes=(modes.found, modes.of) if modes is not None and found.samples >= LEAST_PER_CLASS * modes.of else None,
        precision=_beside_floor(found, "precision"),
        covered=_beside_floor(found, "coverage"),
        copies=copies.value if copies is not None and has_held_out else None,
    )


def _beside_floor(found: Evaluation, name: str) -> float | None:
    score = found.scores.get(name)
    return None if score is None else score.value / max(score.floor.value, 1e-9)


def _stopped(run: Run, rows: StepRows, last_step: int) -> str | None:
    """Why training ended by itself after its last checkpoint, if it did: by its events, or by the end of its record."""
    events = [e for e in read_events(run) if isinstance(e, Setback) and e.event == "stopped" and e.step > last_step]
    ends = [(row["step"], ill_names(row)) for row in rows[-1:] if row["step"] > last_step]
    found = [*((step, names) for step, names in ends if names), *((each.step, each.not_finite) for each in events)]
    return f"step {found[-1][0]} was not finite: {', '.join(found[-1][1])}" if found else None


def _result(
    settings: DiagnosisSettings, found: Diagnosis, images_seen: int, notes: list[str], scores: Evaluation | None
) -> DiagnosisResult:
    return DiagnosisResult(
        settings=settings,
        verdict=found.verdict,
        is_ill=found.is_ill,
        images_seen=images_seen,
        since_images=found.since_images,
        evidence=found.evidence,
        remedy=found.remedy,
        signs=[SignRecord(name=e.name, since_images=e.first, until_images=e.last, text=e.text) for e in found.episodes],
        notes=notes,
        scores=scores,
        base_sha256=base_sha256(settings.run),
    )
