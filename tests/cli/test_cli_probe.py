"""`genprior probe`: what it prints, writes and refuses."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from tiny_run import make_tiny_run

Command = Callable[..., str]
QUICK = ["--steps", 4, "--threads", 1]


def test_a_probe_tells_what_fell_and_writes_numbers_and_a_figure(genprior: Command) -> None:
    make_tiny_run(Path("run"))
    text = genprior("probe", "saturation", "run", *QUICK)
    assert "generators at 0, 48 images seen" in text
    assert "100 %" in text
    assert "At 48 images, a fresh discriminator told" in text
    assert "Arjovsky & Bottou's statement" in text
    saved = json.loads(Path("run/probe-saturation.json").read_text())
    assert [age["images_seen"] for age in saved["ages"]] == [0, 48]
    assert "numbers: run/probe-saturation.json" in text
    assert "figure: run/figures/probe-saturation.png" in text
    with Image.open("run/figures/probe-saturation.png") as picture:
        assert min(picture.size) > 300


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
    "ages": (["run", "--ages", "0"], "--ages: input should be greater than or equal to 1, got 0"),
    "steps": (["run", "--steps", "0"], "--steps: input should be greater than or equal to 1, got 0"),
    "seeds": (["run", "--seeds", "-1"], "--seeds: input should be greater than or equal to 1, got -1"),
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
