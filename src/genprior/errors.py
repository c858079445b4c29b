"""Errors that a user can mend, and the nearest known name for a mistyped one. Imports nothing of ours."""

from collections.abc import Iterable
from difflib import get_close_matches


class GenpriorError(ValueError):
    """Bad input, told in one line: what was expected, what came, and what to do.

    Arguments:
        message: The line.
        argument: Name of the argument at fault; the command line turns it into its flag.
    """

    def __init__(self, message: str, *, argument: str | None = None) -> None:
        super().__init__(message if argument is None else f"{argument}: {message}")
        self.message = message
        self.argument = argument


class NoRightError(GenpriorError):
    """A file is there, and the system does not let this user read it: nothing is wrong with the file itself."""


class NotFiniteError(GenpriorError):
    """A computation ended in values that are not finite: the settings are at fault, not one argument."""


def suggestion(name: str, known: Iterable[str]) -> str:
    """Returns the end of an error message about an unknown name.

    Example:
        >>> suggestion("mnits", ["mnist", "kmnist", "digits"])
        "did you mean 'mnist'? Known: digits, kmnist, mnist"
    """
    names = sorted(known)
    close = get_close_matches(name.lower(), names, n=1)
    return (f"did you mean '{close[0]}'? " if close else "") + "Known: " + ", ".join(names)
