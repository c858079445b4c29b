"""Figures of a study's statements, as parts of its page: curves and intervals as SVG, images as PNG."""

import math
import re
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from genprior.errors import GenpriorError
from genprior.images import image_grid
from genprior.inline_pictures import picture_uri
from genprior.plotting.curves import Curve, Plot, curves_svg
from genprior.plotting.drawing import BLUE, GREY, ORANGE, TEAL
from genprior.plotting.interval_figures import IntervalPlot, IntervalRow, intervals_svg
from genprior.stored_files import read_tensors
from genprior.study.measured_models import TrainingCurves
from genprior.study.opened_cell import OpenedCell
from genprior.study.study_cells import CELLS
from genprior.study.study_evidence import (
    CurvesOf,
    FigureOf,
    IntervalsOf,
    NotMeasuredError,
    StripsOf,
    StudyEvidence,
    TableOf,
)
from genprior.study.study_results import StudyFinding, StudyNumber
from genprior.study.study_settings import StudySettings

COLOURS = (ORANGE, BLUE, TEAL)
MOST = 10  # images in a strip
FEWEST = 2  # numbers that are worth a figure
LEAST_SIDE = 56  # pixels that an image takes at least, so that its own stay sharp squares


@dataclass(frozen=True)
class StudyFigure:
    """A figure of the page.

    Attributes:
        title: Above it.
        reading: What it means.
        alt: What it shows, in words.
        svg: A drawing that is safe to put into the page; empty where there are strips.
        strips: PNGs as data URIs, by what stands before them.
        table: Rows of words, the heads first.
    """

    title: str
    reading: str
    alt: str
    svg: str = ""
    strips: tuple[tuple[str, str], ...] = ()
    table: tuple[tuple[str, ...], ...] = ()


def figure_of(
    asked: FigureOf, evidence: StudyEvidence, finding: StudyFinding, settings: StudySettings, name: str
) -> StudyFigure | None:
    """Returns a figure; None where what it shows is not there.

    Arguments:
        asked: Which one.
        evidence: Measured numbers.
        finding: What was made of them.
        settings: Of the study, whose folder holds the pictures.
        name: Different from those of all other figures of the page.
    """
    if isinstance(asked, CurvesOf):
        return _curves(asked, evidence, name)
    if isinstance(asked, TableOf):
        return StudyFigure(asked.title, asked.reading, asked.title, table=(asked.columns, *asked.rows))
    return _intervals(asked, finding, name) if isinstance(asked, IntervalsOf) else _strips(asked, settings)


def _curves(asked: CurvesOf, evidence: StudyEvidence, name: str) -> StudyFigure | None:
    curves = []
    for colour, cell in zip(COLOURS[: len(asked.cells)], asked.cells, strict=True):
        try:
            seeds = evidence.of(cell, TrainingCurves)
        except NotMeasuredError:
            continue
        for i, found in enumerate(seeds):
            values = getattr(found, asked.field)
            label = "" if i else CELLS[cell].title  # seeds of a cell share their colour
            curves.append(Curve(label, colour, np.array(found.images), np.array(values), has_band=False))
    if not curves:
        return None
    levels = () if asked.level is None else ((asked.level[0], GREY, asked.level[1]),)
    plot = Plot(asked.title, asked.unit, asked.reading, tuple(curves), levels, is_log=asked.is_log)
    return StudyFigure(asked.title, asked.reading, plot.alt, svg=curves_svg(plot, name))


def _intervals(asked: IntervalsOf, finding: StudyFinding, name: str) -> StudyFigure | None:
    matches = ((re.fullmatch(asked.numbers, number.title), number) for number in finding.numbers)
    rows = tuple(
        _row(", ".join(filter(None, match.groups())), number) for match, number in matches if match is not None
    )
    known = tuple(row for row in rows if math.isfinite(row.mean))
    if len(known) < FEWEST:
        return None
    plot = IntervalPlot(asked.title, asked.unit, known)
    return StudyFigure(asked.title, asked.reading, plot.alt, svg=intervals_svg(plot, name))


def _row(label: str, number: StudyNumber) -> IntervalRow:
    return IntervalRow(label, number.mean, *number.interval, number.values if len(number.values) > 1 else ())


def _strips(asked: StripsOf, settings: StudySettings) -> StudyFigure | None:
    measured = OpenedCell(settings, asked.cell, settings.seed).file(asked.kind.__name__)
    if not measured.is_file():
        return None
    try:
        pictures = read_tensors(measured.with_suffix(".safetensors"))
    except (OSError, ValueError, GenpriorError):
        where = "/".join(measured.parts[-3:])
        gone = f"These pictures are gone or damaged: delete measured/{where}, and the same command makes them again."
        return StudyFigure(asked.title, gone, gone)
    strips = tuple(
        (label, _strip(images)) for label, name in asked.rows.items() if (images := _picked(pictures, name)) is not None
    )
    return (
        StudyFigure(asked.title, asked.reading, f"{asked.title}: {', '.join(asked.rows)}", strips=strips)
        if strips
        else None
    )


def _picked(pictures: dict[str, Tensor], name: str) -> Tensor | None:
    """A picture by its name; "draws/0" is the first of several for each image."""
    if name in pictures:
        return pictures[name]
    group, _, number = name.rpartition("/")
    several = pictures.get(group)
    return (
        several[:, int(number)]
        if several is not None and number.isdecimal() and int(number) < several.shape[1]
        else None
    )


def _strip(x: Tensor) -> str:
    """A row of images x (B, C, H, W) as a data URI."""
    grid = image_grid(torch.nan_to_num(x[:MOST]).clamp(0, 1), min(MOST, len(x)))  # (C, H, W) uint8
    times = max(1, round(LEAST_SIDE / x.shape[3]))
    values = grid.repeat_interleave(times, 1).repeat_interleave(times, 2)
    return picture_uri(values)
