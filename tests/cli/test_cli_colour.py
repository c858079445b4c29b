"""Runs in colour are inverted and restored from the command line, by every family."""

from collections.abc import Callable

import pytest

SMALL = {
    "gan": "--model dcgan:generator_width=4,discriminator_width=4,norm=none --latent-size 4",
    "glo": "--model dcgan:generator_width=4 --latent-size 4",
    "glow": "--levels 1 --steps 1 --width 4",
    "vae": "--model dense:width=8,depth=1 --latent-size 4",
}


@pytest.mark.parametrize("family", SMALL)
def test_colour_runs_invert_and_restore(genprior: Callable[..., str], family: str) -> None:
    settings = f"--data digits[:64] --size 8 --channels 3 --batch-size 8 --images-seen 16 --threads 1 {SMALL[family]}"
    genprior("train", family, *settings.split(), "--out", "run")
    search = ["digits[64:67]", "--resize", "--iterations", 3, "--starts", 2]
    assert "3 of 3 images" in genprior("invert", "run", *search, "--out", "inverted")
    damage = ["--simulate", "--operator", "inpaint:box=4", "--noise", "gaussian:sigma=0.1"]
    assert "3 of 3 images" in genprior("restore", "run", *search, *damage, "--out", "restored")
