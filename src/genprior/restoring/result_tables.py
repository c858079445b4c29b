"""The table of a job's images, and what it says in a few numbers."""

import csv
import math
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import fmean, median
from typing import Any

from torch import Tensor

from genprior.restoration.result import Restoration
from genprior.restoring.ledger import Output, Row
from genprior.restoring.measurements import Item, Refused
from genprior.runs.files import read_table

# What a row may hold of a restored image, in the order of the table.
NUMBERS = ("error", "psnr", "ssim", "misfit", "energy", "weight")
COUNTS = ("starts", "iterations", "candidates")
WORDS = ("stopped", "verdict")
COLUMNS = ("number", "name", *NUMBERS, *COUNTS, *WORDS, "problem")
FILES = {
    "pictures": "pairs.png",
    "solutions": "candidates.png",
    "images in": "images",
    "masks in": "masks",
    "table": "table.csv",
    "latents": "latents.safetensors",
    "measurements": "measurements.npy",
}
NAMED = 100  # failures that a summary names


def rows_of(
    items: Sequence[Item | Refused], names: Sequence[str], found: Restoration | None, quality: dict[str, Tensor]
) -> list[Row]:
    """Returns a row for each item.

    Arguments:
        items: In their order, those that were refused among them.
        names: Of the whole source.
        found: Of the items that were not refused.
        quality: More numbers of those, (B,) each, by the name of their column.
    """
    rows: list[Row] = []
    place = 0
    for item in items:
        row: Row = {"number": item.number, "name": names[item.place]}
        if isinstance(item, Refused) or found is None:
            rows.append(row | {"problem": item.problem if isinstance(item, Refused) else "not restored"})
            continue
        rows.append(row | _facts(found, place) | {name: _number(value[place]) for name, value in quality.items()})
        place += 1
    return rows


def _facts(found: Restoration, i: int) -> Row:
    return {
        **{name: _number(getattr(found, name)[i]) for name in ("error", "misfit", "energy", "weight")},
        **{name: int(getattr(found, name)[i]) for name in ("starts", "iterations")},
        "candidates": int(found.candidate_counts[i]),
        "stopped": found.stopped[i],
        "verdict": found.verdicts[i],
    }


def _number(value: Tensor) -> float | None:
    return float(value) if math.isfinite(float(value)) else None


def write_table(rows: Iterable[Row], path: Path) -> None:
    """Writes one line of comma-separated values for each row, whole or not at all; what is not known stays empty."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    with temporary.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        writer = csv.DictWriter(file, COLUMNS, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows({key: _text(value) for key, value in row.items()} for row in rows)
    temporary.replace(path)


def _text(value: object) -> object:
    return f"{value:.6g}" if isinstance(value, float) else value


def summarise(rows: Iterable[Row], seconds: float) -> dict[str, Any]:
    """Returns means, medians and counts over rows.

    Arguments:
        rows: Of all items.
        seconds: Of work, summed over processes.
    """
    numbers: dict[str, list[float]] = {name: [] for name in (*NUMBERS, *COUNTS)}
    words: dict[str, Counter[str]] = {name: Counter() for name in WORDS}
    failures: list[Row] = []
    images = failed = 0
    for row in rows:
        images += 1
        if "problem" in row:
            failed += 1
            failures += [{"name": row["name"], "problem": row["problem"]}] if failed <= NAMED else []
            continue
        for name in numbers:
            numbers[name] += [row[name]] if row.get(name) is not None else []
        for name in words:
            words[name][row[name]] += 1
    return {
        "images": images,
        "failed": failed,
        "failures": failures,
        "mean": {name: fmean(values) for name, values in numbers.items() if values},
        "median": {name: median(values) for name, values in numbers.items() if values},
        **{f"{name}_counts": dict(counter.most_common()) for name, counter in words.items() if counter},
        "seconds": seconds,
        "images_per_second": images / seconds if seconds > 0 else None,
    }


def facts(output: Output) -> dict[str, object]:
    """Returns what the summary of a finished job says, in words, and where its files are."""
    summary = read_table(output.summary, "out")
    told: dict[str, object] = {"images": summary["images"]}
    for name, what in (("psnr", "{:.2f} dB"), ("ssim", "{:.3f}"), ("error", "{:.4g}"), ("iterations", "{:.0f}")):
        if name in summary.get("mean", {}):
            mean, middle = (what.format(summary[kind][name]) for kind in ("mean", "median"))
            told[name.upper() if name in ("psnr", "ssim") else name] = f"{mean} on average, median {middle}"
    for name in WORDS:
        counts = summary.get(f"{name}_counts", {})
        told |= {name: ", ".join(f"{word} ({count})" for word, count in counts.items())} if counts else {}
    if summary["images_per_second"] is not None:
        told["speed"] = f"{summary['images_per_second']:.3g} images a second and process"
    return told | {what: output.path / file for what, file in FILES.items() if (output.path / file).exists()}


def failures(output: Output) -> tuple[int, list[str]]:
    """Returns how many images of a finished job failed, and a line for the first of them."""
    summary = read_table(output.summary, "out")
    return summary["failed"], [f"{each['name']}: {each['problem']}" for each in summary["failures"]]
