"""The Python lines that do what a button does."""

from pathlib import Path

from genprior.settings import Settings
from genprior.specs import Spec


def python_of(settings: Settings) -> str:
    """Returns Python lines that restore as `genprior restore` with these settings."""
    given = {
        setting.name: getattr(settings, setting.name)
        for setting in type(settings).settings()
        if setting.is_required or getattr(settings, setting.name) != setting.default
    }
    told = ",\n".join(f"    {name}={_literal(value)}" for name, value in given.items())
    return (
        "from genprior.restoring.job_settings import RestoreSettings\n"
        "from genprior.restoring.restore_job import restored_alone, trained_prior\n\n"
        f"settings = RestoreSettings(\n{told},\n)\n"
        "item, found = restored_alone(settings, trained_prior(settings))\n"
        "count = int(found.candidate_counts[0])\n"
        "print(found.images.shape, found.probabilities[0, :count], found.verdicts)"
    )


def _literal(value: object) -> str:
    return repr(str(value)) if isinstance(value, Path | Spec) else repr(value)
