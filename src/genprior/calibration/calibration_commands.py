"""The commands that check answers and widen them: what they are asked, measure, say and draw. Imports no torch.

`EXPERIMENTS`, at the end, is the place to add one.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genprior.calibration.calibration_results import (
    CALIBRATION,
    Calibration,
    CalibrationLevel,
    CalibrationSettings,
    calibration_lines,
    verdict_line,
)
from genprior.calibration.residual_results import LEARNED, ResidualSettings, ResidualTable, residual_lines
from genprior.progress import Task, primed
from genprior.runs.experiment import Experiment

if TYPE_CHECKING:
    from genprior.plotting.calibration_figures import Kept, Ranks

FIGURES = ("ranks", "reliability", "examples")
SHOWN = 4  # images
OWN, HELD_OUT = "truths from the prior", "held-out images"


def figure_of(run: Path, name: str) -> Path:
    """Returns where a figure of a run's calibration is drawn."""
    return run / "figures" / f"calibration-{name}.png"


def _stages(settings: CalibrationSettings, kept: Calibration | None) -> Task[Calibration]:
    """The task at its first stage; figures of other numbers are gone then, and stay where the input is bad."""
    from genprior.calibration.calibration_experiment import stages

    task = primed(stages(settings, kept))
    for name in FIGURES:
        figure_of(settings.run, name).unlink(missing_ok=True)
    return task


def _residual_stages(settings: ResidualSettings, kept: ResidualTable | None) -> Task[ResidualTable]:
    from genprior.calibration.residual_learning import learn_residual

    return learn_residual(settings, kept)


def levels_of(found: Calibration) -> dict[str, CalibrationLevel]:
    """Returns what was found of truths of either kind, by words for them."""
    levels = {OWN: found.own, HELD_OUT: found.held_out}
    return {name: level for name, level in levels.items() if level is not None}


def drawn_ranks(level: CalibrationLevel) -> "dict[str, Ranks]":
    """Returns the curves of ranks by their group, as they are drawn."""
    from genprior.plotting.calibration_figures import Ranks

    return {
        group: Ranks([place / each.members for place in each.places], each.differences, each.low, each.high)
        for group, each in level.curves.items()
    }


def drawn_reliability(level: CalibrationLevel) -> "Kept":
    """Returns what intervals hold, as it is drawn."""
    from genprior.plotting.calibration_figures import Kept

    return Kept(**level.reliability.model_dump())


def _draw(settings: CalibrationSettings, found: Calibration) -> Mapping[str, Path]:
    from genprior.calibration.calibration_experiment import examples
    from genprior.plotting.calibration_figures import write_examples, write_ranks, write_reliability

    paths = {name: figure_of(settings.run, name) for name in FIGURES}
    levels = levels_of(found)
    write_ranks({name: drawn_ranks(level) for name, level in levels.items()}, verdict_line(found), paths["ranks"])
    write_reliability({name: drawn_reliability(level) for name, level in levels.items()}, paths["reliability"])
    write_examples(list(examples(settings, SHOWN)), paths["examples"])
    return {f"{name} figure": path for name, path in paths.items()}


EXPERIMENTS: dict[str, Experiment[Any, Any]] = {
    "calibrate": Experiment(
        help="Are the run's answers as sure as they say? If not: sampler, prior, noise level or operator?",
        settings=CalibrationSettings,
        result=Calibration,
        file=lambda settings: settings.run / CALIBRATION,
        stages=_stages,
        lines=calibration_lines,
        figures=_draw,
    ),
    "train residual": Experiment(
        help="Learn what real images have beside those of a trained run: draws of posteriors have it then, too.",
        settings=ResidualSettings,
        result=ResidualTable,
        file=lambda settings: settings.run / LEARNED,
        stages=_residual_stages,
        lines=residual_lines,
    ),
}
