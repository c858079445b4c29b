"""Settings and results as frozen models: what decides an outcome, checked, stored as JSON, and shown as flags.

Imports errors and specs of ours, and never torch.
"""

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic.fields import FieldInfo

from genprior.errors import GenpriorError, suggestion
from genprior.specs import Spec, Table

M = TypeVar("M", bound="Model")
NO_TEXT = re.compile("[\ud800-\udfff]")  # bytes of a name that are no characters


class Model(BaseModel):
    """A frozen table that refuses unknown keys; as JSON, a number that is not finite is null.

    Computed fields are stored for those who read the file, and computed anew where it is read back.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="null")

    @model_validator(mode="before")
    @classmethod
    def _without_computed(cls, values: Any) -> Any:  # noqa: ANN401 - whatever a model is made from
        if not isinstance(values, dict) or not cls.model_computed_fields:
            return values
        return {name: value for name, value in values.items() if name not in cls.model_computed_fields}

    @model_validator(mode="before")
    @classmethod
    def _no_truth_for_a_number(cls, values: Any) -> Any:  # noqa: ANN401 - whatever a model is made from
        """Makes True the word "true" where a number is asked for: pydantic takes True for 1, and refuses a word."""
        if not isinstance(values, dict):
            return values
        fields = cls.model_fields
        wrong = {
            name: str(value).lower()
            for name, value in values.items()
            if isinstance(value, bool) and name in fields and _is_number(fields[name].annotation)
        }
        return {**values, **wrong}

    def as_json(self) -> str:
        """Returns strict JSON in ASCII, which keeps names of files that are no Unicode, as pydantic's own does not."""
        return json.dumps(_strict(self.model_dump(mode="json")), allow_nan=False)


def _is_number(annotation: Any) -> bool:  # noqa: ANN401 - any type may stand there
    """Whether a field of this type may be a number, and not true or false."""
    kinds = _kinds(annotation)
    return (int in kinds or float in kinds) and bool not in kinds


def _kinds(annotation: Any) -> list[Any]:  # noqa: ANN401 - any type may stand there
    parts = get_args(annotation)
    return [kind for part in parts for kind in _kinds(part)] if parts else [annotation]


def _strict(value: Any) -> Any:  # noqa: ANN401 - whatever JSON holds
    """The same with null in place of numbers that are not finite."""
    if isinstance(value, dict):
        return {name: _strict(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_strict(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


Number = Annotated[float, BeforeValidator(lambda value: math.nan if value is None else value)]
"""A float of a result that may be NaN: null in JSON, and NaN again where it is read back."""


@dataclass(frozen=True)
class Flag:
    """How a field of settings stands at the command line; a mark in its annotation.

    Attributes:
        metavar: The field is an argument, not an option, and help calls it so.
        letter: A short form, such as "-n".
        kind: What is typed, where the field holds something else.
        is_outcome: Whether the field decides what comes out. Threads and folders of data do not: two settings that
            differ in them alone are the same experiment.
    """

    metavar: str | None = None
    letter: str | None = None
    kind: type | None = None
    is_outcome: bool = True


@dataclass(frozen=True)
class Setting:
    """A field of settings, as a command line needs it.

    Attributes:
        name: Of the field.
        kind: int, float, bool, str or Path; the model itself checks the range.
        is_many: Whether it may be given several times.
        help: What it is, the names of its table included.
        default: What it is where nothing is said.
        is_required: Whether it has no default.
        flag: How it stands at the command line.
    """

    name: str
    kind: type
    is_many: bool
    help: str
    default: object
    is_required: bool
    flag: Flag


class Settings(Model):
    """What decides what a command does; the description of each field is the help of its flag."""

    @classmethod
    def settings(cls) -> list[Setting]:
        """Returns all fields that a user may set, in their order."""
        return [_setting(name, field) for name, field in _fields(cls) if field.description is not None]

    @classmethod
    def tables(cls) -> dict[str, Table]:
        """Returns the tables that fields name entries of, by the fields' names."""
        marks = {name: [mark for mark in field.metadata if isinstance(mark, Table)] for name, field in _fields(cls)}
        return {name: mark for name, found in marks.items() for mark in found}

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        for name, table in self.tables().items():
            value = getattr(self, name)
            if isinstance(value, str) and value not in table.names():
                raise GenpriorError(f"unknown {name} '{value}', {suggestion(value, table.names())}", argument=name)
        return self

    @model_validator(mode="after")
    def _check_paths(self) -> Self:
        for name in type(self).model_fields:
            value = getattr(self, name)
            for path in value if isinstance(value, tuple) else [value]:
                if isinstance(path, Path) and NO_TEXT.search(str(path)):  # safetensors opens no such file
                    raise GenpriorError(
                        f"{str(path)!a} is no name in UTF-8: rename it, or set PYTHONUTF8=1 where it is one",
                        argument=name,
                    )
        return self

    def same_outcome(self, other: "Settings") -> bool:
        """Whether two settings differ at most in what does not decide the outcome."""
        return type(self) is type(other) and self.deciding() == other.deciding()

    def deciding(self) -> dict[str, Any]:
        """Returns the fields that decide the outcome, as they are stored; paths are absolute."""
        free = {each.name for each in self.settings() if not each.flag.is_outcome}
        paths = {name: _absolute(getattr(self, name)) for name in type(self).model_fields if name not in free}
        return self.model_dump(mode="json", exclude=free) | {name: each for name, each in paths.items() if each}


class Result(Model):
    """What an experiment found.

    Attributes:
        version: Of the form in which it is stored.
        is_complete: Whether all is measured; what an interrupted experiment leaves is not.
        settings: With which it was found; a result narrows the type to its own.
    """

    version: Literal[1] = 1
    is_complete: bool = True
    settings: Settings


def read_size(value: Any) -> int | tuple[int, int] | None:  # noqa: ANN401 - whatever somebody writes
    """Returns a size: pixels a side, (height, width), or None for "auto" and None.

    Raises:
        GenpriorError: Anything but whole numbers from 1 to 1024.

    Example:
        >>> read_size("64"), read_size("48x32"), read_size("auto")
        (64, (48, 32), None)
    """
    if value is None or value == "auto":
        return None
    parts = (
        value.lower().split("x") if isinstance(value, str) else value if isinstance(value, tuple | list) else [value]
    )
    sides: list[Any] = [int(part) if isinstance(part, str) and part.isdecimal() else part for part in parts]
    if len(sides) not in (1, 2) or any(type(side) is not int or not 1 <= side <= LARGEST for side in sides):
        raise GenpriorError(
            f"expected whole numbers of pixels above 0, at most {LARGEST}: 64, 48x32 (height x width), or auto, got "
            f"{value!r}",
            argument="size",
        )
    return sides[0] if len(sides) == 1 else (sides[0], sides[1])


def size_text(size: int | tuple[int, int] | None) -> str:
    """Returns a size as it is typed."""
    return "auto" if size is None else "x".join(map(str, size)) if isinstance(size, tuple) else str(size)


def is_path(text: str) -> bool:
    """Returns whether a data spec begins with a file or folder that is there, a slice or the name of an array apart."""
    body = text.partition("[")[0] if text.endswith("]") else text
    return bool(text) and any(
        Path(each).expanduser().exists() for each in (text, body, body.rpartition(":")[0]) if each
    )


LARGEST = 1024  # pixels a side; more is a slip, and would ask for all memory there is
Size = Annotated[
    int | tuple[int, int] | None,
    BeforeValidator(read_size),
    Field(description="Pixels: 64, or height x width 48x32; default auto: as the images are, folders at most 128."),
    Flag(kind=str),
]
White = Annotated[
    float | None,
    Field(gt=0, allow_inf_nan=False, description="The number that is white; default 255, 65535 or 1, by type."),
]
Threads = Annotated[
    int | None,
    Field(ge=1, le=1024, description="CPU threads; default: as many as torch takes."),
    Flag(is_outcome=False),
]
DataRoot = Annotated[
    Path | None,
    Field(description="Folder of named data sets; default $GENPRIOR_DATA, else a cache folder."),
    Flag(is_outcome=False),
]
Channels = Annotated[
    Literal[1, 3, 4] | None,
    Field(description="1 for grey, 3 for colour, 4 to keep transparency; default as the data, on white."),
]
Fit = Annotated[str, Field(description="How images take another shape:"), Table("genprior.data.geometry", "FITS")]
Strict = Annotated[bool, Field(description="Refuse a folder with an unreadable image instead of skipping it.")]
RunFolder = Annotated[Path, Field(description="Folder of a run."), Flag(metavar="RUN", is_outcome=False)]
"""What is found of a run lies in its folder, wherever that is."""
Moved = Annotated[
    str | None,
    Field(description="Where the images are now that the run was trained on."),
    Flag(is_outcome=False),
]
RunFolders = Annotated[
    tuple[Path, ...], Field(min_length=1, max_length=12, description="Folders of trained runs."), Flag(metavar="RUN...")
]
Weights = Annotated[
    Literal["auto", "best", "last"],
    Field(description="Which weights; auto: the best where they are clearly better on held-out images than the last:"),
]
Seed = Annotated[int, Field(description="Any integer; the same settings give the same result.")]


def validated(model: type[M], values: Mapping[str, Any]) -> M:
    """Returns the model of `values`, with errors of one line.

    Raises:
        GenpriorError: An unknown key, with the nearest known one, or a value out of range; about the field at fault.
    """
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        raise _complaint(model, error) from None


def _complaint(model: type[Model], error: ValidationError) -> GenpriorError:
    first = error.errors()[0]
    cause = first.get("ctx", {}).get("error")
    if isinstance(cause, GenpriorError):
        return cause
    argument = str(first["loc"][0]) if first["loc"] else None
    if first["type"] == "extra_forbidden":
        return GenpriorError(f"unknown config key, {suggestion(str(argument), model.model_fields)}", argument=argument)
    if first["type"] == "missing":
        return GenpriorError("is needed", argument=argument)
    if first["type"] == "too_long":
        most, count = first["ctx"]["max_length"], first["ctx"]["actual_length"]
        return GenpriorError(f"expected at most {most}, got {count}", argument=argument)
    got = f", got {first['input']!r}" if argument else ""
    message = first["msg"].removeprefix("Value error, ")
    return GenpriorError(message[0].lower() + message[1:] + got, argument=argument)


def _absolute(value: object) -> object:
    """The absolute texts of a path, or of several; None of anything else."""
    if isinstance(value, Path):
        return str(value.expanduser().absolute())
    if isinstance(value, tuple) and value and all(isinstance(each, Path) for each in value):
        return [str(each.expanduser().absolute()) for each in value]
    return None


def _fields(model: type[Model]) -> Iterable[tuple[str, FieldInfo]]:
    return model.model_fields.items()


def _setting(name: str, field: FieldInfo) -> Setting:
    table = next((mark for mark in field.metadata if isinstance(mark, Table)), None)
    flag = next((mark for mark in field.metadata if isinstance(mark, Flag)), Flag())
    description = field.description or ""
    names = table.described() if table is not None else _choices(field.annotation)
    told = f"{description} {names}." if names else description
    kind, is_many = _plain(field.annotation)
    default = None if field.is_required() else field.default
    return Setting(name, flag.kind or kind, is_many, told, default, field.is_required(), flag)


def _choices(annotation: Any) -> str:  # noqa: ANN401 - whatever a field is annotated with
    """The words of `Literal["a", "b"]`; empty for anything else."""
    return ", ".join(get_args(annotation)) if get_origin(annotation) is Literal and _plain(annotation)[0] is str else ""


def _plain(annotation: Any) -> tuple[type, bool]:  # noqa: ANN401 - whatever a field is annotated with
    """`int` of `Annotated[int | None, ...]`, `str` of `Literal["crop", "pad"]` and of a spec; and whether many."""
    if get_origin(annotation) in (tuple, list):
        return _plain(get_args(annotation)[0])[0], True
    inside = [each for each in get_args(annotation) if each is not type(None)]
    if inside:
        return _plain(inside[0])
    kind = annotation if isinstance(annotation, type) else type(annotation)
    return (str, False) if kind is Spec else (kind, False)
