"""The pieces of work of a study: training a cell, and measuring one thing of it; each leaves a file when it is done.

`MEASURES`, at the end, is the place to add what is measured.
"""

import re
import shutil
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from genprior.data import Dataset
from genprior.errors import GenpriorError
from genprior.families import RunConfig, parse_config
from genprior.progress import result_of
from genprior.runs.checkpoint import load_counters, trained_checkpoint
from genprior.runs.execute import TrainingOutcome, execute
from genprior.runs.experiment import read_result, save_result
from genprior.runs.prepare import PreparedRun, new_run, resumed_run
from genprior.runs.run_folder import CONFIG, open_run
from genprior.settings import Model
from genprior.stored_files import sum_of
from genprior.study import prior_measures, training_measures
from genprior.study.opened_cell import OpenedCell
from genprior.study.study_cells import CELLS, settings_of, training_command
from genprior.study.study_record import StudiedRun
from genprior.study.study_settings import StudySettings
from genprior.writing import save_tensors

TRAINED = StudiedRun.__name__
MIXTURE_IMAGES = 5000  # a guess at the data's number, for the time that an epoch takes
CHECKED = 256  # images on which networks are built to see whether they can be


@dataclass(frozen=True)
class StudyJob:
    """A piece of work.

    Attributes:
        opened: Whose.
        kind: Of what is measured, its name is one in `MEASURES`; None: the cell is trained.
    """

    opened: OpenedCell
    kind: type[Model] | None = None

    @property
    def measure(self) -> str | None:
        """Name of what is measured."""
        return None if self.kind is None else self.kind.__name__

    @property
    def is_done(self) -> bool:
        """Whether its file is there and can be read: a damaged one is made anew."""
        return read_result(self.opened.file(self.measure or TRAINED), self.kind or StudiedRun) is not None

    @property
    def cost(self) -> float:
        """Seconds of one core, roughly."""
        cell = CELLS[self.opened.cell]
        if self.measure is not None:
            return _COSTS[self.measure](self.opened)
        values = settings_of(cell, self.opened.study, self.opened.seed)
        images = float(values.get("images_seen") or values.get("epochs", 1) * MIXTURE_IMAGES)
        return 1 + cell.cost * images / 1000

    @property
    def title(self) -> str:
        """What is done, in a few words."""
        what = "training" if self.measure is None else f"{re.sub('(?<!^)(?=[A-Z])', ' ', self.measure).lower()} of"
        return f"{what} {CELLS[self.opened.cell].title}, seed {self.opened.seed}"


def done(job: StudyJob) -> StudyJob:
    """Does a piece of work, as a worker does it, and returns it."""
    torch.set_num_threads(1)
    opened = replace(job.opened)  # what it loads is let go with it
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # cells are meant to be ill, too
        if job.measure is None:
            train_cell(opened)
        else:
            measure_cell(opened, job.measure)
    return job


def train_cell(opened: OpenedCell) -> None:
    """Trains a cell from its last checkpoint to its end; values that are not finite are a finding."""
    values = settings_of(CELLS[opened.cell], opened.study, opened.seed)
    prepared, failed = _prepared(opened, parse_config(values)), ""
    if prepared is not None:
        ended: TrainingOutcome = result_of(execute(prepared.run, prepared.learner, prepared.data))
        if ended.outcome == "non-finite":
            failed = f"values that are not finite at {ended.row['images_seen']:,} images"
    counters, _ = load_counters(open_run(opened.folder).checkpoints)
    assert counters is not None, "one is saved before the first step"
    record = run_record(opened).model_copy(
        update={"images_seen": counters.images_seen, "minutes": counters.seconds / 60, "failed": failed}
    )
    save_result(opened.file(TRAINED), record)


def measure_cell(opened: OpenedCell, measure: str) -> None:
    """Measures one thing of a trained cell, unless its training failed."""
    record = read_result(opened.file(TRAINED), StudiedRun)
    if record is not None and record.failed:
        return
    found, pictures = MEASURES[measure](opened)
    if pictures:
        path = opened.file(measure).with_suffix(".safetensors")
        path.parent.mkdir(parents=True, exist_ok=True)
        kept = {
            name: each.detach().float().clone(memory_format=torch.contiguous_format) for name, each in pictures.items()
        }
        save_tensors(kept, path, sum_of(kept))
    save_result(opened.file(measure), found)  # the last file: where it is, all is there


def run_record(opened: OpenedCell, failed: str = "") -> StudiedRun:
    """Returns what is known of a run before it is trained."""
    cell = CELLS[opened.cell]
    folder = opened.folder.relative_to(opened.study.out)
    command = training_command(settings_of(cell, opened.study, opened.seed), str(opened.folder))
    if cell.begins_as is not None:
        command = f"the study itself: it begins with the generator of {cell.begins_as}"
    return StudiedRun(cell=opened.cell, seed=opened.seed, folder=folder.as_posix(), command=command, failed=failed)


def impossible(study: StudySettings, data: Dataset) -> dict[str, str]:
    """Returns why cells cannot be trained on such images, by their names."""
    part, reasons = data.part(torch.arange(min(CHECKED, len(data)))), {}
    for name, cell in CELLS.items():
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                config = parse_config(settings_of(cell, study, study.seed))
                config.build(part).check(part)
        except GenpriorError as error:
            told = error.message.replace("--size", "--pixels")  # as a study calls it
            reasons[name] = f"{cell.title} cannot be trained on these images: {told}"
    return reasons


def _prepared(opened: OpenedCell, config: RunConfig) -> PreparedRun | None:
    """The run, ready to be trained from where it stands; None where it has ended."""
    path = opened.folder
    if not (path / CONFIG).is_file():
        shutil.rmtree(path, ignore_errors=True)  # killed while the run was made
        return _warm(opened, new_run(path, config))
    counters, _ = load_counters(open_run(path).checkpoints)
    if counters is None:
        return _warm(opened, resumed_run(path, {}))
    budget = config.budget()
    share = budget.share(counters.images_seen, counters.seconds, len(opened.split.learned))
    return resumed_run(path, {}) if share < 1 else None


def _warm(opened: OpenedCell, prepared: PreparedRun) -> PreparedRun:
    """A run that was not begun, with the averaged generator of the cell that it begins as."""
    source = CELLS[opened.cell].begins_as
    if source is None:
        return prepared
    other = OpenedCell(opened.study, source, opened.seed)
    trained = trained_checkpoint(other.run.checkpoints).tensors
    state = dict(prepared.learner.state_dict())
    for name, value in trained.items():
        player, _, rest = name.partition("/")
        if player == "average":
            state |= {f"{own}/{rest}": value for own in ("average", "generator") if f"{own}/{rest}" in state}
    prepared.learner.load_state_dict(state)
    return prepared


Measure = Callable[[OpenedCell], tuple[Model, Mapping[str, Tensor]]]

MEASURES: dict[str, Measure] = {
    "NetworkSizes": training_measures.network_sizes,
    "TrainingCurves": training_measures.training_curves,
    "SampleQuality": training_measures.sample_quality,
    "LossFactors": training_measures.loss_factors_of,
    "SaturationResult": training_measures.saturation_probe,
    "CollapseResult": training_measures.collapse_probe,
    "ReportInversion": prior_measures.report_inversion,
    "DefaultInversion": prior_measures.default_inversion,
    "RestoredImages": prior_measures.restored_images,
    "ClassProbabilities": prior_measures.class_probabilities,
    "Likelihoods": prior_measures.likelihoods,
    "PriorScores": prior_measures.prior_scores,
}
_COSTS: dict[str, Callable[[OpenedCell], float]] = {
    **dict.fromkeys(MEASURES, lambda _: 2.0),
    "SaturationResult": lambda opened: 1.2 * opened.size.probe_steps,
    "CollapseResult": lambda opened: 2.0 * opened.size.probe_steps,
    "ReportInversion": lambda opened: opened.size.inverted * opened.size.iterations / 2000,
    "DefaultInversion": lambda opened: 0.2 * opened.size.inverted,
    "RestoredImages": lambda opened: 0.8 * opened.size.restored,
    "ClassProbabilities": lambda opened: 0.08 * opened.size.drawn * opened.size.draws,
    "PriorScores": lambda opened: 0.4 * opened.size.compared,
}
