"""A trained cell of a study, opened to be measured; where its files lie."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from genprior.data import Dataset
from genprior.data.held_out import Split
from genprior.data.spec import data_root
from genprior.errors import GenpriorError
from genprior.evaluation.features import FeatureNetwork, features_of_data
from genprior.judges.run_images import load_images, run_split
from genprior.judges.trained_judge import JUDGES, Judge, JudgedBy, choose_judge, judge_of, without_labels
from genprior.priors.contracts import LatentPrior
from genprior.progress import Task, result_of
from genprior.runs.run_folder import Run, open_run
from genprior.runs.trained_prior import load_prior
from genprior.study.study_settings import StudySettings, StudySize

Pictures = dict[str, Tensor]
"""Images (N, C, H, W) that a measure leaves for the page, by their names."""

LEARNED_SEEN = 10_000  # learned images that the judge compares samples with, at most


@dataclass(frozen=True)
class OpenedCell:
    """A cell's run with all that measures share.

    Attributes:
        study: The study's settings.
        cell, seed: Which run.
    """

    study: StudySettings
    cell: str
    seed: int

    @property
    def name(self) -> str:
        """Cell and seed."""
        return f"{self.cell}/{self.seed}"

    @property
    def folder(self) -> Path:
        """Of the run."""
        return self.study.out / "runs" / self.cell / str(self.seed)

    def file(self, measure: str) -> Path:
        """Returns where a measure is stored; its pictures lie beside it."""
        return self.study.out / "measured" / self.cell / str(self.seed) / f"{measure}.json"

    @property
    def size(self) -> StudySize:
        """What may be spent."""
        return self.study.spending

    @cached_property
    def run(self) -> Run:
        """The run."""
        return open_run(self.folder)

    @cached_property
    def prior(self) -> LatentPrior:
        """The model, with the average of its weights."""
        return load_prior(self.folder, weights="last")

    @cached_property
    def split(self) -> Split:
        """What it learned and what it never saw."""
        return run_split(self.run, self.study.data_root)

    @cached_property
    def held_out(self) -> Dataset:
        """Images that it never saw."""
        return held_out_of(self.split)

    def images(self, count: int) -> tuple[Tensor, tuple[int, ...]]:
        """Returns x (count, C, H, W), held-out images spread evenly, and their labels; the same for all runs."""
        index = torch.linspace(0, len(self.held_out) - 1, min(count, len(self.held_out))).long()
        labels = self.held_out.labels
        return self.held_out.take(index), () if labels is None else tuple(labels[index].tolist())

    @cached_property
    def judge(self) -> Judge[FeatureNetwork]:  # type: ignore[type-var]  # either kind of network
        """What judges images of this kind."""
        return result_of(judge_for(self.run, self.split))

    @cached_property
    def learned_features(self) -> Tensor:
        """Features (N, F) of learned images, at most `LEARNED_SEEN`."""
        learned = self.split.learned
        index = torch.linspace(0, len(learned) - 1, min(LEARNED_SEEN, len(learned))).long()
        return features_of_data(self.judge.network, learned.part(index))


def held_out_of(split: Split) -> Dataset:
    """Returns the images that are held out; raises `GenpriorError` about `data` where there are fewer than two."""
    held_out = split.load_held_out()
    if held_out is None or len(held_out) < 2:
        raise GenpriorError(
            f"a study judges on images that nothing learns, {split.learned.name} leaves "
            f"{0 if held_out is None else len(held_out)}; take a data set with test images, or more images",
            argument="data",
        )
    return held_out


def judge_for(run: Run, split: Split) -> Task[Judge[FeatureNetwork]]:  # type: ignore[type-var]
    """Returns the judge of a run's images: a classifier where labels allow one, else features without labels."""
    config, learned, root = run.config, split.learned, data_root(run.config.data_root)
    given: JudgedBy = choose_judge(
        None, config.data, learned, lambda spec: load_images(config, learned.image_shape, spec)
    )
    try:
        return (yield from judge_of(JUDGES[given.kind], *given.images, root))
    except GenpriorError as error:
        other = without_labels(learned, error.message)
        return (yield from judge_of(JUDGES[other.kind], *other.images, root))
