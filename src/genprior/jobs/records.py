"""The record that `degrade` leaves beside its measurements, so that `restore` knows what they are."""

from pathlib import Path
from typing import Any

from genprior.errors import GenpriorError
from genprior.runs.folder import read_table

MEASUREMENTS, RECORD = "measurements.npy", "degradation.json"
KEYS = {"operator", "noise", "seed", "names", "numbers"}


def read_record(path: Path) -> dict[str, Any] | None:
    """Returns the record beside an array of measurements, or None where there is none."""
    beside = path.parent / RECORD
    if path.name != MEASUREMENTS or not beside.is_file():
        return None
    record = read_table(beside, "images")
    return record if record.keys() >= KEYS else None


def check_record(record: dict[str, Any], operator: str, seed: int) -> None:
    """Raises `GenpriorError` where a record tells of another operator, or of another seed."""
    made = str(record["operator"])
    expected = made if ":" in operator else made.partition(":")[0]  # a mask takes the place of options
    if operator != expected:
        raise GenpriorError(f"the measurements were made with {made}, got {operator}", argument="operator")
    if seed != record["seed"]:
        raise GenpriorError(f"the measurements were made with seed {record['seed']}, got {seed}", argument="seed")
