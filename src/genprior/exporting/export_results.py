"""What an export is asked and returns: settings, the files that were written, and their words. Imports no torch."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from genprior.runs.experiment import aligned
from genprior.settings import DataRoot, Flag, Model, Result, RunFolder, Settings, Weights

EXPORT, PAGE = "export.json", "index.html"


class ExportSettings(Settings):
    """Settings of an export."""

    run: RunFolder
    to: Annotated[
        Literal["onnx", "web"], Field(description="Files of networks, or a page that runs them in a browser:")
    ] = "onnx"
    out: Annotated[Path | None, Field(description="Folder of the files; default RUN-onnx or RUN-web.")] = None
    weights: Weights = "auto"
    runtime: Annotated[
        Path | None,
        Field(description="onnxruntime-web-1.30.0.tgz for the page; default: fetched from npm's registry, and kept."),
        Flag(is_outcome=False),
    ] = None
    data_root: DataRoot = None

    @property
    def folder(self) -> Path:
        """Where the files go."""
        return self.out or self.run.absolute().with_name(f"{self.run.absolute().name}-{self.to}")


FileName = Annotated[
    str, Field(pattern=r"^[a-z]+\.(onnx|html)$")
]  # of the folder: a record from elsewhere names no other


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
    """A file of ONNX: one of the folder, or one in the page.

    Attributes:
        file: Its name.
        does: What its network does, in a few words.
        inputs: Of the network, float32, batch first.
        output: Name and shape of what comes out.
        bytes, sha256: Of the file.
        largest_difference: From torch, over batches of several sizes; over the largest number where that is above 1.
    """

    file: FileName
    does: str
    inputs: tuple[ExportedInput, ...]
    output: ExportedInput
    bytes: int
    sha256: str
    largest_difference: float


class ExportedPage(Model):
    """A page that was written.

    Attributes:
        file: Its name in the folder.
        bytes, sha256: Of the page.
        networks: That are in it.
        runtime: Package and version of what runs them.
        runtime_integrity: Checksum of that package, as npm writes it.
    """

    file: FileName
    bytes: int
    sha256: str
    networks: tuple[str, ...]
    runtime: str
    runtime_integrity: str


class Export(Result):
    """What an export wrote.

    Attributes:
        image_shape: (C, H, W).
        latent_size: k.
        weights_sha256: Of the networks.
        opset: Of ONNX.
        files: Networks, in the order in which they were made.
        page: That they are in; None: they are files of the folder.
    """

    settings: ExportSettings
    image_shape: tuple[int, int, int]
    latent_size: int
    weights_sha256: str
    opset: int
    files: tuple[ExportedFile, ...] = ()
    page: ExportedPage | None = None

    def written(self) -> dict[str, str]:
        """Returns the SHA-256 of each file in the folder, by its name."""
        return {each.file: each.sha256 for each in (self.files if self.page is None else (self.page,))}


def export_lines(found: Export) -> list[str]:
    """Returns what is printed of an export."""
    rows = [["file", "takes", "gives", "MB", "from torch"]]
    for each in found.files:
        takes = ", ".join(_shown(one) for one in each.inputs)
        size, difference = f"{each.bytes / 1e6:.1f}", f"{each.largest_difference:.1g}"
        name = each.file if found.page else str(found.settings.folder / each.file)
        rows.append([name, takes, _shown(each.output), size, difference])
    return [*aligned(rows), *(_page_lines(found.settings.folder, found.page) if found.page else [])]


def _page_lines(folder: Path, page: ExportedPage) -> list[str]:
    return [
        f"page: {folder / page.file}, {page.bytes / 1e6:.1f} MB with {page.runtime}",
        "open it in a browser, from disk or from any server of files; nothing else is needed",
    ]


def _shown(value: ExportedInput) -> str:
    return f"{value.name} ({', '.join(['B', *map(str, value.shape)])})"
