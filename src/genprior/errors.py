"""Errors that a user can mend, a lack of memory, and the nearest known name for a mistyped one.

Imports nothing of ours.
"""

import re
from collections.abc import Iterable
from difflib import get_close_matches

LACKS: dict[type[Exception], re.Pattern[str]] = {  # torch has a type of its own for a device alone
    MemoryError: re.compile(""),
    RuntimeError: re.compile(
        r"(can't allocate|not enough) memory: you tried to allocate"  # torch on a CPU; the latter on Windows
        r"|(^|\b(CUDA|HIP|MPS|XPU)\b.*)\bout of memory|CU\w+_STATUS_ALLOC_FAILED|^Invalid buffer size: "  # on a device
        r"|Storage size calculation overflowed|Cannot allocate memory \(12\)|^std::bad_alloc"
        r"|^could not (create a primitive|create a memory object|execute a primitive)$"  # oneDNN, whole
    ),
    ImportError: re.compile("failed to map segment from shared object"),
    SystemError: re.compile("^error return without exception set$"),
}
MAY_TELL = tuple(LACKS)


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
    is_named = type(error).__name__ == "OutOfMemoryError"  # torch's, of a device
    return is_named or any(isinstance(error, kind) and bool(said.search(str(error))) for kind, said in LACKS.items())


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
