"""Whether a run is healthy: its record, its samples and its scores, in one verdict."""

from collections.abc import Generator, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from genprior.diagnosis.episodes import STRETCH, episodes
from genprior.diagnosis.verdict import Diagnosis, Sampled, decide, diversity
from genprior.errors import GenpriorError
from genprior.jobs.compare import Stage
from genprior.jobs.evaluate import METRICS, Evaluation
from genprior.runs import Run, load_prior, open_run
from genprior.runs.checkpoint import load_checkpoint
from genprior.runs.folder import read_table, write_json
from genprior.runs.log import read_events, read_rows

FILE = "diagnosis.json"
SAMPLES = 2000


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
        if checkpoint is None or (checkpoint.images_seen == 0 and not _stopped(self.opened)):
            raise GenpriorError(f"{self.run} has no checkpoint of a trained model; train it first", argument="run")
        self.images_seen = checkpoint.images_seen
        self.rows = read_rows(self.opened.steps)

    def examine(self) -> Iterator[Stage]:
        """Looks at the record and at samples, yields how far it is, and writes the verdict into the run's folder."""
        game, stopped = self.opened.config.game(), _stopped(self.opened)
        found = [] if game is None else episodes(game, self.rows)
        if game is not None and len(self.rows) < STRETCH:
            self.notes.append(f"the record has {len(self.rows)} steps, signs need {STRETCH}: samples alone were judged")
        yield Stage(0.02, "record")
        sampled = Sampled(1.0)
        if stopped is None:
            sampled = yield from self._sampled()
        last = self.rows[-1]["images_seen"] if self.rows else 0
        self.found = decide(found, last, sampled, stopped)
        write_json(self.opened.path / FILE, as_table(self.found, self.images_seen, self.notes))
        yield Stage(1.0, "verdict")

    def _sampled(self) -> Generator[Stage, None, Sampled]:
        config = self.opened.config
        if self.data_root is not None:
            config = config.model_copy(update={"data_root": str(self.data_root)})
        real = config.load_data().some(SAMPLES)
        spread = diversity(load_prior(self.run).sample(len(real), 0), real)
        yield Stage(0.1, "samples")
        metrics = self._kept_metrics()
        if metrics is not None:
            return _sampled_of(metrics, spread)
        try:
            evaluation, is_held_out = self._evaluation()
            for stage in evaluation.look():
                yield Stage(0.1 + 0.85 * stage.fraction, stage.what)
        except GenpriorError as error:
            self.notes.append(f"no classifier looked at the samples: {error.message}")
            return Sampled(spread)
        found = _sampled_of(evaluation.metrics, spread)
        return found if is_held_out else replace(found, copies=None)

    def _evaluation(self) -> tuple[Evaluation, bool]:
        """A few scores, and whether the real images beside them were held out."""
        settings: dict[str, Any] = {"count": SAMPLES, "judge": self.judge, "data_root": self.data_root, "inversions": 0}
        try:
            return Evaluation(self.run, **settings), True
        except GenpriorError as error:
            if error.argument != "held_out":
                raise
        self.notes.append("no images were held out: whether the samples are copies is not known")
        return Evaluation(self.run, held_out=self.opened.config.data, **settings), False

    def _kept_metrics(self) -> dict[str, Any] | None:
        path = self.opened.path / METRICS
        if self.judge is not None or not path.is_file():
            return None
        metrics = read_table(path, "run")
        return metrics if metrics.get("images_seen") == self.images_seen else None


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


def _sampled_of(metrics: dict[str, Any], spread: float) -> Sampled:
    scores, modes = metrics["scores"], metrics["modes"]
    precision, copies = scores["precision"], scores.get("memorisation")
    share = precision["value"] / max(precision["floor"]["value"], 1e-9)
    return Sampled(spread, (modes["found"], modes["of"]), share, copies["value"] if copies is not None else None)


def _stopped(run: Run) -> str | None:
    """Why training ended by itself, if it did."""
    events = [event for event in read_events(run) if event["event"] == "stopped"]
    return f"step {events[-1]['step']} was not finite: {', '.join(events[-1]['not_finite'])}" if events else None
