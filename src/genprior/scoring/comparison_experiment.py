"""Trained runs side by side: what each is good for, on the same held-out images."""

import csv
import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from genprior.data import Dataset, load_data
from genprior.data.spec import parse_spec
from genprior.errors import GenpriorError
from genprior.evaluation.comparison import TASKS, Reconstructions, Task, inverted, restored
from genprior.judges.run_images import may_share
from genprior.models.image_flow import bits_per_dim
from genprior.priors.contracts import LatentPrior
from genprior.progress import Stage
from genprior.restoration.operators import OPERATORS
from genprior.runs.checkpoint import load_checkpoint, load_state
from genprior.runs.environment import read_environment
from genprior.runs.run_folder import Run, open_run, write_json, write_text
from genprior.runs.trained_prior import load_prior

SAMPLES = 36
NONE = "none"
FAR = 10**9  # more images than there are


@dataclass(frozen=True)
class Compared:
    """What was found of a run.

    Attributes:
        run: The run.
        facts: Numbers by name, as they are saved; a number that there is not is None.
        samples: x (N, C, H, W).
        inversion: Of the held-out images.
        tasks: Of each kind of damage, by its title.
    """

    run: Run
    facts: dict[str, Any]
    samples: Tensor
    inversion: Reconstructions
    tasks: dict[str, Reconstructions]


@dataclass
class Comparison:
    """Measures runs on the same images.

    Arguments:
        runs: Folders of trained runs, at least one, of models of images of one shape.
        held_out: Spec of images that no run has seen; None: the test images of the first run's data set.
        count: How many of them, at least 2.
        seed: Of damage and samples.
        data_root: Of named data sets.

    Raises:
        GenpriorError: No run, an untrained one, points, images of different shapes, or no held-out images.
    """

    runs: Sequence[Path]
    held_out: str | None = None
    count: int = 100
    seed: int = 0
    data_root: Path | None = None
    found: list[Compared] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        self.opened = [open_run(path) for path in self.runs]
        shapes = {read_environment(run)["image_shape"]: run.path for run in self.opened}
        if len(shapes) > 1:
            told = ", ".join(f"{path}: {'x'.join(map(str, shape))}" for shape, path in shapes.items())
            raise GenpriorError(
                f"runs are compared on the same images, these make different ones ({told})", argument="run"
            )
        (self.shape,) = shapes
        if self.shape[1:] == (1, 1):
            raise GenpriorError(f"{self.runs[0]} models points; images are compared", argument="run")
        # What is wrong with the last run is found before an hour is spent on the others.
        self.priors = [load_prior(run.path) for run in self.opened]
        self.data = self._load_held_out()

    @property
    def notes(self) -> list[str]:
        """Lines to show before."""
        trained = {run.config.data for run in self.opened}
        notes = [f"{len(self.data)} images of {self.data.name}"]
        if len(trained) > 1:
            notes.append(f"trained on different data: {', '.join(sorted(trained))}")
        return notes + [
            f"{run.path} was trained on {run.config.data}, which may hold these images: its errors are not held-out"
            for run in self.opened
            if may_share(parse_spec(run.config.data), parse_spec(self.data.name))
        ]

    def measure(self) -> Iterator[Stage]:
        """Measures run after run, and yields how far it is."""
        x = self.data.take(torch.arange(len(self.data)))
        done, total = 0, len(self.opened) * (3 + len(TASKS))
        for run, prior in zip(self.opened, self.priors, strict=True):
            parts: list[Any] = []
            for what, part in self._measured(run, prior, x):
                parts.append(part)
                done += 1
                yield Stage(done / total, f"{run.path}: {what}")
            likelihood, samples, inversion, *tasks = parts
            titles = [task.title for task in TASKS.values()]
            restorations = dict(zip(titles, tasks, strict=True))
            facts = _facts(run, likelihood, inversion, restorations)
            self.found.append(Compared(run, facts, samples, inversion, restorations))

    def _measured(self, run: Run, prior: LatentPrior, x: Tensor) -> Iterator[tuple[str, Any]]:
        likelihood = run.config.log_probability(load_state(run.checkpoints), self.shape, x, self.seed)
        yield "likelihood", likelihood
        yield "samples", prior.sample(SAMPLES, self.seed)
        yield "inversion", inverted(prior, x)
        for task in TASKS.values():
            yield task.title, self._restored(prior, x, task)

    def _restored(self, prior: LatentPrior, x: Tensor, task: Task) -> Reconstructions:
        operator = task.operator(self.shape).build(OPERATORS, "operator", image_shape=self.shape, seed=self.seed)
        return restored(prior, x, operator, task.sigma(self.shape), self.seed)

    def _load_held_out(self) -> Dataset:
        config = self.opened[0].config
        if self.count < 2:
            raise GenpriorError(f"expected at least 2 images, got {self.count}", argument="count")
        spec = self.held_out
        if spec is None:
            source = parse_spec(config.data).source
            if source is None or source == "digits":
                raise GenpriorError(
                    f"{config.data} has no test images of its own; name images that no run has seen, such as "
                    "--held-out other_folder",
                    argument="held_out",
                )
            spec = f"{source}:test[:{self.count}]"
        root = self.data_root or config.data_root
        _, height, _ = self.shape
        try:
            data = load_data(spec, root=root, size=height, channels=self.shape[0], fit=config.fit)
        except GenpriorError as error:
            raise GenpriorError(error.message, argument="held_out") from error
        if len(data) < 2 or data.image_shape != self.shape:
            got = f"{len(data)} of {'x'.join(map(str, data.image_shape))}"
            raise GenpriorError(
                f"expected at least 2 images of {'x'.join(map(str, self.shape))}, {spec} has {got}", argument="held_out"
            )
        return Dataset(data.name, data.images[: self.count])


def _facts(run: Run, likelihood: Any, inversion: Reconstructions, tasks: dict[str, Reconstructions]) -> dict[str, Any]:  # noqa: ANN401
    checkpoint, _ = load_checkpoint(run.checkpoints)
    assert checkpoint is not None
    shape = read_environment(run)["image_shape"]
    size = math.prod(shape)
    bits = None if likelihood is None else float(bits_per_dim(likelihood.nats, size).mean())
    return {
        "run": str(run.path),
        "family": run.config.title,
        "data": run.config.data,
        "images_seen": checkpoint.images_seen,
        "training_minutes": checkpoint.seconds / 60,
        "bits_per_dim": bits,
        "nats": None if likelihood is None else float(likelihood.nats.mean()),
        "likelihood": NONE if likelihood is None else f"{likelihood.how}, D = {size}",
        "images": len(inversion.error),
        "reconstruction_error": float(inversion.error.mean()),
        "reconstruction_standard_error": _standard_error(inversion.error),
        "inversion_seconds": inversion.seconds,
        "restoration": {
            title: {
                "psnr": float(found.psnr.mean()),
                "standard_error": _standard_error(found.psnr),
                "seconds": found.seconds,
            }
            for title, found in tasks.items()
        },
    }


def _standard_error(values: Tensor) -> float:
    return float(values.std() / len(values) ** 0.5)


def table_of(found: Sequence[Compared]) -> list[list[str]]:
    """Returns the table as text: names first, then a column for each run."""
    facts = [each.facts for each in found]
    rows = [
        ["", *(each["run"] for each in facts)],
        ["family", *(each["family"] for each in facts)],
        ["trained", *(f"{each['images_seen']:,} images, {each['training_minutes']:.1f} min" for each in facts)],
        ["held-out error", *(_with_error(each, "reconstruction", ".5f") for each in facts)],
        ["inversion", *(f"{1000 * each['inversion_seconds']:.0f} ms an image" for each in facts)],
    ]
    for title in facts[0]["restoration"]:
        told = [each["restoration"][title] for each in facts]
        rows.append(
            [
                f"{title} (PSNR)",
                *(f"{t['psnr']:.2f} +- {t['standard_error']:.2f} dB, {1000 * t['seconds']:.0f} ms" for t in told),
            ]
        )
    rows.append(["log-likelihood", *(_likelihood(each) for each in facts)])
    return rows


def _with_error(facts: dict[str, Any], name: str, form: str) -> str:
    return f"{facts[f'{name}_error']:{form}} +- {facts[f'{name}_standard_error']:{form}}"


def _likelihood(facts: dict[str, Any]) -> str:
    if facts["bits_per_dim"] is None:
        return NONE
    return f"{facts['nats']:.0f} nats, {facts['bits_per_dim']:.3f} bits/dim"


def save(found: Sequence[Compared], folder: Path) -> None:
    """Writes table and numbers into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    text = io.StringIO()
    csv.writer(text).writerows(table_of(found))
    write_text(folder / "table.csv", text.getvalue())
    write_json(folder / "comparison.json", {"runs": [each.facts for each in found]})
