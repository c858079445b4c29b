"""Which samples stand in the pictures of a benchmark of mode counts, and what is written above them."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from genprior.data import Dataset
from genprior.evaluation.mode_counts import near_centres
from genprior.modes.mode_benchmark import ModeBenchmark
from genprior.modes.mode_tables import Summary, Table
from genprior.runs.trained_prior import load_prior

POINTS, IMAGES = 1000, 64


@dataclass(frozen=True)
class Picture:
    """Samples of a row.

    Attributes:
        title: What they are of, with modes and divergence.
        x: (N, C, H, W); none where training failed.
        is_good: For points, whether each lies within three standard deviations of a centre (N,); else None.
    """

    title: str
    x: Tensor
    is_good: Tensor | None


def pictures_of(benchmark: ModeBenchmark, table: Table) -> Iterator[Picture]:
    """Yields real data and then samples of each row, of its first seed that did not fail."""
    data = benchmark.sets[table.data]
    count = POINTS if data.is_points else IMAGES
    yield _picture(f"real ({table.of} modes)", data.some(count), data)
    for row in table.rows:
        seed = next((each["seed"] for each in row.seeds if each["modes"] is not None), None)
        x = torch.empty(0, *data.image_shape)
        if seed is not None:
            x = load_prior(benchmark.out / table.data / row.row / str(seed)).sample(count, seed)
        yield _picture(_title(row, seed), x, data)


def _picture(title: str, x: Tensor, data: Dataset) -> Picture:
    modes = data.modes
    if modes is None or modes.centres is None or modes.sigma is None:
        return Picture(title, x, None)
    return Picture(title, x, near_centres(x, modes.centres, modes.sigma)[0])


def _title(row: Summary, seed: int | None) -> str:
    if seed is None:
        return f"{row.row}\nfailed"
    found = next(each["modes"] for each in row.seeds if each["seed"] == seed)
    divergence = found["divergences"]["uniform"]
    told = "" if divergence is None else f", KL {divergence['raw']:.2g}"
    return f"{row.row}\n{found['found']} of {found['of']} modes{told}"
