"""Settings as JSON, and what tells files and weights from others, by their contents."""

import hashlib
import json
from pathlib import Path
from typing import Any

from genprior.stored_files import signed
from genprior.writing import write_text


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Writes strict JSON with its checksum, whole or not at all."""
    write_text(path, signed(json.dumps(value, allow_nan=False)))


def file_sha256(path: Path) -> str:
    """Returns the SHA-256 of a file's bytes: neither name, date nor size tell what is in it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
