"""When training was ill: the record cut into stretches, each with the sign that it shows."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from genprior.diagnosis.signs import SIGNS
from genprior.diagnosis.window import Game, Row, Window

STRETCH = 50  # steps: what lasts less is no sign of illness
BEFORE = 6 * STRETCH  # steps before its end that a stretch is seen with: falls and swings need a past
SLOW = ("oscillating",)  # signs that look at all of it


@dataclass(frozen=True)
class Episode:
    """A part of training that shows one sign.

    Attributes:
        name: Of the sign.
        text: What it saw when it began.
        first: Images seen when it began.
        last: Images seen when it was seen last.
    """

    name: str
    text: str
    first: int
    last: int


def sign_of(game: Game, rows: Sequence[Row]) -> tuple[str, str] | None:
    """Returns the first sign that the newest stretch of rows shows, and what it sees; None where it shows none."""
    newest, whole = Window(game, rows[-STRETCH:]), Window(game, rows[-BEFORE:])
    for name, sign in SIGNS.items():
        # The stretch decides, and the past tells the story.
        seen = sign(whole) if name in SLOW else sign(newest) and (sign(whole) or sign(newest))
        if seen:
            return name, seen
    return None


class Watch:
    """Follows a record while it grows, and tells when a sign begins and when it ends.

    Arguments:
        game: Of the run.
    """

    def __init__(self, game: Game) -> None:
        self.game = game
        self.current: Episode | None = None
        self._rows: list[Row] = []
        self._new = 0

    def look(self, rows: Sequence[Row]) -> Iterator[tuple[str, Episode]]:
        """Yields ("begins" or "ends", episode) for each change that these rows, the next of the record, bring."""
        for row in rows:
            self._rows.append(row)
            self._new += 1
            if self._new == STRETCH:
                self._new = 0
                yield from self._decide()
                del self._rows[:-BEFORE]

    def _decide(self) -> Iterator[tuple[str, Episode]]:
        sign, before = sign_of(self.game, self._rows), self.current
        stretch = self._rows[-STRETCH:]
        first, last = (row["images_seen"] for row in (stretch[0], stretch[-1]))
        if before is not None and (sign is None or sign[0] != before.name):
            self.current = None
            yield "ends", before
        if sign is None:
            return
        if self.current is None:
            self.current = Episode(*sign, first, last)
            yield "begins", self.current
        else:
            self.current = replace(self.current, last=last)


def episodes(game: Game, rows: Sequence[Row]) -> list[Episode]:
    """Returns the ill parts of a record, oldest first; what is ill at its end ends at its last row.

    Stretches are counted from the end, so that the newest rows decide about the present; the first few rows, fewer
    than a stretch, are left out.
    """
    watch = Watch(game)
    ended = [episode for change, episode in watch.look(rows[len(rows) % STRETCH :]) if change == "ends"]
    return ended + ([watch.current] if watch.current is not None else [])
