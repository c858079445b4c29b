"""Several processes train the same model as one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from genprior.runs.checkpoint import load_checkpoint
from genprior.runs.step_rows import read_rows

# In float64, where the order of a sum is far below what is compared: in float32 the gradient of a bias in front of
# batch normalisation is rounding noise around zero, which Adam scales up to a full step of either sign.
ARGUMENTS = (
    "--data digits --batch-size 16 --images-seen 480 --precision float64 --threads 1 --checkpoint-seconds 0.000001 "
    "--model dcgan:generator_width=8,discriminator_width=8,norm=none"
).split()

# A schedule that ends with the budget would make a longer run another one from its first step on.
GAN = [*ARGUMENTS, "--schedule", "constant", "--discriminator-updates", "3", "--penalty", "r1:every=2"]
OTHERS = {
    "glo": "--model dcgan:generator_width=8 --size 8 --latent-size 10",
    "glow": "--size 8 --steps 2 --width 6",
    "vae": "--size 8 --model dense:width=16 --latent-size 5",
}


def genprior(*arguments: object, processes: int = 1) -> str:
    command = [sys.executable, "-m", "genprior", *map(str, arguments)]
    if processes > 1:
        launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
        command = [sys.executable, *launcher, *command[1:]]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def tensors(run: Path) -> dict[str, torch.Tensor]:
    checkpoint, _ = load_checkpoint(run / "checkpoint")
    assert checkpoint is not None
    return checkpoint.tensors


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("processes")
    genprior("train", "gan", *GAN, "--out", folder / "one")
    genprior("train", "gan", *GAN, "--out", folder / "two", processes=2)
    return folder


def test_two_processes_give_the_weights_of_one(folder: Path) -> None:
    one, two = tensors(folder / "one"), tensors(folder / "two")
    assert one.keys() == two.keys()
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=1e-7, atol=1e-9, msg=name)


def test_two_processes_give_the_records_of_one(folder: Path) -> None:
    one, two = read_rows(folder / "one" / "steps.jsonl"), read_rows(folder / "two" / "steps.jsonl")
    assert len(one) == len(two) == 10
    for a, b in zip(one, two, strict=True):
        a.pop("images_per_second")
        b.pop("images_per_second")
        assert a == pytest.approx(b, rel=1e-7)


def test_checkpoint_of_two_processes_is_resumed_by_one(folder: Path) -> None:
    genprior("train", "gan", *GAN, "--images-seen", 960, "--out", folder / "longer")
    genprior("resume", folder / "two", "--images-seen", 960)
    one, two = tensors(folder / "longer"), tensors(folder / "two")
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=1e-6, atol=1e-8, msg=name)


def test_two_processes_fork_a_run_as_one_does(folder: Path) -> None:
    fork = ["train", "gan", "--fork", folder / "one", "--loss", "hinge", "--images-seen", 960]
    genprior(*fork, "--out", folder / "forked")
    genprior(*fork, "--out", folder / "forked-by-two", processes=2)
    one, two = tensors(folder / "forked"), tensors(folder / "forked-by-two")
    assert one.keys() == two.keys()
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=1e-7, atol=1e-9, msg=name)


@pytest.mark.parametrize("family", OTHERS)
def test_two_processes_give_the_weights_of_one_in_every_family(family: str, tmp_path: Path) -> None:
    # The one model of the arguments above is the GAN's.
    arguments = [*ARGUMENTS[:-2], *OTHERS[family].split()]
    genprior("train", family, *arguments, "--out", tmp_path / "one")
    genprior("train", family, *arguments, "--out", tmp_path / "two", processes=2)
    one, two = tensors(tmp_path / "one"), tensors(tmp_path / "two")
    assert one.keys() == two.keys()
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=1e-7, atol=1e-9, msg=name)


def test_batch_that_cannot_be_shared_is_one_line(folder: Path) -> None:
    command = ["train", "gan", "--data", "digits", "--batch-size", "15", "--out", str(folder / "odd")]
    with pytest.raises(AssertionError, match="15 images cannot be shared evenly among 2 processes"):
        genprior(*command, processes=2)
