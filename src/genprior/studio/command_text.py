"""The command, and the Python lines, that do what a button does."""

import shlex
from collections.abc import Mapping
from pathlib import Path

from genprior.settings import Settings
from genprior.specs import Spec


def command_of(words: str, settings: Settings, more: Mapping[str, object] | None = None) -> str:
    """Returns a command line for settings: what differs from the defaults.

    Arguments:
        words: Of the command, such as "restore".
        settings: Its settings.
        more: Flags of other models, by their names.
    """
    arguments: list[str] = []
    flags: list[str] = []
    for setting in type(settings).settings():
        value = getattr(settings, setting.name)
        if setting.flag.metavar is not None:
            arguments += _texts(value)
        elif value != setting.default:
            flags += _flag(setting.name, value)
    for name, value in (more or {}).items():
        flags += _flag(name, value)
    return shlex.join(["genprior", *words.split(), *arguments, *flags])


def _flag(name: str, value: object) -> list[str]:
    flag = f"--{name.replace('_', '-')}"
    if isinstance(value, bool):
        return [flag] if value else []
    return [] if value is None else [word for text in _texts(value) for word in (flag, text)]


def _texts(value: object) -> list[str]:
    return [str(each) for each in value] if isinstance(value, tuple) else [str(value)]


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
        "print(found.images.shape, found.probabilities, found.verdicts)"
    )


def _literal(value: object) -> str:
    return repr(str(value)) if isinstance(value, Path | Spec) else repr(value)
