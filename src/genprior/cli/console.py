"""What commands share: flags made from settings, exit codes, signals, threads, and how a table is printed."""

import inspect
import os
import shlex
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from io import TextIOBase
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer

from genprior.errors import MAY_TELL, GenpriorError, is_lack_of_memory
from genprior.memory import advice_for
from genprior.progress import printable
from genprior.settings import Setting, Settings, validated

USER_ERROR, ILL, INTERRUPTED = 2, 1, 130

Given = dict[str, Any]
"""What a user gave, by the names of fields; what was not given is not in it."""


class LastingStream(TextIOBase):
    """A stream of text whose reader may leave: what cannot be written is dropped, and the work goes on.

    Characters that the stream does not know are written as escapes.

    Attributes:
        stream: Where the text goes.
        fault: Why it does not any more; None: it does.
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.fault: Exception | None = None

    def write(self, text: str) -> int:
        """Writes a text, or nothing once that failed; returns its length."""
        code = self.stream.encoding or "utf-8"
        self._try(lambda: self.stream.write(text.encode(code, "backslashreplace").decode(code)))
        return len(text)

    def flush(self) -> None:
        """Hands the text to the operating system."""
        self._try(self.stream.flush)

    def isatty(self) -> bool:
        """Returns whether it is a terminal; once closed it is none."""
        return not self.stream.closed and self.stream.isatty()

    def fileno(self) -> int:
        """Returns its number."""
        return self.stream.fileno()

    @property
    def encoding(self) -> str:  # type: ignore[override]  # an attribute, says typeshed; of C, which nobody may set
        """Of its characters."""
        return self.stream.encoding

    def _try(self, act: Callable[[], object]) -> None:
        if self.fault is not None:
            return
        try:
            act()
        except (OSError, ValueError) as error:  # of a closed file, the latter
            self.fault = error
            with suppress(OSError, ValueError):  # what is left in its buffer would be an error at the end
                nothing = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nothing, self.stream.fileno())
                os.close(nothing)


@contextmanager
def lasting_streams() -> Iterator[LastingStream]:
    """Makes both streams last as long as the work; yields the standard output."""
    before = sys.stdout, sys.stderr
    output, errors = (each or os.fdopen(os.open(os.devnull, os.O_WRONLY), "w") for each in before)
    sys.stdout, sys.stderr = lasting, _ = LastingStream(output), LastingStream(errors)
    try:
        yield lasting
    finally:
        lasting.flush()
        sys.stdout, sys.stderr = before


def say(text: str, *, err: bool = False) -> None:
    """Prints a line, on the standard error if so wanted; control characters, of names for example, as escapes."""
    typer.echo(printable(text), err=err)


def set_threads(count: int | None) -> None:
    """Makes torch use that many threads; None: as many as it would."""
    if count is not None:
        import torch

        torch.set_num_threads(count)


def refuse_existing(path: Path, overwrite: bool, suffixes: tuple[str, ...], argument: str = "out") -> None:
    """Raises `GenpriorError` for a file that is there, or a name that does not say what it holds."""
    if path.suffix.lower() not in suffixes:
        raise GenpriorError(f"expected a name that ends in {', '.join(suffixes)}, got {path}", argument=argument)
    if path.exists() and not overwrite:
        raise GenpriorError(f"{path} exists; replace it with --overwrite", argument=argument)


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


@contextmanager
def resumable(is_done_with: Callable[[str], bool]) -> Iterator[None]:
    """Ends the process where a signal asks it to stop, and says how far it was and which command finishes it.

    Arguments:
        is_done_with: Whether the resuming command does without a word of this one.
    """
    try:
        with interrupted_by_signals():
            yield
    except KeyboardInterrupt as interruption:
        where = "".join(f" at {note}" for note in getattr(interruption, "__notes__", []) if note)
        again = shlex.join(["genprior", *(word for word in sys.argv[1:] if not is_done_with(word))])
        say(f"interrupted{where}; finish with: {again}", err=True)
        sys.exit(INTERRUPTED)


def _stopping() -> list[int]:
    """The signals that ask to stop."""
    kinds: list[int] = [signal.SIGINT, signal.SIGTERM]
    hangup = getattr(signal, "SIGHUP", None)  # the terminal was closed; Windows does not know it
    if hangup is not None and signal.getsignal(hangup) != signal.SIG_IGN:  # nohup asks to go on
        kinds.append(hangup)
    return kinds


def print_table(values: Mapping[str, object]) -> None:
    """Prints names and values under each other."""
    width = max(len(key) for key in values)
    for key, value in values.items():
        say(f"{key:<{width}}  {value}")


def command(models: Sequence[type[Settings]], do: Callable[[Given], None], help_text: str) -> Callable[..., None]:
    """Returns a function that typer reads as a command with the fields of all models.

    Arguments:
        models: Of two fields of one name the first one stands.
        do: Called with what was given.
        help_text: Of the command.
    """

    def run(**given: Any) -> None:  # noqa: ANN401 - as many as the models have fields
        try:
            do({name: value for name, value in given.items() if value not in (None, [])})
        except MAY_TELL as error:
            if not is_lack_of_memory(error):
                raise
            raise GenpriorError(f"there is not enough memory: {advice_for(settings)}") from error

    settings: dict[str, Setting] = {}
    for setting in (each for model in models for each in model.settings()):
        settings.setdefault(setting.name, setting)
    ordered = sorted(settings.values(), key=lambda setting: setting.flag.metavar is None)  # arguments come first
    vars(run)["__signature__"] = inspect.Signature([_parameter(setting) for setting in ordered])
    run.__annotations__ = {setting.name: _annotation(setting) for setting in ordered}
    run.__doc__ = help_text
    return run


def parsed(model: type[Settings], given: Given) -> Any:  # noqa: ANN401 - an instance of the model
    """Returns the model of what was given for its fields; raises `GenpriorError` about the field at fault."""
    return validated(model, {name: value for name, value in given.items() if name in model.model_fields})


def _parameter(setting: Setting) -> inspect.Parameter:
    default = inspect.Parameter.empty if setting.is_required else None
    return inspect.Parameter(
        setting.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=_annotation(setting)
    )


def _annotation(setting: Setting) -> Any:  # noqa: ANN401 - a type that is made here
    kind: Any = setting.kind
    kind = list[kind] if setting.is_many else kind
    if not setting.is_required:
        kind = kind | None
    if setting.flag.metavar is not None:
        return Annotated[kind, typer.Argument(metavar=setting.flag.metavar, help=setting.help)]
    told = "text" if setting.kind is str else setting.kind.__name__.lower()
    flag = f"--{setting.name.replace('_', '-')}"
    letters = [setting.flag.letter] if setting.flag.letter else []
    names = [flag, *letters] if letters or setting.kind is bool else []  # typer adds --no-... to flags without a name
    metavar = None if setting.kind is bool else f"<{told}>"
    return Annotated[kind, typer.Option(*names, metavar=metavar, help=setting.help + _default(setting))]


def _default(setting: Setting) -> str:
    if setting.is_required or setting.default is None or setting.default in ((), "") or setting.kind is bool:
        return ""
    default = setting.default
    return f" Default {' '.join(map(str, default)) if isinstance(default, tuple) else default}."
