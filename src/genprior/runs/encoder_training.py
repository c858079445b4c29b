"""An encoder for the generator of a run: trained in about a minute, kept in the run's folder."""

import hashlib
import math
import time
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
from pydantic import BaseModel
from torch import Tensor, nn

from genprior.data import Dataset
from genprior.errors import GenpriorError, NotFiniteError
from genprior.families import FAMILIES, RunConfig
from genprior.hardware import keep_freed_memory, resolve_device, resolve_precision
from genprior.models.derived_generators import folded
from genprior.models.latent_encoder import Encoder
from genprior.models.players import latent_size_of
from genprior.progress import Stage, Task
from genprior.runs.checkpoint import load_state
from genprior.runs.encoder_settings import MINUTES, WEIGHTS, EncoderSettings, EncoderTable
from genprior.runs.files import save_tensors
from genprior.runs.run_folder import Run, locked, misfit, open_run, read_environment, refuse_other_data
from genprior.runs.step_log import Row, in_words, rows_of
from genprior.seeding import initialised
from genprior.training.distillation import Distillation
from genprior.training.loop import Budget, Step, train
from genprior.training.processes import Placement

HELD_OUT = 1000  # images, or a tenth of the data where that is fewer
STEPS_A_LOOK = 10  # between two looks at the record, and so between two stages
AT_ONCE = 256


class EncoderShape(BaseModel):
    """What of an encoder's table its weights are loaded with; the rest of the table is left unread."""

    generator_sha256: str
    image_shape: tuple[int, int, int]
    latent_size: int
    width: int


def load_generator(run: Run, *, average: bool = True) -> nn.Module:
    """Returns what makes images of standard normal latents in a run, in float32 on the CPU.

    Arguments:
        run: The run.
        average: Use the moving average of the weights; False: the weights as they were at the last step.

    Raises:
        GenpriorError: No whole checkpoint, a config that does not fit it, or a family that has no such generator.
    """
    state = load_state(run.checkpoints)
    try:
        generator = run.config.generator(state, read_environment(run).image_shape, average)
    except (RuntimeError, KeyError) as error:
        raise misfit(run) from error
    if generator is None:
        have = [name for name, config in FAMILIES.items() if config.generator is not RunConfig.generator]
        raise GenpriorError(
            f"{run.path} is a {run.config.title}, which leads from images to latents by itself; encoders are for "
            f"{', '.join(have)}",
            argument="run",
        )
    return generator


def load_encoder(run: Run, generator: nn.Module) -> Encoder | None:
    """Returns the encoder in a run's folder, in evaluation mode; None where there is none, or none for these weights.

    Arguments:
        run: The run.
        generator: As `load_generator` returns it, with the average of its weights: an encoder fits no others.

    Raises:
        GenpriorError: The encoder's file is damaged.
    """
    file = run.path / WEIGHTS
    if not file.exists():
        return None
    try:
        shape, state = _read(file)
        encoder = Encoder(shape.image_shape, shape.latent_size, shape.width)
        encoder.load_state_dict(state)
    except Exception as error:  # safetensors has errors of its own, and what a damaged header holds may be anything
        reason = str(error).partition("\n")[0]
        raise GenpriorError(
            f"{file} is damaged ({reason}); train it anew: genprior train encoder {run.path} --overwrite",
            argument="run",
        ) from error
    if shape.generator_sha256 != weights_sha256(generator.state_dict()):
        warnings.warn(
            f"{file} belongs to other weights of the generator and is not used; train it anew: "
            f"genprior train encoder {run.path} --overwrite",
            stacklevel=3,
        )
        return None
    return encoder.eval().requires_grad_(False).to(memory_format=torch.channels_last)


def weights_sha256(state: dict[str, Tensor]) -> str:
    """Returns a SHA-256 over names, types, shapes and values of tensors, whatever their order and memory layout."""
    digest = hashlib.sha256()
    for name in sorted(state):
        value = state[name].detach().cpu().contiguous()
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def train_encoder(settings: EncoderSettings) -> Task[EncoderTable]:
    """Trains an encoder for the averaged generator of a run, saves its weights into the run's folder, and returns how.

    The last images of the run's data, a thousand of them or a tenth, are held out: `held_out_error` is the mean squared
    error of G(E(x)) on them, undamaged. Whatever ends training before its budget does, an encoder that was there before
    stays as it was.

    Raises:
        GenpriorError: No run, no checkpoint, other data than the run's, or another process that trains the run.
        NotFiniteError: Values that are not finite; nothing is saved.
    """
    run = open_run(settings.run)
    generator, data = load_generator(run), _run_data(run)
    learned, unseen = held_out(data)
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    keep_freed_memory()
    made_for = weights_sha256(generator.state_dict())
    algorithm = _distillation(run, generator, settings.seed)
    with locked(run):
        row, seconds = yield from _trained(algorithm, learned, settings)
        error = reconstruction_error(algorithm, unseen)
        if not math.isfinite(error):  # a step's record comes from before its update
            raise _not_finite(row)
        encoder = algorithm.encoder
        table = EncoderTable(
            settings=settings,
            generator_sha256=made_for,
            image_shape=encoder.image_shape,
            latent_size=encoder.latent_size,
            width=encoder.width,
            batch_size=algorithm.images_per_update,
            pairs=algorithm.pairs,
            learning_rate=algorithm.learning_rate,
            sigma=algorithm.sigma,
            precision=str(algorithm.dtype).removeprefix("torch."),
            images_seen=row["images_seen"],
            seconds=round(seconds, 3),
            held_out_images=len(unseen),
            held_out_error=error,
        )
        _save(run, encoder, table)
    return table


def held_out(data: Dataset) -> tuple[Dataset, Dataset]:
    """Returns what an encoder learns from, and the images at the end that it never sees.

    Raises:
        GenpriorError: Fewer than two images.
    """
    count = max(1, min(HELD_OUT, len(data) // 10))
    if len(data) <= count:
        raise GenpriorError(f"at least 2 images are needed, {data.name} has {len(data)}", argument="data")
    first = len(data) - count
    return replace(data, images=data.images[:first], labels=None), replace(
        data, images=data.images[first:], labels=None
    )


def _run_data(run: Run) -> Dataset:
    data = run.config.load_data()
    refuse_other_data(run, data, "data")
    return data


def _distillation(run: Run, generator: nn.Module, seed: int) -> Distillation:
    device = resolve_device("auto")
    narrow = run.config.precision in ("auto", "bf16") and resolve_precision("auto", device) == "bf16"
    shape = read_environment(run).image_shape
    encoder = initialised(lambda: Encoder(shape, latent_size_of(generator)), seed, "encoder weights")
    placement = Placement(torch.bfloat16 if narrow else torch.float32, device)
    return Distillation(encoder, folded(generator), placement=placement)


def _trained(algorithm: Distillation, data: Dataset, settings: EncoderSettings) -> Task[tuple[Row, float]]:
    """Trains to the end of the budget, looking at the records in blocks; returns the last row, and the time it took."""
    images = settings.images_seen
    budget = Budget(minutes=settings.minutes or MINUTES) if images is None else Budget(images=images)
    algorithm.encoder.train()
    for steps, began in _blocks(train(algorithm, data, budget, seed=settings.seed)):
        last = steps[-1]
        row = rows_of(steps, algorithm.images_per_update, began)[-1]
        if not math.isfinite(row["image_error"] + row["latent_error"]) or row["non_finite_gradients"]:
            raise _not_finite(row)
        yield Stage(last.progress, in_words(row))
    return row, last.seconds


def _blocks(steps: Iterator[Step]) -> Iterator[tuple[list[Step], float]]:
    """Steps in blocks, and the time at which each block began."""
    block: list[Step] = []
    began = time.perf_counter()
    for step in steps:
        block.append(step)
        if len(block) == STEPS_A_LOOK or step.progress >= 1:
            yield block, began
            block, began = [], time.perf_counter()


def _not_finite(row: Row) -> NotFiniteError:
    return NotFiniteError(f"step {row['step']} of the encoder has values that are not finite; nothing was saved")


@torch.no_grad()
def reconstruction_error(algorithm: Distillation, data: Dataset) -> float:
    """Returns the mean over all values of (G(E(x)) - x)^2, in float32, for whole images."""
    encoder, generator, device = algorithm.encoder.eval(), algorithm.generator, algorithm.device
    total = 0.0
    for indices in torch.split(torch.arange(len(data)), AT_ONCE):
        x = data.take(indices).to(device)
        total += float((generator(encoder.encode(x)) - x).square().sum(dtype=torch.float64))
    return total / data.images.numel()


def _save(run: Run, encoder: Encoder, table: EncoderTable) -> None:
    """Writes the encoder so that a kill at any instant leaves the old one or the new one.

    This file holds all that is ever read back, the table and its checksum included.
    """
    state = {name: value.cpu().contiguous() for name, value in encoder.state_dict().items()}
    text = table.model_dump_json()
    save_tensors(state, run.path / WEIGHTS, {"table": text, "sha256": _checksum(text, state)})


def _read(file: Path) -> tuple[EncoderShape, dict[str, Tensor]]:
    from safetensors import safe_open

    with safe_open(file, framework="pt") as opened:
        metadata = opened.metadata()
        state = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - no mapping
    if metadata["sha256"] != _checksum(metadata["table"], state):
        raise ValueError("its checksum is wrong")
    return EncoderShape.model_validate_json(metadata["table"]), state


def _checksum(table: str, state: dict[str, Tensor]) -> str:
    return hashlib.sha256(f"{table}\n{weights_sha256(state)}".encode()).hexdigest()
