"""Settings as JSON, and what tells files and weights from others. Imports torch late."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genprior.errors import GenpriorError
from genprior.writing import write_text

if TYPE_CHECKING:
    from torch import Tensor


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Writes strict JSON, whole or not at all."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_table(path: Path, argument: str) -> dict[str, Any]:
    """Returns a table of settings written as JSON; raises `GenpriorError` about `argument` where there is none."""
    try:
        values = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise GenpriorError(f"{path} cannot be read: {error}", argument=argument) from None
    if not isinstance(values, dict):
        raise GenpriorError(f"{path} holds no table of settings", argument=argument)
    return values


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
