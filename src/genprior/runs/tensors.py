"""Files of tensors, written whole or not at all."""

import errno
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from torch import Tensor

NUMBER = re.compile(r"\(os error (\d+)\)")


def save_tensors(tensors: Mapping[str, Tensor], path: Path, metadata: dict[str, str] | None = None) -> None:
    """Writes a safetensors file so that a kill at any instant leaves either the old one or the new one.

    Raises:
        OSError: It could not be written, and why; what was there is still whole.
    """
    from safetensors.torch import save_file

    temporary = path.with_name(path.name + ".tmp")
    with told_as_os_errors(path):
        try:
            save_file(dict(tensors), temporary, metadata=metadata)
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
        except Exception:
            temporary.unlink(missing_ok=True)  # on a full disk it would be in the way of everything else
            raise
    temporary.replace(path)


@contextmanager
def told_as_os_errors(path: Path) -> Iterator[None]:
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
