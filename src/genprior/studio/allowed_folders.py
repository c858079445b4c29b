"""Which files the page may touch: those below the folders that were named at the start, and no others."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from genprior.data.spec import NAMES, parse_spec
from genprior.errors import GenpriorError
from genprior.families import RunConfig
from genprior.runs.run_folder import CONFIG
from genprior.studio.studio_settings import StudioSettings

DEEPEST, MOST_LISTED = 4, 300  # folders below a root, and entries of a list
PAGES = (".html",)
REMOTE = {"hub"}  # sources that fetch whatever a visitor names


@dataclass(frozen=True)
class AllowedFolders:
    """Folders and files that were named at the start.

    Attributes:
        home: Where new runs, uploads and results go.
        roots: All that may be read, resolved; `home` is the first.
    """

    home: Path
    roots: tuple[Path, ...]

    def inside(self, path: str | Path, argument: str = "folder") -> Path:
        """Returns the resolved path.

        Raises:
            GenpriorError: It does not lie below a folder named at the start, whether it is there or not, or is empty.
        """
        if path == "":
            raise GenpriorError(
                "none is chosen; where there is none yet, make one in the room Train", argument=argument
            )
        try:
            found = Path(path).expanduser().resolve()
        except (OSError, ValueError, RuntimeError):  # a zero byte, a loop of links, no such user
            found = None
        if found is None or not any(found == root or root in found.parents for root in self.roots):
            raise GenpriorError(
                "lies outside the folders that this page may use: start the studio with its RUN, or with --folder or "
                "--images",
                argument=argument,
            )
        return found

    def new(self, name: str, argument: str = "out") -> Path:
        """Returns where a new folder of that name goes.

        Raises:
            GenpriorError: No plain name, or something is there.
        """
        is_plain = name and name == Path(name).name and not name.startswith(".") and name.isprintable()
        if not is_plain or len(os.fsencode(name)) > 100 or set(name) & set('\\/:*?"<>|'):
            raise GenpriorError(f"expected a plain name without slashes, got {name!r}", argument=argument)
        path = self.inside(self.home / name, argument)
        if path.exists():
            raise GenpriorError(f"{name} exists in {self.home}; choose another name", argument=argument)
        return path

    def data(self, text: str) -> str:
        """Returns a spec of images whose file or folder may be read, as a command in any folder takes it.

        Raises:
            GenpriorError: It lies elsewhere, or would be fetched from elsewhere.
        """
        spec = parse_spec(text.strip())
        if spec.source in REMOTE:
            raise GenpriorError("comes from the internet: fetch it with genprior data first", argument="data")
        if spec.source in NAMES:
            return spec.text
        path = self.inside(spec.text if spec.source else spec.rest, "data")  # also what is not there, seen from here
        if not path.exists():
            raise GenpriorError(f"no such data set, file or folder: {spec.text!r}", argument="data")
        return f"{path}{os.path.expanduser(spec.text).removeprefix(spec.rest)}"  # a slice, or the name of an array

    def refuse_elsewhere(self, config: RunConfig) -> None:
        """Raises `GenpriorError` for settings of a run, perhaps a stranger's, that read what this page may not."""
        self.data(config.data)
        if config.data_root is not None:
            self.inside(config.data_root, "data_root")

    def runs(self) -> list[Path]:
        """Returns the settings of all runs: those named at the start, then those of `home`, the newest first."""
        return self._below(lambda path: path.name == CONFIG)

    def pages(self) -> list[Path]:
        """Returns all pages that commands have written: reports, studies, results; in the order of `runs`."""
        return self._below(lambda path: path.suffix.lower() in PAGES)

    def _below(self, is_asked: Callable[[Path], bool]) -> list[Path]:
        found: dict[Path, None] = {}
        for root in [*self.roots[1:], self.home]:
            asked = (path for path in _files(root) if is_asked(path) and _is_visible(path) and path not in found)
            listed = list(islice(asked, MOST_LISTED - len(found)))
            found |= dict.fromkeys(sorted(listed, key=_changed, reverse=True))
        return list(found)


def allowed_folders(settings: StudioSettings) -> AllowedFolders:
    """Returns what the page may touch; makes the folder for new runs.

    Raises:
        GenpriorError: A folder that was named is not there, or is a whole disk.
    """
    home = settings.folder.expanduser()
    home.mkdir(parents=True, exist_ok=True)
    named = [("runs", each) for each in settings.runs] + [("images", each) for each in settings.images]
    roots = [("folder", home), *((what, each.expanduser()) for what, each in named)]
    for what, path in roots:
        if not path.exists():
            raise GenpriorError(f"{path} is not there", argument=what)
        if path.resolve().parent == path.resolve():
            raise GenpriorError(f"{path} is the whole disk; name a folder", argument=what)
        if what == "runs" and not (path / CONFIG).is_file():
            raise GenpriorError(f"{path} is not a run: it has no {CONFIG}", argument=what)
    return AllowedFolders(home.resolve(), tuple(dict.fromkeys(path.resolve() for _, path in roots)))


def _files(root: Path) -> Iterator[Path]:
    """Files of a folder and the folders below it; links are not followed."""
    for where, folders, files in os.walk(root):
        depth = len(Path(where).relative_to(root).parts)
        folders[:] = sorted(each for each in folders if depth < DEEPEST and not each.startswith("."))
        yield from (Path(where, name) for name in sorted(files))


def _changed(path: Path) -> float:
    """When a file was last written; 0 where it is gone meanwhile."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _is_visible(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()
