"""The record that `degrade` leaves beside its measurements, so that `restore` knows what they are."""

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from genprior.errors import GenpriorError
from genprior.restoration.noise import NOISES
from genprior.restoration.operators import OPERATORS
from genprior.restoring.ledger import IMAGES
from genprior.runs.files import read_table

MEASUREMENTS, RECORD = "measurements.npy", "degradation.json"
KEYS = {"operator", "noise", "seed", "names", "numbers"}


def is_array(path: Path | None) -> bool:
    """Returns whether a path names an array of measurements, whose items a record numbers."""
    return path is not None and path.name == MEASUREMENTS


def read_record(path: Path) -> dict[str, Any] | None:
    """Returns the record beside an array of measurements, or a folder of their pictures; None where there is none."""
    beside = path.parent / RECORD
    if path.name not in (MEASUREMENTS, IMAGES) or not beside.is_file():
        return None
    record = read_table(beside, "images")
    return record if record.keys() >= KEYS else None


def check_record(record: dict[str, Any], operator: str, seed: int, *, has_mask: bool = False) -> None:
    """Raises `GenpriorError` where a record tells of another operator, or of another seed.

    Arguments:
        record: As `read_record` returns it.
        operator: What the user says damaged the images.
        seed: Of the operator.
        has_mask: A mask takes the place of the operator's options.
    """
    made = str(record["operator"])
    expected = made.partition(":")[0] if has_mask else made
    if not _mean_the_same(OPERATORS, operator, expected):
        raise GenpriorError(f"the measurements were made with {made}, got {operator}", argument="operator")
    if seed != record["seed"]:
        raise GenpriorError(f"the measurements were made with seed {record['seed']}, got {seed}", argument="seed")


def check_noise(record: dict[str, Any], noise: str) -> None:
    """Raises `GenpriorError` where a record tells of another noise."""
    if not _mean_the_same(NOISES, noise, str(record["noise"])):
        raise GenpriorError(f"the measurements were made with {record['noise']}, got {noise}", argument="noise")


def _mean_the_same(table: Mapping[str, Callable[..., object]], one: str, other: str) -> bool:
    return one == other or _meaning(table, one) == _meaning(table, other)


def _meaning(table: Mapping[str, Callable[..., object]], text: str) -> tuple[str, dict[str, object]]:
    """Name and options of what `text` names, those that it leaves to their defaults among them."""
    name, _, options = text.partition(":")
    given = dict(item.partition("=")[::2] for item in filter(None, options.split(",")))
    parameters = inspect.signature(table[name]).parameters.values() if name in table else ()
    defaults = {each.name: each.default for each in parameters if each.default is not each.empty}
    return name, defaults | {key: _value(value) for key, value in given.items()}


def _value(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text
