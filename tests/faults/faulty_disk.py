"""A layer under all writing that fails, or is killed, at one operation: the disk as it is on a bad day.

Files that are opened for writing, what is written to them, and every call that changes a folder are counted, where they
concern one folder. SQLite's tests do the same (https://sqlite.org/testing.html, "I/O error testing").
"""

import builtins
import errno
import io
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors
import safetensors.torch

ERRORS = {"full": errno.ENOSPC, "denied": errno.EACCES, "broken": errno.EIO}
FAULTS = (*ERRORS, "killed")
TAKES_SPACE = {"open", "write", "mkdir"}
CHANGES = ("replace", "rename", "unlink", "remove", "mkdir", "rmdir", "chmod", "fsync")


class Killed(BaseException):
    """The process is gone: nothing that it does from now on reaches the disk."""


class FaultyDisk:
    """Counts operations in a folder, and lets one of them fail.

    Arguments:
        patch: Puts the layer under everything, until the test ends.
        folder: Whose files it is about.
        fault: "full": from then on nothing that takes space succeeds. "denied", "broken": that operation fails, once.
            "killed": it happens half, or not at all, and none after it.
        at: Number of the operation, from 0; None: none.
    """

    def __init__(self, patch: pytest.MonkeyPatch, folder: Path, fault: str = "killed", at: int | None = None) -> None:
        self.folder, self.fault, self.at = os.path.realpath(folder), fault, at
        self.done: list[str] = []
        self.is_dead = self.has_fired = False
        self._lock = threading.Lock()
        self._real = {name: getattr(os, name) for name in CHANGES} | {"open": io.open, "os.open": os.open}
        self._save_file = safetensors.torch.save_file
        for name in CHANGES:
            patch.setattr(os, name, self._watched(name))
        patch.setattr(builtins, "open", self._open)
        patch.setattr(io, "open", self._open)
        patch.setattr(os, "open", self._os_open)
        patch.setattr(safetensors.torch, "save_file", self._save)

    def reach(self, what: str, path: object) -> None:
        """Counts an operation, and raises what is its turn to raise."""
        with self._lock:
            if self.is_dead:
                raise Killed
            number = len(self.done)
            self.done.append(f"{what} {path}")
            is_full = self.has_fired and self.fault == "full" and what in TAKES_SPACE
            if number != self.at and not is_full:
                return
            self.has_fired = True
            if self.fault == "killed":
                self.is_dead = True
                raise Killed
            if self.fault == "full" and what not in TAKES_SPACE:
                return  # a full disk lets names be changed; from now on it is full
        raise OSError(ERRORS[self.fault], os.strerror(ERRORS[self.fault]))

    def concerns(self, path: object) -> bool:
        """Whether a path lies in the folder; locks do not count, the system lifts them."""
        if not isinstance(path, str | os.PathLike):
            return False
        text = os.path.realpath(os.path.dirname(os.path.abspath(os.fspath(path))))
        return (text + os.sep).startswith(self.folder + os.sep) and not str(path).endswith("lock")

    def _watched(self, name: str) -> Callable[..., Any]:
        def call(path: Any, *others: Any, **named: Any) -> Any:  # noqa: ANN401
            if isinstance(path, int) or named.get("dir_fd") is not None or self.concerns(path):
                try:
                    self.reach(name, path)
                except OSError as error:
                    raise OSError(error.errno, error.strerror, None if isinstance(path, int) else str(path)) from None
            return self._real[name](path, *others, **named)

        return call

    def _os_open(self, path: Any, flags: int, *others: Any, **named: Any) -> int:  # noqa: ANN401
        if flags & (os.O_CREAT | os.O_WRONLY | os.O_RDWR) and self.concerns(path):
            self.reach("open", path)
        number: int = self._real["os.open"](path, flags, *others, **named)
        return number

    def _open(self, file: Any, mode: str = "r", *others: Any, **named: Any) -> Any:  # noqa: ANN401
        if not set(mode) & set("wax+") or not self.concerns(file):
            return self._real["open"](file, mode, *others, **named)
        self.reach("open", file)
        raw = WatchedFile(self._real["open"](file, mode.replace("t", "").replace("b", "") + "b", buffering=0), self)
        if "b" in mode:
            return raw
        return io.TextIOWrapper(raw, named.get("encoding"), named.get("errors"), named.get("newline"))

    def _save(self, tensors: Any, path: Any, metadata: Any = None) -> None:  # noqa: ANN401
        content = safetensors.torch.save(tensors, metadata)
        if not self.concerns(path):
            Path(path).write_bytes(content)
            return
        with self._real["open"](path, "wb") as file:
            try:
                self.reach("write", path)
            except OSError as error:
                file.write(content[: len(content) // 2])
                raise safetensors.SafetensorError(f"I/O error: {error.strerror} (os error {error.errno})") from None
            except Killed:
                file.write(content[: len(content) // 2])
                raise
            file.write(content)
        os.chmod(path, 0o600)


class WatchedFile(io.BufferedIOBase):
    """A file that is written without a buffer, each time counted."""

    def __init__(self, raw: io.FileIO, disk: FaultyDisk) -> None:
        self.raw_file, self.disk = raw, disk
        self.name = raw.name

    def write(self, content: Any) -> int:  # noqa: ANN401
        content = bytes(content)
        try:
            self.disk.reach("write", self.name)
        except (OSError, Killed):
            self.raw_file.write(content[: len(content) // 2])
            raise
        self.raw_file.write(content)
        return len(content)

    def fileno(self) -> int:
        return self.raw_file.fileno()

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self.raw_file.seekable()

    def seek(self, *where: int) -> int:
        return self.raw_file.seek(*where)

    def tell(self) -> int:
        return self.raw_file.tell()

    def close(self) -> None:
        super().close()
        self.raw_file.close()
