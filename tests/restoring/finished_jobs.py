"""Whole jobs in one call, for tests."""

from pathlib import Path

from genprior.progress import result_of
from genprior.restoring.commands import JobResult, degrade_task, invert_task, restore_task
from genprior.restoring.job_settings import DegradeSettings, InvertSettings, JobFlags, RestoreSettings
from genprior.restoring.ledger import Output


def restoring_settings(run: Path, images: object, **settings: object) -> InvertSettings | RestoreSettings:
    """Returns the settings of `restore` where an operator is given, else of `invert`."""
    given = {"run": run, "images": str(images)} | {name: value for name, value in settings.items() if value is not None}
    model = RestoreSettings if "operator" in given else InvertSettings
    return model.model_validate(given)


def restored_to(out: Path, settings: InvertSettings | RestoreSettings) -> Output:
    """Does a whole job of inverting or restoring."""
    task = restore_task if isinstance(settings, RestoreSettings) else invert_task
    return output_of(result_of(task(settings, JobFlags(out=out))))


def degraded_to(out: Path, images: object, **settings: object) -> Output:
    """Does a whole job of damaging."""
    given = DegradeSettings.model_validate({"images": str(images), **settings})
    return output_of(result_of(degrade_task(given, JobFlags(out=out))))


def output_of(result: JobResult) -> Output:
    """Returns the folder of a finished job."""
    return Output(result.path, result.summary.images, result.summary.settings.batch_size)
