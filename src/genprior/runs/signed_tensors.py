"""Tensors that a run has beside its checkpoints, each file whole or refused: with a text of their own, and a checksum.

An encoder, a residual and a base are such files.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from torch import Tensor

from genprior.errors import GenpriorError, raise_lack_of_memory
from genprior.runs.checkpoint import no_right
from genprior.stored_files import weights_sha256
from genprior.writing import save_tensors

T = TypeVar("T")


def keep_tensors(file: Path, state: dict[str, Tensor], name: str, text: str) -> None:
    """Writes tensors and a text, whole or not at all: a kill at any instant leaves the old file or the new one.

    Arguments:
        file: Where.
        state: Tensors by name.
        name: Of the text, in the header of the file.
        text: Whatever says where the tensors come from.
    """
    own = {key: value.detach().cpu().contiguous() for key, value in state.items()}
    save_tensors(own, file, {name: text, "sha256": _checksum(text, own)})


def read_tensors(file: Path, name: str) -> tuple[str, dict[str, Tensor]]:
    """Returns text and tensors that `keep_tensors` wrote; raises all kinds of errors where the file is damaged."""
    from safetensors import safe_open

    with safe_open(file, framework="pt") as opened:
        metadata = opened.metadata()
        state = {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118 - no mapping
    if metadata["sha256"] != _checksum(metadata[name], state):
        raise ValueError("its checksum is wrong")
    return metadata[name], state


def read_or_refuse(file: Path, read: Callable[[Path], T], again: str) -> T | None:
    """Returns what is read of a file; None where there is none.

    Arguments:
        file: Which.
        read: Reads it, and raises any error where it is damaged.
        again: How the file is made anew, in words.

    Raises:
        GenpriorError: The file is damaged, or may not be read.
    """
    try:
        return read(file)
    except FileNotFoundError:
        return None
    except PermissionError as error:
        raise no_right(file, error) from error
    except Exception as error:  # safetensors has errors of its own, and what a damaged header holds may be anything
        raise_lack_of_memory(error)
        reason = str(error).partition("\n")[0]
        raise GenpriorError(f"{file} is damaged ({reason}); {again}", argument="run") from error


def checksum_of(file: Path) -> str:
    """Returns the checksum that a file's header names; "" where there is no file, or its header is damaged."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="pt") as opened:
            found: str = opened.metadata()["sha256"]
    except (OSError, SafetensorError, KeyError, TypeError):
        return ""
    return found


def _checksum(text: str, state: dict[str, Tensor]) -> str:
    return hashlib.sha256(f"{text}\n{weights_sha256(state)}".encode()).hexdigest()
