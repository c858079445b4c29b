"""What commands share: options, exit codes, signals, and how a table is printed."""

import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from genprior.errors import GenpriorError

USER_ERROR, ILL, INTERRUPTED = 2, 1, 130
PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tiff")

RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run.")]
Root = Annotated[
    Path | None,
    typer.Option(help="Folder of named data sets; default $GENPRIOR_DATA, else a cache folder."),
]
Size = Annotated[int | None, typer.Option(help="Resize images to this many pixels a side.")]
Channels = Annotated[int | None, typer.Option(help="1 for grey, 3 for colour; default as the data.")]
Fit = Annotated[str | None, typer.Option(help="How images become square: crop or pad.")]
Strict = Annotated[
    bool | None,
    typer.Option("--strict", help="Refuse a folder with an unreadable image instead of skipping it."),
]
Seed = Annotated[int | None, typer.Option(help="Any integer; the same settings give the same run.")]
Epochs = Annotated[float | None, typer.Option(help="Budget in passes over the data; default 10.")]
ImagesSeen = Annotated[int | None, typer.Option(help="Budget in images.")]
Device = Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:1 ...")]
Minutes = Annotated[float | None, typer.Option(help="Budget in minutes.")]
Threads = Annotated[int | None, typer.Option(min=1, max=1024, help="CPU threads.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the probe that is there.")]


def set_threads(count: int | None) -> None:
    """Makes torch use that many threads; None: as many as it would."""
    import torch

    if count is not None:
        torch.set_num_threads(count)


def refuse_kept(numbers: Path, overwrite: bool) -> None:
    """Raises `GenpriorError` where a run already has these numbers."""
    if numbers.exists() and not overwrite:
        raise GenpriorError(f"{numbers} exists; replace it with --overwrite", argument="run")


def refuse_existing(path: Path, overwrite: bool, suffixes: tuple[str, ...]) -> None:
    if path.suffix.lower() not in suffixes:
        raise GenpriorError(f"expected a name that ends in {', '.join(suffixes)}, got {path}", argument="out")
    if path.exists() and not overwrite:
        raise GenpriorError(f"{path} exists; replace it with --overwrite", argument="out")


@contextmanager
def stop_on_signal() -> Iterator[list[int]]:
    """A list that the first Ctrl-C or termination signal fills; the second one ends the process as usual."""
    received: list[int] = []

    def receive(number: int, _: object) -> None:
        received.append(number)
        for kind, handler in before.items():
            signal.signal(kind, handler)

    before = {kind: signal.signal(kind, receive) for kind in _stopping()}
    try:
        yield received
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)


@contextmanager
def interrupted_by_signals() -> Iterator[None]:
    """Makes every signal that asks to stop raise KeyboardInterrupt, as Ctrl-C does: what is at hand is left undone."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = {kind: signal.signal(kind, interrupt) for kind in _stopping()}
    try:
        yield
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)


def _stopping() -> list[int]:
    """The signals that ask to stop."""
    kinds: list[int] = [signal.SIGINT, signal.SIGTERM]
    hangup = getattr(signal, "SIGHUP", None)  # the terminal was closed; Windows does not know it
    if hangup is not None and signal.getsignal(hangup) != signal.SIG_IGN:  # nohup asks to go on
        kinds.append(hangup)
    return kinds


def print_columns(rows: Sequence[Sequence[str]]) -> None:
    """Prints rows of cells under each other, the columns as wide as their widest cell."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def print_table(values: dict[str, object]) -> None:
    width = max(len(key) for key in values)
    for key, value in values.items():
        typer.echo(f"{key:<{width}}  {value}")
