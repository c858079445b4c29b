"""How far a long task is: the one kind of word that every task gives, and the line that shows it.

Imports nothing of ours. A task is a generator that yields `Stage`s and returns what it found.
"""

import re
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, TypeVar

R = TypeVar("R")
Task = Generator["Stage", None, R]

PLAIN_SECONDS = 10  # between lines where the output is a file
SILENT_SECONDS = 60  # after which it is said that nothing is new
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
LEAST_SHARE = 0.01  # from which on the remaining time can be told


@dataclass(frozen=True)
class Stage:
    """How far a task is.

    Attributes:
        fraction: Share that is done, in [0, 1].
        what: What was done last, in a few words.
        notes: Lines to show beside the results, on the standard output.
        alarm: A line that must not be missed, on the standard error.
        found: What was found so far and may be saved; None: nothing new.
    """

    fraction: float
    what: str
    notes: tuple[str, ...] = ()
    alarm: str | None = None
    found: Any = None


def show(task: Task[R], quiet: bool = False) -> R:
    """Goes through a task and returns what it returns; shows how far it is on the way.

    On a terminal that is one live line, elsewhere a line every ten seconds. Where a task gives no stage for a minute,
    the line says for how long. An interruption carries the last words as a note.

    Arguments:
        task: Yields stages.
        quiet: Show nothing.
    """
    if quiet:
        return result_of(task)
    with _bar() if sys.stdout.isatty() else nullcontext() as bar, _watched(_Line(bar)) as line:
        while True:
            try:
                line.show(next(task))
            except StopIteration as end:
                result: R = end.value
                return result
            except KeyboardInterrupt as interruption:
                interruption.add_note(line.what)
                raise
            except Exception:  # whatever it is: it is raised again
                task.close()  # it saves what it has, before the error is told
                raise


def result_of(task: Task[R]) -> R:
    """Goes through a task without showing how far it is, and returns what it returns."""
    while True:
        try:
            next(task)
        except StopIteration as end:
            result: R = end.value
            return result


def primed(task: Task[R]) -> Task[R]:
    """Works a task up to its first stage, so that bad input is found, and returns it with that stage still to come."""
    first: list[Stage] = []
    try:
        first.append(next(task))
    except StopIteration as end:
        result: R = end.value

    def whole() -> Task[R]:
        yield from first
        return (yield from task) if first else result

    return whole()


def within(
    task: Task[R],
    begin: float,
    end: float,
    prefix: str = "",
    found: Callable[[Any], Any] = lambda part: part,
    own: tuple[float, float] = (0.0, 1.0),
) -> Task[R]:
    """Returns a task as a part of a larger one.

    Arguments:
        task: The part.
        begin, end: Of the whole, both in [0, 1], between which its stages lie.
        prefix: Before its words.
        found: What the part has found -> what the whole has found.
        own: Fractions of the part's own progress that it goes through, which may be less than all of it.
    """
    first, last = own
    while True:
        try:
            stage = next(task)
        except StopIteration as done:
            result: R = done.value
            return result
        part = min(1.0, max(0.0, (stage.fraction - first) / (last - first)))
        share = end if part == 1 else begin + (end - begin) * part  # without rounding where the next part begins
        yield Stage(
            share, prefix + stage.what, stage.notes, stage.alarm, None if stage.found is None else found(stage.found)
        )


class _Line:
    """The line of a task, and when it was last written."""

    def __init__(self, bar: Any) -> None:  # noqa: ANN401 - rich's Progress, or None
        self.bar, self.began, self.next_line = bar, time.monotonic(), time.monotonic()
        self.first: float | None = None
        self.what, self.fraction, self.heard = "", 0.0, time.monotonic()
        self.row = None if bar is None else bar.add_task("starting", total=1.0)

    def show(self, stage: Stage) -> None:
        self.first = stage.fraction if self.first is None else self.first
        self.what, self.fraction, self.heard = stage.what, stage.fraction, time.monotonic()
        _print(stage.notes, sys.stdout, self.bar)
        self._write(printable(stage.what) + self._left(stage.fraction))
        _print([] if stage.alarm is None else [f"genprior: {stage.alarm}"], sys.stderr, None)

    def tell_silence(self) -> None:
        """Says for how long nothing is new, where that is long."""
        silent = time.monotonic() - self.heard
        if self.what and silent >= SILENT_SECONDS:
            self._write(f"{printable(self.what)}{self._left(self.fraction)}  nothing new for {clock(silent)}")

    def _write(self, text: str) -> None:
        if self.bar is not None:
            self.bar.update(self.row, completed=self.fraction, description=text)
        elif text and (time.monotonic() >= self.next_line or self.fraction >= 1):
            self.next_line = time.monotonic() + PLAIN_SECONDS
            print(f"{100 * self.fraction:3.0f} %  {text}", flush=True)

    def _left(self, fraction: float) -> str:
        """The time that is left at the rate of what was done since the first stage."""
        done = fraction - (self.first or 0.0)
        if done < LEAST_SHARE or fraction >= 1:
            return ""
        return f"  {clock((time.monotonic() - self.began) * (1 - fraction) / done)} left"


@contextmanager
def _watched(line: _Line) -> Iterator[_Line]:
    """Lets a thread tell of silence, as long as the block lasts."""
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(SILENT_SECONDS):
            line.tell_silence()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield line
    finally:
        ended.set()
        watcher.join()


def _bar() -> Any:  # noqa: ANN401 - rich is imported late
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

    return Progress(TextColumn("{task.description}", markup=False), BarColumn(bar_width=24), TaskProgressColumn())


def printable(text: str) -> str:
    """Returns a text whose control characters, but for ends of lines, are escapes: names of files may hold any.

    Example:
        >>> printable("a\\x1b[2Jb")
        'a\\\\x1b[2Jb'
    """
    return CONTROL.sub(lambda found: repr(found[0])[1:-1], text)


def _print(lines: Iterable[str], stream: Any, bar: Any) -> None:  # noqa: ANN401 - files and rich
    for line in map(printable, lines):
        if bar is not None:
            bar.console.print(line, markup=False, highlight=False)
        else:
            print(line, file=stream, flush=True)


def clock(seconds: float) -> str:
    """Returns a time as text.

    Example:
        >>> clock(59.6), clock(3723)
        ('1:00', '1:02:03')
    """
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}" if minutes >= 60 else f"{minutes}:{rest:02}"
