"""What an export is asked and returns: settings, the files that were written, and their words. Imports no torch."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from genprior.runs.experiment import aligned
from genprior.settings import Model, Result, RunFolder, Settings, Weights

EXPORT = "export.json"


class ExportSettings(Settings):
    """Settings of an export."""

    run: RunFolder
    to: Annotated[Literal["onnx"], Field(description="Format of the files.")] = "onnx"
    out: Annotated[Path | None, Field(description="Folder of the files; default RUN-onnx.")] = None
    weights: Weights = "auto"

    @property
    def folder(self) -> Path:
        """Where the files go."""
        return self.out or self.run.absolute().with_name(f"{self.run.absolute().name}-{self.to}")


class ExportedInput(Model):
    """An input of a network.

    Attributes:
        name: Under which it is fed.
        shape: Of one row, the batch left out.
        meaning: What it is.
    """

    name: str
    shape: tuple[int, ...]
    meaning: str


class ExportedFile(Model):
    """A file that was written.

    Attributes:
        file: Its name in the folder.
        does: What its network does, in a few words.
        inputs: Of the network, float32, batch first.
        output: Name and shape of what comes out.
        bytes, sha256: Of the file.
        largest_difference: From torch, over batches of several sizes; over the largest number where that is above 1.
    """

    file: str
    does: str
    inputs: tuple[ExportedInput, ...]
    output: ExportedInput
    bytes: int
    sha256: str
    largest_difference: float


class Export(Result):
    """What an export wrote.

    Attributes:
        image_shape: (C, H, W).
        latent_size: k.
        weights_sha256: Of the networks.
        opset: Of ONNX.
        files: In the order in which they were written.
    """

    settings: ExportSettings
    image_shape: tuple[int, int, int]
    latent_size: int
    weights_sha256: str
    opset: int
    files: tuple[ExportedFile, ...] = ()


def export_lines(found: Export) -> list[str]:
    """Returns what is printed of an export."""
    rows = [["file", "takes", "gives", "MB", "from torch"]]
    for each in found.files:
        takes = ", ".join(_shown(one) for one in each.inputs)
        size, difference = f"{each.bytes / 1e6:.1f}", f"{each.largest_difference:.1g}"
        rows.append([str(found.settings.folder / each.file), takes, _shown(each.output), size, difference])
    return aligned(rows)


def _shown(value: ExportedInput) -> str:
    return f"{value.name} ({', '.join(['B', *map(str, value.shape)])})"
