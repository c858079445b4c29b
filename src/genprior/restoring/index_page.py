"""The page of a folder of restored images: before and after of each, in a table that sorts; it needs no network."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from genprior.restoring.ledger import AFTER, BEFORE, DEVIATIONS, PAGE, Output
from genprior.restoring.records import ImageRow, RestoreSummary, readable
from genprior.writing import written_text

NUMBERS = {  # columns, where there are such numbers: what stands above them, and how they are written
    "psnr": ("PSNR, dB", "{:.2f}"),
    "ssim": ("SSIM", "{:.3f}"),
    "error": ("error", "{:.4f}"),
    "energy": ("energy, nats", "{:.1f}"),
    "iterations": ("iterations", "{:.0f}"),
    "candidates": ("solutions", "{:.0f}"),
    "deviation": ("deviation", "{:.4f}"),
    "r_hat": ("R-hat", "{:.2f}"),
    "effective": ("effective draws", "{:.0f}"),
}
FEW = ("psnr", "ssim", "error")  # numbers whose mean stands above the table


@dataclass(frozen=True)
class PictureLine:
    """A line of the table.

    Attributes:
        number: Of the image.
        name: Of the image, as text that any page can hold.
        before, after, deviation: Addresses of pictures, from the page; empty where there is none.
        file: Address of the restored picture itself.
        verdict: In words.
        numbers: Text and exact value of each column, the value empty where it is not known.
        note: What a user should know, or why there is no result.
        failed: Whether there is none.
    """

    number: int
    name: str
    before: str
    after: str
    deviation: str
    file: str
    verdict: str
    numbers: list[tuple[str, str]]
    note: str
    failed: bool


def write_page(output: Output, rows: Iterable[ImageRow], summary: RestoreSummary, suffix: str) -> None:
    """Writes the page, whole or not at all; never holds more than a line of it.

    Arguments:
        output: Where the pictures are.
        rows: Of all images.
        summary: Of the job.
        suffix: Of the restored pictures.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("genprior", "restoring"),
        autoescape=True,  # names of files may hold anything
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    columns = [name for name in NUMBERS if name in summary.mean and not _is_dull(name, summary)]
    stream = environment.get_template("restored.html.j2").stream(
        title=f"{summary.images:,} images: genprior {summary.command}",
        facts=_facts(summary),
        has_draws="deviation" in summary.mean,
        columns=[NUMBERS[name][0] for name in columns],
        lines=_lines(output, rows, columns, suffix),
    )
    with written_text(output.path / PAGE) as file:
        file.writelines(stream)


def _is_dull(name: str, summary: RestoreSummary) -> bool:
    return name == "candidates" and summary.mean[name] == 1


def _facts(summary: RestoreSummary) -> dict[str, str]:
    facts = {"images": f"{summary.images:,}", "run": readable(str(summary.settings.run))}
    if summary.failed:
        facts["failed"] = f"{summary.failed:,}"
    means = {name: summary.mean[name] for name in FEW if name in summary.mean}
    facts |= {f"mean {NUMBERS[name][0]}": NUMBERS[name][1].format(value) for name, value in means.items()}
    facts["verdicts"] = ", ".join(f"{word}: {count:,}" for word, count in summary.verdict_counts.items())
    return facts


def _lines(output: Output, rows: Iterable[ImageRow], columns: list[str], suffix: str) -> Iterator[PictureLine]:
    for row in rows:
        picture = output.picture(row.name, suffix=suffix)
        before, after, deviation = (output.picture(row.name, folder) for folder in (BEFORE, AFTER, DEVIATIONS))
        values = [getattr(row, name) for name in columns]
        yield PictureLine(
            row.number,
            readable(row.name),
            address(before, output.path),
            address(picture if suffix == ".png" else after, output.path),
            address(deviation, output.path),
            address(picture, output.path),
            row.verdict or "",
            [
                ("", "") if value is None else (NUMBERS[name][1].format(value), repr(value))
                for name, value in zip(columns, values, strict=True)
            ],
            readable(row.problem or row.note or ""),
            row.problem is not None,
        )


def address(path: Path, folder: Path) -> str:
    """Returns how a page in `folder` calls a file, whatever its name; empty where there is no such file."""
    return quote(os.fsencode(path.relative_to(folder).as_posix())) if path.is_file() else ""
