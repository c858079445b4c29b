"""The live line of a long task."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from genprior.runs import Progress

PLAIN_SECONDS = 10  # between lines where the output is a file


def show(steps: Iterable["Progress"], notes: list[str], quiet: bool) -> "Iterator[Progress]":
    """Passes progress on, and shows it: a live line on a terminal, a line every ten seconds elsewhere."""
    if quiet:
        yield from steps
        return
    for note in notes:
        print(note, flush=True)
    shown = _live(steps) if sys.stdout.isatty() else _plain(steps)
    for progress in shown:
        yield progress
        if progress.message is not None:
            print(f"genprior: {progress.message}", file=sys.stderr, flush=True)


def _live(steps: Iterable["Progress"]) -> "Iterator[Progress]":
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn
    from rich.progress import Progress as Bar

    with Bar(TextColumn("{task.description}"), BarColumn(bar_width=24), TaskProgressColumn()) as bar:
        task = bar.add_task("starting", total=1.0)
        for progress in steps:
            bar.update(task, completed=progress.fraction, description=_line(progress))
            yield progress


def _plain(steps: Iterable["Progress"]) -> "Iterator[Progress]":
    next_line = time.monotonic()
    for progress in steps:
        if time.monotonic() >= next_line or progress.outcome is not None:
            next_line = time.monotonic() + PLAIN_SECONDS
            print(f"{100 * progress.fraction:3.0f} %  {_line(progress)}", flush=True)
        yield progress


def _line(progress: "Progress") -> str:
    row = progress.row
    parts = [f"{row['images_seen']:,} images"]
    if "images_per_second" in row:
        parts.append(f"{row['images_per_second']:,.0f}/s")
        parts += [f"{name} {_number(row[key])}" for name, key in (("D(x)", "d_real"), ("D(G(z))", "d_fake"))]
    if 0 < progress.fraction < 1:
        left = progress.seconds * (1 - progress.fraction) / progress.fraction
        parts.append(f"{_clock(left)} left")
    return "  ".join(parts)


def _number(value: float | None) -> str:
    return "?" if value is None else f"{value:.3f}"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}" if minutes >= 60 else f"{minutes}:{rest:02}"
