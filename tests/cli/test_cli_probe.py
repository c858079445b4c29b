"""`genprior probe`: what it prints, writes and refuses."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from genprior.plotting.drawing import BLUE, ORANGE
from tiny_run import make_tiny_run

Command = Callable[..., str]
QUICK = ["--steps", 4, "--threads", 1]


def _count(path: Path, colour: str) -> int:
    """Pixels of about that colour."""
    wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    with Image.open(path) as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    return int((np.abs(pixels - wanted).max(axis=2) < 40).sum())


def test_a_probe_tells_what_fell_and_writes_numbers_and_a_figure(genprior: Command) -> None:
    make_tiny_run(Path("run"))
    text = genprior("probe", "saturation", "run", *QUICK)
    assert "generators at 0, 48 images seen" in text
    assert "100 %" in text
    assert "At 48 images, a fresh discriminator told" in text
    assert "Arjovsky & Bottou's statement" in text
    saved = json.loads(Path("run/probe-saturation.json").read_text())
    assert [age["images_seen"] for age in saved["ages"]] == [0, 48]
    for colour in (BLUE, ORANGE):
        assert _count(Path("run/figures/probe-saturation.png"), colour) > 200


def test_the_same_command_gives_the_same_numbers_and_overwrites_only_when_asked(genprior: Command) -> None:
    make_tiny_run(Path("run"))
    genprior("probe", "saturation", "run", *QUICK)
    first = Path("run/probe-saturation.json").read_bytes()
    words = ["probe", "saturation", "run", *QUICK, "--ages", 1]
    assert "exists; replace it with --overwrite" in genprior(*words, code=2)
    genprior("probe", "saturation", "run", *QUICK, "--overwrite")
    assert Path("run/probe-saturation.json").read_bytes() == first


def test_a_packed_discriminator_is_probed_in_whole_packs(genprior: Command) -> None:
    make_tiny_run(Path("run"), pack=3, batch_size=6)
    genprior("probe", "saturation", "run", *QUICK)
    assert json.loads(Path("run/probe-saturation.json").read_text())["latents"] == 510


BAD: dict[str, tuple[list[str], str]] = {
    "no run": (["nowhere"], "RUN: nowhere is not a run"),
    "ages": (["run", "--ages", "0"], "--ages: expected at least 1, got 0"),
    "steps": (["run", "--steps", "0"], "--steps: expected at least 1, got 0"),
    "seeds": (["run", "--seeds", "-1"], "--seeds: expected at least 1, got -1"),
    "a word": (["run", "--steps", "many"], "Invalid value for '--steps'"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line(genprior: Command, case: str) -> None:
    make_tiny_run(Path("run"))
    words, expected = BAD[case]
    text = genprior("probe", "saturation", *words, code=2)
    assert expected in text
    assert len(text.splitlines()) == 1
    assert not Path("run/probe-saturation.json").exists()
