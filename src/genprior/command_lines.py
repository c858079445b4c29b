"""Settings as the command line that gives them. Imports settings alone."""

import shlex
from collections.abc import Mapping

from genprior.settings import Settings


def command_of(words: str, settings: Settings | None = None, more: Mapping[str, object] | None = None) -> str:
    """Returns a command line for settings: what differs from the defaults.

    Arguments:
        words: Of the command, such as "restore".
        settings: Its settings; None: `more` has all of them.
        more: Flags that are told in any case, by their names; None leaves one out, and a tuple gives it several times.

    Example:
        >>> command_of("train gan", more={"data": "my images", "out": "runs/own"})
        "genprior train gan --data 'my images' --out runs/own"
    """
    arguments: list[str] = []
    flags: list[str] = []
    for setting in [] if settings is None else type(settings).settings():
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
