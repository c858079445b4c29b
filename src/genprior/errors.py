"""Errors that a user can mend, a lack of memory, and the nearest known name for a mistyped one.

Imports nothing of ours.
"""

import re
from collections.abc import Iterable
from difflib import get_close_matches

MAY_TELL = (MemoryError, RuntimeError, ImportError, SystemError)
LACK = re.compile(  # what torch, its kernels, the loader and Python say; torch has a type for it on a GPU alone
    "(allocate|out of|not enough) memory|memory allocation|(cannot|unable to) allocate|bad_alloc|invalid buffer size"
    "|storage size calculation overflowed|could not (create|execute) a (primitive|memory)|failed to map segment"
    "|error return without exception set",
    re.IGNORECASE,
)


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


def is_lack_of_memory(error: BaseException) -> bool:
    """Returns whether an error, of one of the types in `MAY_TELL`, says that memory did not suffice."""
    is_named = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"  # torch's, of a device
    return is_named or (isinstance(error, MAY_TELL) and bool(LACK.search(str(error))))


def raise_lack_of_memory(error: BaseException) -> None:
    """Raises an error again that says that memory did not suffice: nothing is wrong then with what was read or built.

    Whoever takes an error of another library's for a damaged file, or for settings that do not fit, asks this first.
    """
    if is_lack_of_memory(error):
        raise error


def suggestion(name: str, known: Iterable[str]) -> str:
    """Returns the end of an error message about an unknown name.

    Example:
        >>> suggestion("mnits", ["mnist", "kmnist", "digits"])
        "did you mean 'mnist'? Known: digits, kmnist, mnist"
    """
    names = sorted(known)
    close = get_close_matches(name.lower(), names, n=1)
    return (f"did you mean '{close[0]}'? " if close else "") + "Known: " + ", ".join(names)
