"""How much one visitor may ask for at once, so that the others get their turn."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from genprior.stored_files import loads

MOST_CALLS = 8  # of one session that wait or are answered: a page that is opened makes three, a click one
MOST_STREAMS = 8  # connections of one session on which answers come: a page has two
MOST_WAITING = 10 * MOST_CALLS  # calls of all sessions


def nothing_waits(session: str) -> int:
    """Returns 0: where no page is served, no calls of a session wait."""
    return 0


@dataclass(frozen=True)
class VisitorLimits:
    """Counts what a session has open.

    Attributes:
        waiting: Returns how many calls of a session wait or are being answered.
    """

    waiting: Callable[[str], int] = nothing_waits
    _open: Counter[tuple[str, str]] = field(default_factory=Counter)

    @contextmanager
    def call(self, session: str) -> Iterator[bool]:
        """Counts a call until the page has it, and yields whether it may be made."""
        with self._counted("call", session) as count:
            yield count + self.waiting(session) <= MOST_CALLS

    @contextmanager
    def stream(self, session: str) -> Iterator[bool]:
        """Counts a connection on which answers come as long as it is open, and yields whether it may be."""
        with self._counted("stream", session) as count:
            yield count <= MOST_STREAMS

    @contextmanager
    def _counted(self, kind: str, session: str) -> Iterator[int]:
        self._open[kind, session] += 1
        try:
            yield self._open[kind, session]
        finally:
            self._open[kind, session] -= 1
            if not self._open[kind, session]:
                del self._open[kind, session]


def session_of(body: bytes) -> str | None:
    """Returns the name of the session of a call in JSON; None where it has none."""
    try:
        called: Any = loads(body)
    except (ValueError, RecursionError):
        return None
    found = called.get("session_hash") if isinstance(called, dict) else None
    return found if isinstance(found, str) and found else None
