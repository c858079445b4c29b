"""What is read back from disk: JSON, tensors, arrays; refused in one line where it is damaged.

All JSON that this package reads comes through here. Imports errors only, and numpy and torch late.
"""

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ValidationError

from genprior.errors import GenpriorError, NoRightError

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

B = TypeVar("B", bound=BaseModel)

CHECKSUM = "checksum"  # key of the SHA-256 of all other values
MOST_BYTES, MOST_DEPTH = 2**28, 32  # of a file of JSON: a million images have names of less
LONE = re.compile("[\ud800-\udc7f\udd00-\udfff]")  # no names of files: those that are no UTF-8 have \udc80 to \udcff
ALTERED = f'was altered: its checksum does not fit. Put the old file back, or take its line "{CHECKSUM}" out'


@dataclass(frozen=True)
class StoredObject:
    """What stands in a file of JSON, its checksum apart.

    Attributes:
        values: By their names.
        is_signed: Whether it has a checksum; files of older versions have none.
        is_altered: Whether the values are not those of the checksum.
    """

    values: dict[str, Any]
    is_signed: bool
    is_altered: bool


def loads(text: str | bytes) -> Any:  # noqa: ANN401 - whatever stands there
    """Returns what strict JSON says.

    Raises:
        ValueError: No JSON, a number that is not finite, a key that stands twice, deep nesting, a lone surrogate.

    Example:
        >>> loads('{"a": [1, null]}')
        {'a': [1, None]}
    """
    try:
        found = json.loads(text, parse_constant=_refused, parse_float=_finite, object_pairs_hook=_once)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    _check(found)
    return found


def loads_numbers(text: str, words: str) -> dict[str, Any]:
    """Returns an object of finite numbers and null, but for a table of words; a log has many of them.

    Arguments:
        text: JSON.
        words: The key of that table, which may be absent.

    Raises:
        ValueError: Anything else.

    Example:
        >>> loads_numbers('{"step": 1, "loss": null, "not_finite": {"loss": "nan"}}', "not_finite")
        {'step': 1, 'loss': None, 'not_finite': {'loss': 'nan'}}
    """
    try:
        found = json.loads(text)  # without the hooks of `loads`, which take four times as long
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(found, dict):
        raise ValueError("expected a table of numbers")
    flags = found.pop(words, {})
    is_told = isinstance(flags, dict) and all(isinstance(word, str) for word in flags.values())
    if not is_told or not all(map(_is_number, found.values())):
        raise ValueError("expected a table of numbers")
    return {**found, words: flags} if flags else found


def _is_number(value: object) -> bool:
    kind = type(value)
    if kind is float:
        return math.isfinite(value)  # type: ignore[arg-type]
    return value is None or (kind is int and -(2**63) <= value < 2**63)  # type: ignore[operator]


def signed(text: str, indent: int | None = 2) -> str:
    """Returns an object of JSON with its checksum, which may replace one, as the last value; and an end of line."""
    values = json.loads(text)
    values.pop(CHECKSUM, None)
    return json.dumps({**values, CHECKSUM: _sum(values)}, indent=indent, allow_nan=False) + "\n"


def read_object(path: Path, argument: str) -> StoredObject:
    """Returns the values of a file of JSON; raises `GenpriorError` about `argument` where there is none."""
    try:
        if path.exists() and not path.is_file():  # a pipe would be waited for
            raise ValueError("it is no file")
        if path.stat().st_size > MOST_BYTES:
            raise ValueError(f"it has more than {MOST_BYTES:,} bytes")
        values = loads(path.read_bytes())
        if not isinstance(values, dict):
            raise ValueError("expected a table of values by name")
    except PermissionError as error:
        advice = f"{error.strerror}; give this user the right to read it"
        raise NoRightError(f"{path} cannot be read: {advice}", argument=argument) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else " ".join(str(error).split())
        raise _unreadable(path, reason, argument) from None
    is_signed = CHECKSUM in values
    checksum = values.pop(CHECKSUM, None)
    return StoredObject(values, is_signed, is_signed and checksum != _sum(values))


def read_model(path: Path, model: type[B], argument: str) -> B:
    """Returns the model in a file; raises `GenpriorError` about `argument` where it is absent, damaged or altered."""
    stored = read_object(path, argument)
    try:
        found = model.model_validate(stored.values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "it"
        raise _unreadable(path, f"{where}: {first['msg']}", argument) from None
    except GenpriorError as error:  # of a validator
        raise _unreadable(path, str(error), argument) from None
    if stored.is_altered:
        raise GenpriorError(f"{path} {ALTERED}", argument=argument)
    return found


def read_array(path: Path) -> "np.ndarray[Any, Any]":
    """Returns the array in a .npy file, mapped: what is not looked at stays on the disk.

    Raises:
        OSError: There is no such file.
        ValueError: It is no such file, or shorter than its header says.
    """
    import numpy as np

    if path.exists() and not path.is_file():  # a pipe would be waited for
        raise ValueError("it is no file")
    with path.open("rb") as file:
        check_array_header(file, path.stat().st_size)
    return np.lib.format.open_memmap(path, mode="r")


def check_array_header(file: IO[bytes], size: int) -> None:
    """Raises `ValueError` unless a .npy file of `size` bytes holds the numbers that its header tells of.

    Whoever reads it would reserve memory first, for whatever shape stands there.
    """
    from numpy.lib import format as npy

    version = npy.read_magic(file)
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, _, kind = read(file)
    if kind.hasobject:
        raise ValueError("it holds objects of Python, expected numbers")
    expected = math.prod(shape) * kind.itemsize
    if any(side < 0 for side in shape) or expected > size - file.tell():
        raise ValueError(f"it is cut off or damaged: {size:,} bytes cannot hold {shape} of {kind}")


def weights_sha256(state: "Mapping[str, Tensor]") -> str:
    """Returns a SHA-256 over names, types, shapes and values of tensors, whatever their order and memory layout."""
    import torch

    digest = hashlib.sha256()
    for name in sorted(state):
        value = state[name].detach().cpu().contiguous()
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def sum_of(tensors: "Mapping[str, Tensor]") -> dict[str, str]:
    """Returns what a file of tensors has beside them, for `read_tensors` to hold them against."""
    return {CHECKSUM: weights_sha256(tensors)}


def read_tensors(path: Path) -> "dict[str, Tensor]":
    """Returns the tensors of a safetensors file, which are those of the checksum in it, where there is one.

    Raises:
        OSError: There is no such file.
        ValueError: It is damaged or was altered.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors: dict[str, Tensor] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(str(error).partition("\n")[0]) from error
    if metadata.get(CHECKSUM) not in (None, weights_sha256(tensors)):
        raise ValueError("it was altered: its checksum does not fit")
    return tensors


def _unreadable(path: Path, reason: str, argument: str) -> GenpriorError:
    return GenpriorError(f"{path} cannot be read: {reason}", argument=argument)


def _sum(values: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _refused(constant: str) -> float:
    raise ValueError(f"{constant} is no JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:20]} is too large a number")
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands twice")
    return found


def _check(found: object) -> None:
    level = [found]
    for _ in range(MOST_DEPTH):
        if any(isinstance(each, str) and LONE.search(each) for each in level):
            raise ValueError("it has a lone surrogate, which is no character")
        level = [inner for each in level if isinstance(each, dict | list) for inner in _inside(each)]
        if not level:
            return
    raise ValueError("it is nested too deeply")


def _inside(each: dict[str, Any] | list[Any]) -> list[Any]:
    return [*each, *each.values()] if isinstance(each, dict) else each
