"""Whether a run is healthy: its record, its samples and its scores, in one verdict."""

from collections.abc import Generator, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from genprior.data import Dataset
from genprior.diagnosis.health_verdict import STRETCH, Diagnosis, Sampled, decide, diversity, episodes
from genprior.errors import GenpriorError
from genprior.evaluation.histogram import class_counts, modes_found
from genprior.families import RunConfig
from genprior.judges.classifier_judge import split_specs
from genprior.judges.mode_finder import Finder, run_finder
from genprior.judges.run_images import training_images
from genprior.progress import Stage
from genprior.runs.checkpoint import load_checkpoint
from genprior.runs.metrics import read_metrics
from genprior.runs.run_folder import Run, open_run, write_json
from genprior.runs.step_log import read_events, read_rows
from genprior.runs.trained_prior import load_prior
from genprior.scoring.evaluation_experiment import Evaluation

FILE = "diagnosis.json"
SAMPLES = 2000
LEAST_KEPT = 500  # samples behind scores that are used again
LEAST_PER_CLASS = 20
PER_MODE = 10  # samples: of 1,000 modes a perfect model then misses one in twenty times
LEAST_STEPS = 150  # and one epoch: before that samples say nothing


@dataclass
class Examination:
    """Examines a run.

    Scores of the run's `metrics.json` are used where they belong to its last checkpoint; else a few are made, where
    there is a classifier that can judge.

    Arguments:
        run: Folder of a trained run.
        judge: Spec of labelled images whose classifier judges; None: the run's data set.
        data_root: Of named data sets.

    Attributes:
        found: The verdict, once `examine` is through.
        notes: What could not be looked at, and why.

    Raises:
        GenpriorError: No run, or an untrained one.
    """

    run: Path
    judge: str | None = None
    data_root: Path | None = None
    notes: list[str] = field(default_factory=list, init=False)
    found: Diagnosis | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.opened = open_run(self.run)
        checkpoint, _ = load_checkpoint(self.opened.checkpoints)
        self.stopped = None if checkpoint is None else _stopped(self.opened, checkpoint.step)
        if checkpoint is None or (checkpoint.images_seen == 0 and self.stopped is None):
            raise GenpriorError(f"{self.run} has no checkpoint of a trained model; train it first", argument="run")
        self.images_seen = checkpoint.images_seen
        self.rows = read_rows(self.opened.steps)

    def examine(self) -> Iterator[Stage]:
        """Looks at the record and at samples, yields how far it is, and writes the verdict into the run's folder."""
        game, stopped = self.opened.config.game(), self.stopped
        found = [] if game is None else episodes(game, self.rows)
        if game is not None and len(self.rows) < STRETCH:
            self.notes.append(f"the record has {len(self.rows)} steps, signs need {STRETCH}: samples alone were judged")
        yield Stage(0.02, "record")
        sampled = Sampled(1.0)
        if stopped is None:
            sampled = yield from self._sampled()
        last = self.rows[-1]["images_seen"] if self.rows else 0
        self.found = decide(found, last, sampled, stopped, has_players=game is not None)
        write_json(self.opened.path / FILE, as_table(self.found, self.images_seen, self.notes))
        yield Stage(1.0, "verdict")

    def _sampled(self) -> Generator[Stage, None, Sampled]:
        config = self.opened.config
        if self.data_root is not None:
            config = config.model_copy(update={"data_root": str(self.data_root)})
        data = training_images(self.opened, config)
        if data.modes is not None:
            return (yield from self._counted(config, data))
        real = data.some(SAMPLES)
        x = load_prior(self.run).sample(max(2, len(real)), 0)
        spread = diversity(x, real) if len(real) > 1 else 1.0
        sampled = Sampled(spread, is_finite=bool(torch.isfinite(x).all()), is_young=self._is_young(len(data)))
        yield Stage(0.1, "samples")
        metrics = self._kept_metrics()
        if metrics is None and sampled.is_finite:
            metrics = yield from self._measured()
        return sampled if metrics is None else _with_scores(sampled, metrics, self._has_held_out(metrics))

    def _counted(self, config: RunConfig, data: Dataset) -> Generator[Stage, None, Sampled]:
        """What samples show where the modes of the data are known by construction."""
        assert data.modes is not None
        x = load_prior(self.run).sample(max(SAMPLES, PER_MODE * data.modes.count), 0)
        sampled = Sampled(diversity(x, data.some(SAMPLES)), mode="mode", is_young=self._is_young(len(data)))
        if not bool(torch.isfinite(x).all()):
            return replace(sampled, is_finite=False)
        finder = yield from self._finder(config, data)
        if finder is None:
            return sampled
        held = modes_found(class_counts(finder.modes(x), len(finder.spread)), finder.spread)
        count = finder(x)
        return replace(sampled, modes=held, precision=count.high_quality / max(count.ceiling, 1e-9))

    def _finder(self, config: RunConfig, data: Dataset) -> Generator[Stage, None, Finder | None]:
        """What counts modes, or None where it cannot be had."""
        finding = run_finder(config, data, self.judge)
        try:
            while True:
                yield Stage(0.1 + 0.8 * next(finding), "modes")
        except StopIteration as found:
            finder: Finder = found.value
            return finder
        except GenpriorError as error:
            if self.judge is not None:
                raise
            self.notes.append(f"modes were not counted: {error.message}")
            return None

    def _measured(self) -> Generator[Stage, None, dict[str, Any] | None]:
        """A few scores, or None where no classifier can judge."""
        try:
            evaluation = self._evaluation()
            for stage in evaluation.look():
                yield Stage(0.1 + 0.85 * stage.fraction, stage.what)
        except GenpriorError as error:
            if self.judge is not None or error.argument not in ("judge", "run", "held_out", "count"):
                raise
            self.notes.append(f"no classifier looked at the samples: {error.message}")
            return None
        return evaluation.metrics

    def _evaluation(self) -> Evaluation:
        settings: dict[str, Any] = {"count": SAMPLES, "judge": self.judge, "data_root": self.data_root, "inversions": 0}
        try:
            return Evaluation(self.run, **settings)
        except GenpriorError as error:
            if error.argument != "held_out":
                raise
        self.notes.append("no images were held out: whether the samples are copies is not known")
        return Evaluation(self.run, held_out=self.opened.config.data, **settings)

    def _kept_metrics(self) -> dict[str, Any] | None:
        """Scores that belong to the last checkpoint and were made of enough samples."""
        metrics = read_metrics(self.opened) if self.judge is None else None
        is_fresh = metrics is not None and metrics["images_seen"] == self.images_seen
        return metrics if is_fresh and metrics is not None and metrics["samples"] >= LEAST_KEPT else None

    def _has_held_out(self, metrics: dict[str, Any]) -> bool:
        """Whether copies were looked for beside new images of the very distribution: those of a test split."""
        specs = split_specs(self.opened.config.data)
        return specs is not None and metrics.get("held_out") == specs[1]

    def _is_young(self, images: int) -> bool:
        """Whether samples may be poor because training has only begun."""
        return self.images_seen < images or len(self.rows) < LEAST_STEPS


def as_table(found: Diagnosis, images_seen: int, notes: list[str]) -> dict[str, Any]:
    """Returns a verdict as it is saved."""
    return {
        "verdict": found.verdict,
        "is_ill": found.is_ill,
        "images_seen": images_seen,
        "since_images": found.since_images,
        "evidence": found.evidence,
        "remedy": found.remedy,
        "signs": [
            {"name": e.name, "since_images": e.first, "until_images": e.last, "text": e.text} for e in found.episodes
        ],
        "notes": notes,
    }


def _with_scores(sampled: Sampled, metrics: dict[str, Any], has_held_out: bool) -> Sampled:
    scores, modes, samples = metrics["scores"], metrics["modes"], metrics["samples"]
    precision, copies = scores.get("precision"), scores.get("memorisation")
    return replace(
        sampled,
        # Of fewer samples a class may be missing by chance.
        modes=(modes["found"], modes["of"]) if samples >= LEAST_PER_CLASS * modes["of"] else None,
        precision=None if precision is None else precision["value"] / max(precision["floor"]["value"], 1e-9),
        copies=copies["value"] if copies is not None and has_held_out else None,
    )


def _stopped(run: Run, last_step: int) -> str | None:
    """Why training ended by itself after its last checkpoint, if it did."""
    events = [event for event in read_events(run) if event["event"] == "stopped" and event["step"] > last_step]
    return f"step {events[-1]['step']} was not finite: {', '.join(events[-1]['not_finite'])}" if events else None
