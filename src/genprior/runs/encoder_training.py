"""An encoder for the generator of a run: trained in about a minute, kept in the run's folder."""

import math
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from genprior.data import Dataset
from genprior.data.held_out import Split
from genprior.errors import GenpriorError, NotFiniteError
from genprior.hardware import keep_freed_memory, resolve_device, resolve_precision
from genprior.models.derived_generators import folded
from genprior.models.latent_encoder import Encoder
from genprior.models.players import latent_size_of
from genprior.progress import Stage, Task
from genprior.runs.checkpoint import Checkpoint, Counters, load_checkpoint, save_checkpoint
from genprior.runs.encoder_settings import MINUTES, EncoderSettings, EncoderTable
from genprior.runs.run_folder import Run, locked, open_run, read_environment, refuse_other_data
from genprior.runs.step_log import in_words, rows_of
from genprior.runs.step_rows import Row
from genprior.runs.trained_prior import load_generator, save_encoder
from genprior.seeding import initialised
from genprior.stored_files import weights_sha256
from genprior.training.distillation import Distillation
from genprior.training.loop import Budget, Step, train
from genprior.training.processes import Placement

HELD_OUT = 1000  # images at most
STEPS_A_LOOK = 10  # between two looks at the record, and so between two stages
AT_ONCE = 256
UNFINISHED, SAVE_SECONDS = "encoder-unfinished", 10.0


def train_encoder(settings: EncoderSettings, kept: EncoderTable | None = None) -> Task[EncoderTable]:
    """Trains an encoder for the averaged generator of a run, saves its weights into the run's folder, and returns how.

    `held_out_error` is the mean squared error of G(E(x)), undamaged, on at most a thousand images that the run holds
    out. Where it holds none out, the last images of its data, a tenth, are kept from the encoder alone. Whatever ends
    training before its budget does, an encoder that was there before stays as it was.

    Arguments:
        settings: What is trained, and how long.
        kept: What an interrupted training of these settings has left: it is resumed from its last checkpoint.

    Raises:
        GenpriorError: No run, no checkpoint, other data than the run's, or another process that trains the run.
        NotFiniteError: Values that are not finite; nothing is saved.
    """
    run = open_run(settings.run, settings.data)
    generator = load_generator(run)
    learned, unseen = encoder_images(_run_split(run))
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    keep_freed_memory()
    made_for = weights_sha256(generator.state_dict())
    algorithm = _distillation(run, generator, settings.seed)
    table = _table(settings, algorithm, made_for, unseen)
    with locked(run):
        if kept is None or kept.generator_sha256 != made_for:
            shutil.rmtree(run.path / UNFINISHED, ignore_errors=True)
        row, seconds = yield from _trained(algorithm, learned, table, run.path / UNFINISHED)
        error = reconstruction_error(algorithm, unseen)
        if not math.isfinite(error):  # a step's record comes from before its update
            raise _not_finite(row)
        done = {"images_seen": row["images_seen"], "seconds": round(seconds, 3), "held_out_error": error}
        table = table.model_copy(update={**done, "is_complete": True})
        save_encoder(run, algorithm.encoder, table)
        shutil.rmtree(run.path / UNFINISHED, ignore_errors=True)
    return table


def _table(settings: EncoderSettings, algorithm: Distillation, made_for: str, unseen: Dataset) -> EncoderTable:
    """The table of an encoder before its training."""
    encoder = algorithm.encoder
    return EncoderTable(
        settings=settings,
        is_complete=False,
        generator_sha256=made_for,
        image_shape=encoder.image_shape,
        latent_size=encoder.latent_size,
        width=encoder.width,
        batch_size=algorithm.images_per_update,
        pairs=algorithm.pairs,
        learning_rate=algorithm.learning_rate,
        sigma=algorithm.sigma,
        precision=str(algorithm.dtype).removeprefix("torch."),
        images_seen=0,
        seconds=0.0,
        held_out=unseen.name,
        held_out_images=len(unseen),
        held_out_error=math.nan,
    )


def encoder_images(split: Split) -> tuple[Dataset, Dataset]:
    """Returns what an encoder learns from, and images that it never sees: at most a thousand that the run holds out.

    Where the run holds none out, the last tenth of what it has learned from is kept from the encoder.

    Raises:
        GenpriorError: Fewer than two images.
    """
    data, unseen = split.learned, split.load_held_out()
    if unseen is not None:
        return data, unseen.part(torch.arange(min(HELD_OUT, len(unseen))))
    count = max(1, min(HELD_OUT, len(data) // 10))
    if len(data) <= count:
        raise GenpriorError(f"at least 2 images are needed, {data.name} has {len(data)}", argument="data")
    first = len(data) - count
    parts = (data.part(torch.arange(*ends)) for ends in ((0, first), (first, len(data))))
    learned, last = (replace(part, labels=None) for part in parts)
    return learned, replace(last, name=f"{data.name}, the last, which the run itself has learned")


def _run_split(run: Run) -> Split:
    split = run.config.load_split()
    refuse_other_data(run, split.learned, "data")
    return split


def _distillation(run: Run, generator: nn.Module, seed: int) -> Distillation:
    device = resolve_device("auto")
    narrow = run.config.precision in ("auto", "bf16") and resolve_precision("auto", device) == "bf16"
    shape = read_environment(run).image_shape
    encoder = initialised(lambda: Encoder(shape, latent_size_of(generator)), seed, "encoder weights")
    placement = Placement(torch.bfloat16 if narrow else torch.float32, device)
    return Distillation(encoder, folded(generator), placement=placement)


def _trained(algorithm: Distillation, data: Dataset, table: EncoderTable, folder: Path) -> Task[tuple[Row, float]]:
    """Trains to the end of the budget, looking at the records in blocks; returns the last row, and the time it took.

    It begins with the newest checkpoint in a folder, where it leaves one of its own now and then; the last step is
    never saved, for its row is wanted.
    """
    settings, start = table.settings, _restored(algorithm, folder)
    images = settings.images_seen
    budget = Budget(minutes=settings.minutes or MINUTES) if images is None else Budget(images=images)
    algorithm.encoder.train()
    steps_left = train(
        algorithm, data, budget, seed=settings.seed, images_seen=start.images_seen, seconds=start.seconds
    )
    save_at = start.seconds + SAVE_SECONDS
    for steps, began in _blocks(steps_left):
        last, found = steps[-1], None
        row = rows_of(steps, algorithm.images_per_update, began)[-1]
        if not math.isfinite(row["image_error"] + row["latent_error"]) or row["non_finite_gradients"]:
            raise _not_finite(row)
        if last.seconds >= save_at and last.progress < 1:
            state = algorithm.state_dict()
            save_checkpoint(folder, Checkpoint(last.index, last.images_seen, last.seconds, tensors=state))
            save_at = last.seconds + SAVE_SECONDS
            found = table.model_copy(update={"images_seen": last.images_seen, "seconds": last.seconds})
        yield Stage(last.progress, in_words(row), found=found)
    return row, last.seconds


def _restored(algorithm: Distillation, folder: Path) -> Counters:
    """Where training goes on: the newest whole checkpoint, or the beginning where none is left."""
    try:
        saved, _ = load_checkpoint(folder)
    except GenpriorError:  # all are damaged
        saved = None
    if saved is None:
        shutil.rmtree(folder, ignore_errors=True)
        return Counters(0, 0, 0.0)
    algorithm.load_state_dict(saved.tensors)
    return saved


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
