"""The networks of a prior as ONNX files, or in a page; each is run by onnxruntime and held against torch first."""

import hashlib
import io
import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from genprior.errors import GenpriorError
from genprior.exporting.export_results import (
    EXPORT,
    PAGE,
    Export,
    ExportedFile,
    ExportedInput,
    ExportedPage,
    ExportSettings,
)
from genprior.exporting.web_page import PageContent, page_of, page_settings
from genprior.exporting.web_runtime import INTEGRITY, VERSION, WebRuntime, web_runtime
from genprior.priors.contracts import LatentPrior, latents_of
from genprior.progress import Stage, Task
from genprior.runs.experiment import part_of, read_result
from genprior.runs.run_folder import open_run
from genprior.runs.trained_prior import load_prior
from genprior.stored_files import weights_sha256
from genprior.writing import sync_all, write_bytes

OPSET = 18
TRACED, MOST_ROWS = 3, 16  # rows of a batch; priors go through larger ones in parts, of which one alone is traced
ROWS = (1, TRACED, MOST_ROWS)  # sizes of batches at which a file is held against torch
NAMES = ("generator", "denoiser", "encoder")
TOLERANCE = 1e-4
NOISE = 0.3  # of the denoiser's example
MEANINGS = {
    "z": "a latent, standard normal where it is a sample's",
    "x": "an image in [0, 1]",
    "known": "1 for known pixels, 0 for missing ones",
    "sigma": "standard deviation of the noise in x, above 0",
}


@dataclass(frozen=True)
class ExportedPart:
    """Something that a prior can do.

    Attributes:
        does: In a few words.
        function: Of tensors (B, ...), B from 1 to `MOST_ROWS`.
        inputs: Examples by their names.
        output: Name of what it returns.
    """

    does: str
    function: Callable[..., Tensor]
    inputs: Mapping[str, Tensor]
    output: str


def export_stages(settings: ExportSettings, kept: Export | None) -> Task[Export]:
    """Writes a file for each thing that a run's prior can do, or one page; `export.json` follows when all are there.

    Raises:
        GenpriorError: onnx, onnxscript or onnxruntime is not installed; no run; points, or a mixture; no runtime for
            a page; or a file that does not compute what torch does.
    """
    _refuse_without_packages()
    prior = load_prior(settings.run, weights=settings.weights).with_base(None)  # files hold networks alone
    if prior.image_shape[1:] == (1, 1):
        raise GenpriorError(f"{settings.run} makes points of the plane; only images are exported", argument="run")
    if prior.conditional is not None:
        raise GenpriorError(f"{settings.run} has no network: the images of a mixture are its latents", argument="run")
    runtime = web_runtime(settings.runtime, settings.data_root) if settings.to == "web" else None
    _make_room(settings, kept)
    found = Export(
        settings=settings,
        image_shape=prior.image_shape,
        latent_size=prior.latent_size,
        weights_sha256=weights_sha256(nn.ModuleList(prior.networks).state_dict()),
        opset=OPSET,
        is_complete=False,
    )
    parts, contents = parts_of(prior), {}
    told = None if runtime is None else page_settings(prior, tuple(parts))
    if told is not None:
        parts = {name: parts[name] for name in told[0].networks}
    for i, (name, part) in enumerate(parts.items()):
        yield Stage(i / len(parts), name, found=found)
        contents[name], made = _made(part, prior.networks, f"{name}.onnx")
        if runtime is None:
            write_bytes(settings.folder / made.file, contents[name])
        found = found.model_copy(update={"files": (*found.files, made)})
    yield Stage(1.0, "files" if runtime is None else "page", found=found)
    if runtime is not None and told is not None:
        page = _written_page(found, told, contents, runtime)
        found = found.model_copy(update={"page": page})
    sync_all(settings.folder / name for name in found.written())
    return found.model_copy(update={"is_complete": True})


def _written_page(found: Export, told: PageContent, contents: Mapping[str, bytes], runtime: WebRuntime) -> ExportedPage:
    """Writes the page, and tells of it."""
    title = open_run(found.settings.run).config.title
    content = page_of(title[0].upper() + title[1:], found.weights_sha256, told, contents, runtime).encode()
    write_bytes(found.settings.folder / PAGE, content)
    return ExportedPage(
        file=PAGE,
        bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        networks=tuple(contents),
        runtime=f"onnxruntime-web {VERSION}",
        runtime_integrity=INTEGRITY,
    )


def _make_room(settings: ExportSettings, kept: Export | None) -> None:
    """Makes the folder, and removes files of an earlier export; raises `GenpriorError` for files of somebody else."""
    folder = settings.folder
    folder.mkdir(parents=True, exist_ok=True)
    record = folder / EXPORT
    earlier = [kept, *(read_result(file, Export) for file in (record, part_of(record)))]
    ours = {name for each in earlier if each is not None for name in _names_of(each)}
    for name in _files_of(settings):
        if (folder / name).exists() and name not in ours:
            raise GenpriorError(
                f"{folder / name} is there, and no export wrote it; choose another folder", argument="out"
            )
    for name in ours:
        (folder / name).unlink(missing_ok=True)


def _files_of(settings: ExportSettings) -> set[str]:
    """Names of all files that an export of these settings may write."""
    return {PAGE} if settings.to == "web" else {f"{each}.onnx" for each in NAMES}


def _names_of(found: Export) -> set[str]:
    """Names of the files that an export wrote; one that was cut off may have written any of its own."""
    possible = _files_of(found.settings)
    return possible & found.written().keys() if found.is_complete else possible


@torch.no_grad()
def parts_of(prior: LatentPrior) -> dict[str, ExportedPart]:
    """Returns what a prior can do, by the names of the files.

    The way from images to latents is that of trained encoders. Flow matching solves an equation with its denoiser.
    Logarithms of Glow lose digits near black and white.
    """
    z = torch.cat(latents_of(prior.draw, MOST_ROWS, 0))
    x = prior.decode(z).clamp(0, 1)
    parts = {"generator": ExportedPart("latents to images", prior.decode, {"z": z}, "x")}
    denoiser = prior.denoiser
    if denoiser is not None:
        noisy = x + NOISE * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
        sigma = torch.linspace(NOISE, 2 * NOISE, len(x))
        does = "noisy images to E[x | noisy]"
        parts["denoiser"] = ExportedPart(does, denoiser.denoise, {"x": noisy, "sigma": sigma}, "x")
    elif prior.encode_damaged is not None:
        known = torch.ones(len(x), 1, *x.shape[2:])
        known[..., : x.shape[2] // 2, :] = 0
        does = "damaged images to latents"
        parts["encoder"] = ExportedPart(does, prior.encode_damaged, {"x": x, "known": known}, "z")
    return parts


class _Network(nn.Module):
    """A function as a module, with the networks whose weights it uses."""

    def __init__(self, function: Callable[..., Tensor], networks: tuple[nn.Module, ...]) -> None:
        super().__init__()
        self._function, self._networks = function, nn.ModuleList(networks)
        self.training = False  # the networks are evaluated already; saying it again unfreezes what Glow has inverted

    def forward(self, *inputs: Tensor) -> Tensor:
        return self._function(*inputs)


def _made(part: ExportedPart, networks: tuple[nn.Module, ...], name: str) -> tuple[bytes, ExportedFile]:
    """A file that computes what torch does, and what is told of it."""
    content = traced(part, networks)
    difference = largest_difference(content, part)
    if not difference <= TOLERANCE:
        raise GenpriorError(
            f"{name} differs from torch by {difference:.2g}, more than {TOLERANCE:g}, and is not written",
            argument="run",
        )
    with torch.no_grad():
        out = part.function(*part.inputs.values())
    return content, ExportedFile(
        file=name,
        does=part.does,
        inputs=tuple(_told(name, value) for name, value in part.inputs.items()),
        output=_told(part.output, out),
        bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        largest_difference=difference,
    )


def _told(name: str, value: Tensor) -> ExportedInput:
    return ExportedInput(name=name, shape=tuple(value.shape[1:]), meaning=MEANINGS[name])


@torch.no_grad()
def traced(part: ExportedPart, networks: tuple[nn.Module, ...]) -> bytes:
    """Returns an ONNX file that computes a function for batches of 1 to `MOST_ROWS`."""
    batch = torch.export.Dim("batch", min=1, max=MOST_ROWS)
    output = "out" if part.output in part.inputs else part.output
    with _silent():
        program = torch.onnx.export(
            _Network(part.function, networks),
            tuple(value[:TRACED] for value in part.inputs.values()),
            dynamo=True,
            dynamic_shapes=(tuple({0: batch} for _ in part.inputs),),
            input_names=list(part.inputs),
            output_names=[output],
            opset_version=OPSET,
            custom_translation_table=_translations(),
            verbose=False,
        )
    assert program is not None
    content: bytes = program.model_proto.SerializeToString()
    return content


def largest_difference(content: bytes, part: ExportedPart) -> float:
    """Returns by how much an ONNX file differs from torch at most, over batches of the sizes in `ROWS`.

    Differences are divided by the largest number that torch gives, where that is above 1.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    found = 0.0
    for rows in ROWS:
        inputs = {name: value[:rows] for name, value in part.inputs.items()}
        with torch.no_grad():
            expected = part.function(*inputs.values())
        (out,) = session.run(None, {name: value.numpy() for name, value in inputs.items()})
        if not torch.isfinite(expected).all():
            return math.inf
        off = (torch.from_numpy(out) - expected).abs().max() / expected.abs().max().clamp_min(1)
        found = max(found, float(off) if torch.isfinite(off) else math.inf)
    return found


def _translations() -> dict[Callable[..., Any], Callable[..., Any]]:
    """What torch's exporter has no translation of."""
    from onnxscript import opset18 as op

    def hypot(a: Any, b: Any) -> Any:  # noqa: ANN401 - symbols of a graph
        return op.Sqrt(op.Add(op.Mul(a, a), op.Mul(b, b)))

    return {torch.ops.prims.hypot.default: hypot}


@contextmanager
def _silent() -> Iterator[None]:
    """Keeps torch's exporter from telling what it does, and from warnings about its own code."""
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


def _refuse_without_packages() -> None:
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise GenpriorError(f"{error.name} is not installed; pip install 'genprior[onnx]'", argument="to") from None
