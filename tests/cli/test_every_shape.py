"""Every command over every family, with images as users have them: grey or colour, square or oblong, without labels.

Families, shapes and kinds of damage are tried in pairs: each with each other one, not all three with all.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from family_runs import discs
from genprior.families import FAMILIES
from genprior.images import read_image, to_uint8, write_image
from genprior.probes.probe_experiments import EXPERIMENTS as PROBES
from genprior.restoration.noise import NOISES
from genprior.restoration.operators import OPERATORS

Command = Callable[..., str]
SHAPES = ((1, 28, 28), (3, 32, 32), (1, 32, 48), (3, 64, 64))
OBLONG = (3, 32, 48)  # and coloured: what goes wrong with either shows here
LARGE = ("flow-matching", "gan", "mixture")  # families that go all the way with the largest shape, too
COUNT = 120
SMALL = {
    "flow-matching": "--model unet:width=4,levels=1,blocks=1,wiener=3",
    "gan": "--preset pyramid --model pyramid:generator_width=2,discriminator_width=2 --latent-size 4",
    "glo": "--model pyramid:generator_width=2 --latent-size 4",
    "glow": "--levels 1 --steps 1 --width 4",
    "mixture": "--components 2 --rank 3",
    "vae": "--model dense:width=8,depth=1 --latent-size 4",
}
OPTIONS = {"inpaint": "inpaint:box=8", "blur": "blur:sigma=1", "compressed-sensing": "compressed-sensing:m=20"}
QUICK = ("--iterations", 2, "--starts", 1, "--threads", 1)


def _named(shape: tuple[int, int, int]) -> str:
    return "x".join(map(str, shape))


@pytest.fixture
def folder(tmp_path: Path, shape: tuple[int, int, int]) -> Path:
    """A folder of pictures, as a user has them."""
    path = tmp_path / "pictures"
    path.mkdir()
    for number, x in enumerate(discs(COUNT, shape)):
        write_image(to_uint8(x), path / f"{number:03}.png")
    return path


def _share(family: str, shape: tuple[int, int, int]) -> list[tuple[int, tuple[str, str]]]:
    """Kinds of damage for a family and a shape: each kind meets every family once, and every shape."""
    damages = [(OPTIONS.get(name, name), "gaussian:sigma=0.1") for name in OPERATORS]
    damages += [("denoise", name) for name in NOISES]
    place = list(FAMILIES).index(family) + SHAPES.index(shape)
    return [(number, each) for number, each in enumerate(damages) if (number + place) % len(SHAPES) == 0]


def test_each_kind_of_damage_meets_every_family_and_every_shape() -> None:
    met = {(family, shape, each) for family in FAMILIES for shape in SHAPES for _, each in _share(family, shape)}
    kinds = len(OPERATORS) + len(NOISES)
    assert len({(family, each) for family, _, each in met}) == len(FAMILIES) * kinds
    assert len({(shape, each) for _, shape, each in met}) == len(SHAPES) * kinds


def _written(out: str) -> list[tuple[int, ...]]:
    return [tuple(read_image(path).shape) for path in sorted(Path(out, "images").iterdir())]


@pytest.mark.parametrize(
    ("family", "shape"), [*((name, OBLONG) for name in FAMILIES), *((name, SHAPES[-1]) for name in LARGE)], ids=str
)
def test_a_folder_of_pictures_goes_all_the_way(
    genprior: Command, folder: Path, family: str, shape: tuple[int, int, int]
) -> None:
    height, width = shape[1:]
    assert f"{height}x{width}" in genprior("data", folder, "--out", "data.png")
    settings = f"--batch-size 12 --images-seen 24 --threads 1 {SMALL[family]}".split()
    genprior("train", family, "--data", folder, *settings, "--out", "run")
    genprior("resume", "run", "--images-seen", 48)
    assert _named(shape) in genprior("info", "run")
    genprior("sample", "run", "-n", 4, "--out", "samples.npy")
    samples = np.load("samples.npy")
    assert samples.shape == (4, *shape)
    assert np.isfinite(samples).all()
    for words in (("evaluate", "run", "--count", 40, "--inversions", 2), ("diagnose", "run"), ("report", "run")):
        genprior(*words)
    genprior("compare", "run", "--count", 2, "--threads", 1)
    if family == "gan":
        for probe in PROBES:
            genprior(*probe.split(), "run", "--steps", 2, "--threads", 1)
    if family in ("gan", "glo"):
        genprior("train", "encoder", "run", "--images-seen", 64, "--threads", 1)
    genprior("invert", "run", f"{folder}[:2]", *QUICK, "--out", "inverted")
    assert _written("inverted") == [shape, shape]


@pytest.mark.parametrize("shape", SHAPES, ids=_named)
@pytest.mark.parametrize("family", FAMILIES)
def test_every_damage_of_every_shape_is_undone(
    genprior: Command, folder: Path, family: str, shape: tuple[int, int, int]
) -> None:
    settings = f"--batch-size 12 --images-seen 24 --threads 1 {SMALL[family]}".split()
    genprior("train", family, "--data", folder, *settings, "--out", "run")
    for number, (operator, noise) in _share(family, shape):
        damage = ("--operator", operator, "--noise", noise)
        text = genprior("degrade", f"{folder}[:2]", *damage, "--out", f"damaged{number}")
        words = text.split("genprior restore RUN ")[1].split()
        assert "2 of 2 images" in genprior("restore", "run", *words, *QUICK)
        assert _written(f"damaged{number}-restored") == [shape, shape]
