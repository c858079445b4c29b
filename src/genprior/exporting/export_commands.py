"""The command that writes a run for use without this package. Imports no torch."""

from typing import Any

from genprior.exporting.export_results import EXPORT, Export, ExportSettings, export_lines
from genprior.progress import Task
from genprior.runs.experiment import Experiment


def _stages(settings: ExportSettings, kept: Export | None) -> Task[Export]:
    from genprior.exporting.onnx_export import export_stages

    return (yield from export_stages(settings, kept))


EXPERIMENTS: dict[str, Experiment[Any, Any]] = {
    "export": Experiment(
        help="Write a run's generator, encoder and denoiser as ONNX files, each checked against torch.",
        settings=ExportSettings,
        result=Export,
        file=lambda settings: settings.folder / EXPORT,
        stages=_stages,
        lines=export_lines,
    ),
}
