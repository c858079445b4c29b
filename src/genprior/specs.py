"""Specs, "name" or "name:key=value,key=value", parsed once into values; and the tables that their names stand in.

Imports errors only; a table's module is imported when its objects are asked for, not for its names.
"""

import ast
import importlib
import importlib.util
import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from genprior.errors import GenpriorError, suggestion

T = TypeVar("T")
Value = float | int | str


@dataclass(frozen=True, eq=False)
class Spec:
    """A name and its options, as a user wrote them or as values; it equals its text.

    Attributes:
        name: Of an entry of a table.
        options: By their names. Whether a text means a number or a word, the entry tells: `values`.

    Example:
        >>> spec = Spec.parse("r1:gamma=1,every=8")
        >>> spec.name, spec.options["every"], str(spec.with_options(every=4))
        ('r1', '8', 'r1:gamma=1,every=4')
    """

    name: str
    options: Mapping[str, Value]

    @classmethod
    def parse(cls, text: str) -> "Spec":
        """Returns the spec that a text means; what names and options there are, the table says.

        Raises:
            ValueError: An option is given twice.
        """
        name, _, rest = text.partition(":")
        pairs = [item.partition("=")[::2] for item in filter(None, rest.split(","))]
        options: dict[str, Value] = dict(pairs)
        if len(options) < len(pairs):
            raise ValueError("each option may be given once")
        return cls(name, options)

    def __str__(self) -> str:
        options = ",".join(f"{key}={value}" for key, value in self.options.items())
        return f"{self.name}:{options}" if options else self.name

    def __eq__(self, other: object) -> bool:
        return str(self) == str(other) if isinstance(other, Spec | str) else NotImplemented

    def __hash__(self) -> int:
        return hash(str(self))

    def with_options(self, **options: Value) -> "Spec":
        """Returns the spec with options added, or in the place of its own."""
        return Spec(self.name, {**self.options, **options})

    def build(self, table: "Entries[T]", argument: str, **given: object) -> T:
        """Returns the object that the spec names.

        Arguments:
            table: Known names and what makes their objects, or where these are.
            argument: What the user calls it, for error messages.
            given: Arguments that the caller adds and the user may not set.

        Raises:
            GenpriorError: Unknown name, unknown option, or a value that is no number where the option is not a word (a
                parameter annotated `str` or `str | None`).

        Example:
            >>> Spec.parse("pair:b=5").build({"pair": lambda a, b=2: (a, b)}, "thing", a=1)
            (1, 5)
        """
        return _entry(table, self.name, argument)(**given, **self.values(table, argument, *given))

    def values(self, table: "Entries[Any]", argument: str, *given: str) -> dict[str, Value]:
        """Returns the options as the entry takes them; errors as `build` has them.

        Arguments:
            table, argument: As for `build`.
            given: Names of arguments that the user may not set.
        """
        parameters = inspect.signature(_entry(table, self.name, argument)).parameters
        known = [key for key in parameters if key not in given]
        values: dict[str, Value] = {}
        for key, value in self.options.items():
            if key not in known:
                hint = suggestion(key, known) if known else "it has none"
                raise GenpriorError(f"unknown option '{key}' of '{self.name}', {hint}", argument=argument)
            is_word = parameters[key].annotation in (str, str | None)
            what = f"option '{key}' of '{self.name}'"
            values[key] = str(value) if is_word else _number(value, what, argument)
        return values

    def check(self, table: "Entries[Any]", argument: str) -> None:
        """Raises `GenpriorError` for what `build` would refuse, as far as that is known without what a caller gives."""
        given = table.given if isinstance(table, Table) else ()
        values = self.values(table, argument, *given)
        made = _entry(table, self.name, argument)
        needed = {each.name for each in inspect.signature(made).parameters.values() if each.default is each.empty}
        if not needed & set(given):
            made(**values)

    def means(self, other: "Spec", table: Mapping[str, Callable[..., Any]]) -> bool:
        """Whether two specs name the same, those options among them that they leave to their defaults."""
        return self == other or self._meaning(table) == other._meaning(table)

    def _meaning(self, table: Mapping[str, Callable[..., Any]]) -> tuple[str, dict[str, object]]:
        parameters = inspect.signature(table[self.name]).parameters.values() if self.name in table else ()
        defaults = {each.name: each.default for each in parameters if each.default is not each.empty}
        return self.name, defaults | {key: _number_or_word(value) for key, value in self.options.items()}

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        def read(value: object) -> Spec:
            if isinstance(value, Spec):
                return value
            if not isinstance(value, str):
                raise ValueError("expected a name, such as name or name:key=value")
            return cls.parse(value)

        return core_schema.no_info_plain_validator_function(
            read, serialization=core_schema.plain_serializer_function_ser_schema(str)
        )


@dataclass(frozen=True)
class Table:
    """A table of names in a module: a dict literal on its last lines.

    As a mark in a field's annotation it tells the field's help which names there are.

    Attributes:
        module: Where it is.
        name: Of the dict.
        given: Arguments of its entries that no user sets.

    Example:
        >>> Table("genprior.training.optimisation", "SCHEDULES").names()
        ['constant', 'linear', 'annealed']
    """

    module: str
    name: str
    given: tuple[str, ...] = ("image_shape", "seed", "latent_size", "pack")

    def load(self) -> Mapping[str, Callable[..., Any]]:
        """Returns the table itself; this imports its module."""
        table: Mapping[str, Callable[..., Any]] = getattr(importlib.import_module(self.module), self.name)
        return table

    def names(self) -> list[str]:
        """Returns the names in the table, read from its source: help must not import torch."""
        return [name for name, _ in self._entries()]

    def described(self) -> str:
        """Returns names and options with their defaults, such as "l2, huber:delta=0.1"."""
        tree = _source(self.module)
        return ", ".join(name + _options(tree, value, self.given) for name, value in self._entries())

    def _entries(self) -> Iterator[tuple[str, ast.expr]]:
        for node in _source(self.module).body:
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
            if any(isinstance(each, ast.Name) and each.id == self.name for each in targets):
                literal = getattr(node, "value", None)
                assert isinstance(literal, ast.Dict), f"{self.name} of {self.module} is a dict literal"
                for key, value in zip(literal.keys, literal.values, strict=True):
                    assert isinstance(key, ast.Constant), f"names in {self.name} are texts"
                    yield str(key.value), value


Entries = Mapping[str, Callable[..., T]] | Table


def _entry(table: "Entries[T]", name: str, argument: str) -> Callable[..., T]:
    table = table.load() if isinstance(table, Table) else table
    if name not in table:
        raise GenpriorError(f"unknown {argument} '{name}', {suggestion(name, table)}", argument=argument)
    return table[name]


def _number(value: Value, what: str, argument: str) -> float | int:
    number = _number_or_word(value)
    if isinstance(number, str):
        raise GenpriorError(f"{what} must be a number, got '{value}'", argument=argument)
    return number


def _number_or_word(value: Value) -> Value:
    if isinstance(value, str):
        for kind in (int, float):
            with suppress(ValueError, OverflowError):
                float(kind(value))  # whole numbers that no float holds are none
                return kind(value)
    return value


@cache
def _source(module: str) -> ast.Module:
    package, *inside = module.split(".")
    found = importlib.util.find_spec(package)  # of the whole name it would import the rooms on the way
    assert found is not None
    assert found.origin is not None
    path = Path(found.origin).parent.joinpath(*inside)
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return ast.parse(file.read_text(encoding="utf-8"))


def _options(tree: ast.Module, value: ast.expr, given: tuple[str, ...]) -> str:
    """ ":key=default,..." of the function or class that an entry names; empty where it has no options."""
    name = value.id if isinstance(value, ast.Name) else None
    made = next((node for node in tree.body if getattr(node, "name", None) == name), None)
    pairs: list[tuple[str, ast.expr | None]] = []
    if isinstance(made, ast.FunctionDef):
        arguments, defaults = made.args.args, made.args.defaults
        pairs = list(zip([each.arg for each in arguments[len(arguments) - len(defaults) :]], defaults, strict=True))
    elif isinstance(made, ast.ClassDef):
        fields = [node for node in made.body if isinstance(node, ast.AnnAssign)]
        # A call is `field(init=False)`: nothing that a user sets.
        set_by_users = [node for node in fields if not isinstance(node.value, ast.Call)]
        pairs = [(node.target.id, node.value) for node in set_by_users if isinstance(node.target, ast.Name)]
    told = [f"{key}={_default(default)}" for key, default in pairs if default is not None and key not in given]
    return f":{','.join(told)}" if told else ""


def _default(default: ast.expr) -> str:
    if isinstance(default, ast.Constant):
        return "..." if default.value is None else str(default.value)
    return ast.unparse(default)
