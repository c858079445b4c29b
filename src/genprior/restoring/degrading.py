"""Damaging many images, to have something to restore."""

import math
import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from genprior.errors import GenpriorError
from genprior.images import to_uint8, write_image
from genprior.restoration.noise import NOISES, measure
from genprior.restoration.operators import OPERATORS, Operator
from genprior.restoring.degradation_record import MEASUREMENTS, RECORD
from genprior.restoring.job_settings import DegradeSettings
from genprior.restoring.ledger import Output, Row, open_output
from genprior.restoring.measurements import Item, ReadItem, Refused, is_readable, measured_shape, read_all, refuse_unfit
from genprior.restoring.parallel import Job, refuse_overwriting_together
from genprior.restoring.shapes import channels_first, check_values, fitted, is_picture
from genprior.restoring.sources import Source, file_facts, open_source, refuse_inside
from genprior.runs.files import save_tensors, write_json
from genprior.specs import build

if TYPE_CHECKING:
    from deepinv.physics import NoiseModel

MASKS = "masks"


def degrade_job(settings: DegradeSettings, out: Path, *, data_root: Path | None = None, overwrite: bool = False) -> Job:
    """Returns the job of damaging images; its folder is made last, so that bad input leaves none behind.

    Arguments:
        settings: What is to be done.
        out: Folder of the results; one of the same job is gone on with.
        data_root: Of named data sets.
        overwrite: Begin anew where results of such a job are there.

    Raises:
        GenpriorError: Bad input.
    """
    refuse_overwriting_together(overwrite)
    noise = build(NOISES, settings.noise, "noise")
    source = open_source(settings.images, data_root=data_root)
    refuse_inside(out, source)
    shape = image_shape(source, settings)
    operator = build(OPERATORS, settings.operator, "operator", image_shape=shape, seed=settings.seed)
    read = _reader(source, shape, operator, noise, settings)
    refuse_unfit(source, read, settings.batch_size)
    files = file_facts(settings.operator)
    decided = {"settings": settings.stored(), "source": source.identity, "files": files}
    output = open_output(out, "degrade", decided, len(source), settings.batch_size, overwrite=overwrite)
    work = Degrading(source, read, operator, measured_shape(operator, shape), settings)
    return Job(output, work, [f"{out}: {len(source):,} images of {'x'.join(map(str, shape))} from {settings.images}"])


def image_shape(source: Source, settings: DegradeSettings) -> tuple[int, int, int]:
    """Returns what the first readable image is, but for the size and channels that are asked for.

    Raises:
        GenpriorError: None of the first part can be read, or items are no images.
    """
    shape = first_shape(source, settings.batch_size)
    if len(shape) != 3:
        found = "x".join(map(str, shape))
        raise GenpriorError(f"expected images (C, H, W), got items of shape {found}", argument="images")
    return (settings.channels or shape[0], settings.size or shape[1], settings.size or shape[2])


def first_shape(source: Source, count: int) -> tuple[int, ...]:
    """Returns the shape of the first readable one of `count` items, channels first.

    Raises:
        GenpriorError: None of them can be read.
    """
    problem = ""
    for place in range(min(count, len(source))):
        try:
            return tuple(channels_first(source.read(place)).shape)
        except (GenpriorError, OSError) as error:
            problem = problem or (error.message if isinstance(error, GenpriorError) else str(error))
    many = min(count, len(source))
    raise GenpriorError(f"none of the first {many} images can be read; {problem}", argument="images")


def restoring_command(settings: DegradeSettings, out: Path) -> str:
    """Returns the command that restores what was damaged."""
    has_masks = _hides_pixels(settings.operator)
    operator = ["inpaint", "--mask", str(out / MASKS)] if has_masks else [settings.operator]
    seed = ["--seed", str(settings.seed)] if settings.seed else []
    words = [
        str(out / MEASUREMENTS),
        "--operator",
        *operator,
        "--noise",
        settings.noise,
        *seed,
        "--out",
        f"{out}-restored",
    ]
    return f"genprior restore RUN {shlex.join(words)}"


def _hides_pixels(operator: str) -> bool:
    return operator.partition(":")[0] == "inpaint"


def _reader(
    source: Source, shape: tuple[int, int, int], operator: Operator, noise: "NoiseModel", settings: DegradeSettings
) -> ReadItem:
    convert = settings.size is not None or settings.channels is not None
    hint = "--size and --channels convert images"

    def read(place: int) -> Item:
        label, number = source.labels[place], source.numbers[place]
        x = fitted(source.read(place), label, shape, resize=convert, hint=hint)
        check_values(x, label, is_image=is_picture(shape))
        y = measure(x[None], operator, noise, seed=settings.seed, first=number)[0]
        return Item(place, number, y, operator.parameters(number), x)

    return read


@dataclass(frozen=True)
class Degrading:
    """Damages the images of a part, and puts the measurements of all into one array.

    Attributes:
        source: Where the images come from.
        read: Gives an item, damaged.
        operator: What damages them.
        shape: Of a measurement.
        settings: What is to be done.
    """

    source: Source
    read: ReadItem
    operator: Operator
    shape: tuple[int, ...]
    settings: DegradeSettings

    def is_readable(self, place: int) -> bool:
        """Returns whether an image can be worked on."""
        return is_readable(self.source, self.read, place)

    def do(self, output: Output, part: int) -> list[Row]:
        """Writes the measurements of a part, and pictures of them; returns its rows."""
        items = read_all(self.source, self.read, output.items(part))
        good = [item for item in items if isinstance(item, Item)]
        if good:
            save_tensors({"y": torch.stack([item.y for item in good]).contiguous()}, output.tensors(part))
        else:
            output.tensors(part).unlink(missing_ok=True)  # of images that could be read before
        for item in good:
            self._draw(output, item)
        return [self._row(item) for item in items]

    def collect(self, output: Output) -> None:
        """Writes the measurements of all images that could be read, what they are, and the summary last."""
        rows = list(output.rows())
        good = [row for row in rows if "problem" not in row]
        failures = [{"name": row["name"], "problem": row["problem"]} for row in rows if "problem" in row]
        if good:
            _write_measurements(output, (len(good), *self.shape))
        record = {key: [row[key[:-1]] for row in good] for key in ("names", "numbers")}
        write_json(output.path / RECORD, {**asdict(self.settings), **record})
        seconds = output.seconds()
        told: dict[str, Any] = {"command": "degrade", "settings": asdict(self.settings), "images": len(rows)}
        told |= {"failed": len(failures), "failures": failures, "seconds": seconds}
        write_json(output.summary, told | {"images_per_second": len(rows) / seconds if seconds > 0 else None})
        for part in range(0 if failures else output.parts):  # the array holds it all, unless images are mended
            output.tensors(part).unlink(missing_ok=True)

    def _row(self, item: Item | Refused) -> Row:
        row: Row = {"number": item.number, "name": self.source.names[item.place]}
        return row | {"problem": item.problem} if isinstance(item, Refused) else row

    def _draw(self, output: Output, item: Item) -> None:
        name = self.source.names[item.place]
        if is_picture(self.shape):
            write_image(to_uint8(item.y), output.picture(name))
        if _hides_pixels(self.settings.operator):
            mask: Tensor = item.parameters.get("mask", self.operator.physics.mask)
            write_image(to_uint8(mask.view(-1, *mask.shape[-2:])[:1]), output.picture(name, MASKS))


def _write_measurements(output: Output, shape: Sequence[int]) -> None:
    """Puts the measurements of all parts into one .npy file, never holding more than a part in memory."""
    from safetensors.torch import load_file

    temporary = output.path / f"{MEASUREMENTS}.tmp"
    array = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.float32, shape=tuple(shape))
    flat, place = array.reshape(len(array), math.prod(shape[1:])), 0
    for part in range(output.parts):
        if output.tensors(part).exists():
            y = load_file(output.tensors(part))["y"]
            flat[place : place + len(y)] = y.flatten(1).numpy()
            place += len(y)
    array.flush()
    temporary.replace(output.path / MEASUREMENTS)
