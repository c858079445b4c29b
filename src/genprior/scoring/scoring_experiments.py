"""The experiments on trained runs, and their words. Importing this module does not import torch.

`EXPERIMENTS`, at the end, is the place to add one.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from genprior.progress import Task
from genprior.runs.experiment import Experiment, aligned
from genprior.runs.run_folder import AUTO
from genprior.scoring.auto_results import AutoSettings, AutoTraining
from genprior.scoring.scoring_results import (
    COMPARISON,
    DIAGNOSIS,
    METRICS,
    ClassHistogram,
    Comparison,
    ComparisonSettings,
    DiagnosisResult,
    DiagnosisSettings,
    Evaluation,
    EvaluationSettings,
    FoundModes,
)


def evaluation_lines(found: Evaluation) -> list[str]:
    """Returns the scores beside those of real images, the classes where they are known, and what judged."""
    rows = [["", "samples", "real against real", "better"]]
    rows += [[each.title, str(each), str(each.floor), each.better] for each in found.scores.values()]
    judge = found.judge
    return [
        *aligned(rows),
        *_class_lines(found.classes, found.modes),
        f"judge: {judge.title}, {judge.right_in} {judge.accuracy:.2%}, hash {judge.hash[:12]}",
    ]


def _class_lines(classes: ClassHistogram | None, modes: FoundModes | None) -> list[str]:
    if classes is None or modes is None:
        return ["classes: not known, the judge learned without labels"]
    return [
        f"classes found: {modes.found} of {modes.of}",
        f"class histogram: chi-square {classes.chi_square:.4g} with {classes.degrees} degrees of freedom, "
        f"p {classes.p_value:.2g}; real against real {classes.floor_chi_square:.4g}",
    ]


def diagnosis_lines(found: DiagnosisResult) -> list[str]:
    """Returns the verdict with its evidence, the remedy where the run is ill, and notes."""
    since = "" if found.since_images is None else f" since {found.since_images:,} images"
    return [
        f"{found.settings.run}: {found.verdict}{since}",
        *(f"  {line}" for line in found.evidence),
        *([f"  remedy: {found.remedy}"] if found.is_ill else []),
        *(f"  note: {note}" for note in found.notes),
    ]


def comparison_lines(found: Comparison) -> list[str]:
    """Returns the table, and how each likelihood was found."""
    from genprior.scoring.comparison_experiment import comparison_rows

    how = [f"{r.run}: log-likelihood by {r.likelihood}" for r in found.runs if r.bits_per_dim is not None]
    return aligned(comparison_rows(found.runs)) + how


def auto_lines(found: AutoTraining) -> list[str]:
    """Returns why the family was chosen, how far it was trained, and which of its weights are used."""
    from genprior.runs.best_weights import weights_in_words
    from genprior.runs.run_folder import open_run

    used = weights_in_words(open_run(found.settings.out))
    return [
        found.reason,
        f"{found.winner}: {found.images_seen:,} images in {found.minutes:.1f} minutes",
        *([] if used is None else [f"weights: {used}"]),
    ]


def _train_auto(settings: AutoSettings, kept: AutoTraining | None) -> Task[AutoTraining]:
    from genprior.scoring.auto_training import train_auto

    return train_auto(settings, kept)


def _draw_auto(settings: AutoSettings, found: AutoTraining) -> Mapping[str, Path]:
    from genprior.scoring.auto_training import draw_auto

    return draw_auto(settings, found)


def _evaluate(settings: EvaluationSettings, kept: Evaluation | None) -> Task[Evaluation]:
    from genprior.scoring.evaluation_experiment import evaluate

    return evaluate(settings, kept)


def _diagnose(settings: DiagnosisSettings, kept: DiagnosisResult | None) -> Task[DiagnosisResult]:
    from genprior.scoring.diagnosis_experiment import diagnose

    return diagnose(settings, kept)


def _compare(settings: ComparisonSettings, kept: Comparison | None) -> Task[Comparison]:
    from genprior.scoring.comparison_experiment import compare

    return compare(settings, kept)


def _draw_comparison(settings: ComparisonSettings, found: Comparison) -> Mapping[str, Path]:
    from genprior.scoring.comparison_experiment import draw_comparison

    return draw_comparison(settings, found)


EXPERIMENTS: dict[str, Experiment[Any, Any]] = {
    "train auto": Experiment(
        help="Try families on a third of the budget, and train the one that restores held-out images best.",
        settings=AutoSettings,
        result=AutoTraining,
        file=lambda settings: settings.out / AUTO,
        stages=_train_auto,
        lines=auto_lines,
        figures=_draw_auto,
    ),
    "evaluate": Experiment(
        help="Score samples of trained runs, beside the scores of real images, into metrics.json of each.",
        settings=EvaluationSettings,
        result=Evaluation,
        file=lambda settings: settings.run / METRICS,
        stages=_evaluate,
        lines=evaluation_lines,
        is_derived=True,
        is_per_run=True,
    ),
    "compare": Experiment(
        help="Set trained runs side by side: samples, held-out error, restorations, log-likelihood, cost.",
        settings=ComparisonSettings,
        result=Comparison,
        file=lambda settings: settings.out / COMPARISON,
        stages=_compare,
        lines=comparison_lines,
        figures=_draw_comparison,
    ),
    "diagnose": Experiment(
        help="Say whether a run is healthy, with evidence and a remedy; exit code 1 where one is ill.",
        settings=DiagnosisSettings,
        result=DiagnosisResult,
        file=lambda settings: settings.run / DIAGNOSIS,
        stages=_diagnose,
        lines=diagnosis_lines,
        is_derived=True,
        is_per_run=True,
        is_ill=lambda found: found.is_ill,
    ),
}
