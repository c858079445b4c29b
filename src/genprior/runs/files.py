"""Files of text, tables and tensors, written whole or not at all. Imports errors only, and torch late."""

import errno
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genprior.errors import GenpriorError

if TYPE_CHECKING:
    from torch import Tensor

NUMBER = re.compile(r"\(os error (\d+)\)")


def write_text(path: Path, text: str) -> None:
    """Writes a file so that a kill at any instant leaves either the old one or the new one."""
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Writes strict JSON, whole or not at all."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_table(path: Path, argument: str) -> dict[str, Any]:
    """Returns a table of settings written as JSON; raises `GenpriorError` about `argument` where there is none."""
    try:
        values = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise GenpriorError(f"{path} cannot be read: {error}", argument=argument) from None
    if not isinstance(values, dict):
        raise GenpriorError(f"{path} holds no table of settings", argument=argument)
    return values


def save_tensors(tensors: "Mapping[str, Tensor]", path: Path, metadata: dict[str, str] | None = None) -> None:
    """Writes a safetensors file so that a kill at any instant leaves either the old one or the new one.

    Raises:
        OSError: It could not be written, and why; what was there is still whole.
    """
    from safetensors.torch import save_file

    temporary = path.with_name(path.name + ".tmp")
    with raised_as_os_errors(path), usual_mode(temporary):
        try:
            save_file(dict(tensors), temporary, metadata=metadata)
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
        except Exception:
            temporary.unlink(missing_ok=True)  # on a full disk it would be in the way of everything else
            raise
    temporary.replace(path)


@contextmanager
def usual_mode(path: Path) -> Iterator[None]:
    """Gives a file that is written meanwhile the mode of any new file: safetensors lets its owner alone read it."""
    path.touch()
    mode = path.stat().st_mode
    yield
    path.chmod(mode)


@contextmanager
def raised_as_os_errors(path: Path) -> Iterator[None]:
    """Makes an `OSError` about `path` of what safetensors raises where the system cannot write a file.

    Raises:
        OSError: With the number and the reason that the system gave.
    """
    from safetensors import SafetensorError

    try:
        yield
    except SafetensorError as error:
        found = NUMBER.search(str(error))
        number = int(found[1]) if found else errno.EIO
        reason = os.strerror(number) if found else str(error).partition("\n")[0]
        raise OSError(number, reason, str(path)) from error


def weights_sha256(state: "Mapping[str, Tensor]") -> str:
    """Returns a SHA-256 over names, types, shapes and values of tensors, whatever their order and memory layout."""
    import torch

    digest = hashlib.sha256()
    for name in sorted(state):
        value = state[name].detach().cpu().contiguous()
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def sync(path: Path) -> None:
    """Waits until the disk has a file or folder: a rename may otherwise survive a power cut without its contents."""
    if path.is_dir() and os.name == "nt":  # Windows opens no folders
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
