"""A run is a folder: its config, steps, checkpoints and figures. The only place that knows a run's files."""

from genprior.runs.execute import Progress, execute, launch
from genprior.runs.folder import Run, create_run, open_run
from genprior.runs.load import load_prior
from genprior.runs.prepare import PreparedRun, new_run, resumed_run
from genprior.runs.summary import summary

__all__ = [
    "PreparedRun",
    "Progress",
    "Run",
    "create_run",
    "execute",
    "launch",
    "load_prior",
    "new_run",
    "open_run",
    "resumed_run",
    "summary",
]
