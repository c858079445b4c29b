"""Folders of answers, each with a name of its own; the newest stay."""

import re
import secrets
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

OWN_NAME = re.compile("[0-9a-f]{16}")


def new_place(answers: Path) -> Path:
    """Returns where a new answer goes; whoever writes it makes the folder."""
    return answers / secrets.token_hex(8)


def forget_oldest(answers: Path, files: Iterable[str], most: int) -> None:
    """Removes old answers but for the newest ones; a folder with anything else in it stays.

    Arguments:
        answers: Folder of all answers.
        files: What an answer holds, in its folder or one below.
        most: Answers that stay.
    """
    names = list(files)
    own = [place for place in answers.iterdir() if OWN_NAME.fullmatch(place.name) and not place.is_symlink()]
    with suppress(OSError):  # another visitor's turn has removed it
        for place in sorted(own, key=lambda each: each.stat().st_mtime)[:-most]:
            for name in names:
                (place / name).unlink(missing_ok=True)
            for folder in [*{(place / name).parent for name in names} - {place}, place]:
                with suppress(OSError):  # not empty
                    folder.rmdir()
