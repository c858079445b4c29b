"""Settings as JSON, and what tells files and weights from others. Imports torch late."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genprior.stored_files import CHECKSUM, signed
from genprior.writing import write_text

if TYPE_CHECKING:
    from torch import Tensor


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Writes strict JSON with its checksum, whole or not at all."""
    write_text(path, signed(json.dumps(value, allow_nan=False)))


def file_sha256(path: Path) -> str:
    """Returns the SHA-256 of a file's bytes: neither name, date nor size tell what is in it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def weights_sha256(state: "Mapping[str, Tensor]") -> str:
    """Returns a SHA-256 over names, types, shapes and values of tensors, whatever their order and memory layout."""
    import torch

    digest = hashlib.sha256()
    for name in sorted(state):
        value = state[name].detach().cpu().contiguous()
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def read_tensors(path: Path) -> "dict[str, Tensor]":
    """Returns the tensors of a safetensors file, which are those of the checksum in it, where there is one.

    Raises:
        OSError: There is no such file.
        ValueError: It is damaged or was altered.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors: dict[str, Tensor] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(str(error).partition("\n")[0]) from error
    if metadata.get(CHECKSUM) not in (None, weights_sha256(tensors)):
        raise ValueError("it was altered: its checksum does not fit")
    return tensors
