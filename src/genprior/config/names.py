"""Names resolved to objects: "name" or "name:key=value,key=value"."""

import inspect
from collections.abc import Callable, Mapping
from typing import TypeVar

from genprior.errors import GenpriorError, suggestion

T = TypeVar("T")


def build(table: Mapping[str, Callable[..., T]], spec: str, argument: str, **given: object) -> T:
    """Returns the object that `spec` names: "name" or "name:key=value,key=value".

    Arguments:
        table: Known names and what makes their objects.
        spec: What the user wrote.
        argument: What the user calls it, for error messages.
        given: Arguments that the caller adds and the user may not set.

    Raises:
        GenpriorError: Unknown name, unknown option, or a value that is no number where the option is not a word (a
            parameter annotated `str` or `str | None`).

    Example:
        >>> build({"pair": lambda a, b=2: (a, b)}, "pair:b=5", "thing", a=1)
        (1, 5)
    """
    name, _, text = spec.partition(":")
    if name not in table:
        raise GenpriorError(f"unknown {argument} '{name}', {suggestion(name, table)}", argument=argument)
    parameters = inspect.signature(table[name]).parameters
    known = [key for key in parameters if key not in given]
    options: dict[str, float | int | str] = {}
    for item in filter(None, text.split(",")):
        key, _, value = item.partition("=")
        if key not in known:
            hint = suggestion(key, known) if known else "it has none"
            raise GenpriorError(f"unknown option '{key}' of '{name}', {hint}", argument=argument)
        is_word = parameters[key].annotation in (str, str | None)
        options[key] = value if is_word else _number(value, f"option '{key}' of '{name}'", argument)
    return table[name](**given, **options)


def _number(text: str, what: str, argument: str) -> float | int:
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        raise GenpriorError(f"{what} must be a number, got '{text}'", argument=argument) from None
