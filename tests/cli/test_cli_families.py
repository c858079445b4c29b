"""Every family at the command line: trained, looked at, resumed, used, compared; and what it refuses."""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from genprior.families import FAMILIES
from genprior.runs.checkpoint import trained_checkpoint
from genprior.stored_files import read_model

Command = Callable[..., str]
COMMON = (
    "--data digits[:64] --held-out 0 --size 8 --batch-size 8 --images-seen 48 --threads 1 --precision float32".split()
)
OWN = {
    "flow-matching": "--model unet:width=4,blocks=1",
    "gan": "--latent-size 4 --model dcgan:generator_width=4,discriminator_width=4,norm=none",
    "glo": "--latent-size 4 --model dcgan:generator_width=4 --density gaussian",
    "glow": "--steps 1 --width 4",
    "mixture": "--components 2 --rank 2",
    "vae": "--latent-size 3 --model dense:width=8",
}
SEEN = {"gan": 144}  # a step of a GAN sees three batches
every_family = pytest.mark.parametrize("family", FAMILIES)


def _train(genprior: Command, family: str, *flags: object, code: int = 0) -> str:
    return genprior("train", family, *COMMON, *OWN[family].split(), "--out", family, *flags, code=code)


def test_every_family_is_tried_here() -> None:
    assert OWN.keys() == FAMILIES.keys()


@every_family
def test_a_family_trains_with_its_defaults_and_two_threads(family: str, tmp_path: Path) -> None:
    """In a process of its own: what waits for a thread that never comes back waits for ever."""
    words = f"train {family} --data digits --images-seen 128 --threads 2 --out run".split()
    done = subprocess.run(
        [sys.executable, "-m", "genprior", *words],
        cwd=tmp_path,
        timeout=300,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, "real and generated" in done.stdout) == (0, True), done.stderr


@every_family
def test_a_run_is_trained_looked_at_gone_on_with_and_used(genprior: Command, family: str) -> None:
    text = _train(genprior, family)
    assert f"real and generated: {family}/figures/samples.png" in text
    for picture in Path(family, "figures").glob("*.png"):
        with Image.open(picture) as image:
            assert min(image.size) > 300
    assert read_model(Path(family, "config.json"), FAMILIES[family], "run").title in text
    genprior("sample", family, "-n", 4, "--out", "samples.png")
    told = genprior("info", family)
    assert "48 images = 0.75 epochs" in told
    if family == "glow":
        assert re.search(r"^bits_per_dim +\d\.\d+ \(D = 64, variational dequantisation\)$", told, re.MULTILINE)
        assert "bits_per_dim: D = 64, variational dequantisation" in text
    genprior("resume", family, "--images-seen", 96)
    quick = ("--iterations", 2, "--starts", 1, "--threads", 1)
    genprior("invert", family, "digits[64:67]", "--resize", "--out", "inverted", *quick)
    genprior(
        "restore",
        family,
        "digits[64:67]",
        "--resize",
        "--simulate",
        "--operator",
        "inpaint:box=4",
        "--out",
        "o",
        *quick,
    )


@every_family
def test_dry_run_prints_a_config_that_can_be_given_back(genprior: Command, family: str) -> None:
    text = genprior("train", family, "--seed", 4, "--dry-run")
    Path("config.json").write_text(text)
    assert genprior("train", family, "--config", "config.json", "--dry-run") == text
    other = "vae" if family != "vae" else "gan"
    refused = genprior("train", other, "--config", "config.json", "--dry-run", code=2)
    assert refused == f"genprior: --config: config.json is for `genprior train {family}`, not for {other}\n"


@every_family
def test_help_names_every_setting_and_what_it_is(genprior: Command, family: str) -> None:
    text = genprior("train", family, "--help")
    for setting in FAMILIES[family].settings():
        assert f"--{setting.name.replace('_', '-')}" in text
        assert setting.help


@every_family
def test_a_fork_with_nothing_changed_is_the_run_resumed(genprior: Command, family: str) -> None:
    _train(genprior, family)
    text = genprior("train", family, "--fork", family, "--images-seen", 192, "--out", "fork")
    assert f"forked from {Path(family).absolute()} at step " in text
    genprior("resume", family, "--images-seen", 192)
    mine, theirs = (trained_checkpoint(Path(run, "checkpoint")) for run in ("fork", family))
    assert mine.step == theirs.step
    assert all(torch.equal(mine.tensors[name], value) for name, value in theirs.tensors.items())
    shutil.rmtree(family)
    genprior("check", "fork")
    assert "images_seen was " in genprior("info", "fork")
    genprior("resume", "fork", "--images-seen", 384)
    genprior("report", "fork")
    genprior("check", "fork")


def test_a_fork_that_cannot_be_is_refused_in_a_line(genprior: Command) -> None:
    _train(genprior, "gan")
    fork = ("--fork", "gan", "--loss", "hinge")
    bad = {
        "--fork: gan is finished": ("gan", *fork, "--out", "new"),
        "--fork: gan is a run of `genprior train gan`": ("vae", "--fork", "gan", "--out", "new"),
        "--out: gan is the run that is to be forked": ("gan", *fork, "--images-seen", 999, "--out", "gan"),
        "--config: a fork has": ("gan", *fork, "--config", "gan/config.json", "--out", "new"),
        "do not fit these settings": ("gan", *fork, "--latent-size", 5, "--images-seen", 999, "--out", "new"),
        "nowhere is not a run": ("gan", "--fork", "nowhere", "--out", "new"),
    }
    for message, words in bad.items():
        text = genprior("train", *words, code=2)
        assert message in text
        assert text.count("\n") == 1
        assert not Path("new").exists()
    assert '"loss": "hinge"' in genprior("train", "gan", *fork, "--dry-run")


def test_encoders_are_for_families_without_a_way_back(genprior: Command) -> None:
    _train(genprior, "glow")
    text = genprior("train", "encoder", "glow", code=2)
    assert text == (
        "genprior: RUN: glow is a Glow, which leads from images to latents by itself; encoders are for gan, glo, vae\n"
    )
    _train(genprior, "vae")
    assert "encoder: vae/encoder.safetensors" in genprior(
        "train", "encoder", "vae", "--images-seen", 128, "--threads", 1
    )


def test_compare_prints_and_saves_one_table_and_one_figure(genprior: Command) -> None:
    for family in ("gan", "glow"):
        _train(genprior, family)
    text = genprior("compare", "gan", "glow", "--held-out", "digits[64:]", "--count", 3, "--threads", 1)
    assert "log-likelihood" in text
    assert "none" in text
    assert "variational dequantisation, D = 64" in text
    files = {"table.csv", "comparison.json", "comparison.safetensors", "comparison.png"}
    assert {path.name for path in Path("comparison").iterdir()} == files
    assert "comparison.json exists; replace it with --overwrite" in genprior("compare", "gan", "glow", code=2)


BAD: dict[str, tuple[list[str], str]] = {
    "no run": (["compare", "nowhere"], "RUN: nowhere is not a run"),
    "no runs": (["compare"], "Missing argument"),
    "dequantisation": (["train", "glow", "--dequantisation", "foo", "--dry-run"], "--dequantisation: unknown"),
    "noise width": (["train", "glow", "--dequantisation", "variational:width=0", "--dry-run"], "option 'width' must"),
    "noise steps": (["train", "glow", "--dequantisation", "variational:steps=1.5", "--dry-run"], "option 'steps' must"),
    "margin": (
        ["train", "glow", "--dequantisation", "uniform:margin=0.7", "--dry-run"],
        "--dequantisation: option 'margin'",
    ),
    "levels": (["train", "glow", "--levels", "9", "--dry-run"], "--levels: input should be less than"),
    "loss": (["train", "glo", "--loss", "l1", "--dry-run"], "--loss: unknown loss 'l1'"),
    "start": (["train", "glo", "--start", "pcb", "--dry-run"], "--start: unknown start 'pcb', did you mean 'pca'"),
    "density": (["train", "glo", "--density", "mixture:components=0", "--dry-run"], "--density: option 'components'"),
    "likelihood": (["train", "vae", "--likelihood", "gaussian:sigma=0", "--dry-run"], "--likelihood: option 'sigma'"),
    "points": (["train", "vae", "--data", "ring", "--out", "r"], "train a gan with --preset points"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_and_exit_code_2(genprior: Command, case: str) -> None:
    words, message = BAD[case]
    text = genprior(*words, code=2)
    assert message.lower() in text.lower()
    assert text.count("\n") == 1
    assert "Traceback" not in text


def test_what_draws_of_flow_matching_have_not_is_refused_before_a_folder_is_made(genprior: Command) -> None:
    words = "--model unet:width=4,levels=1,blocks=1 --batch-size 16 --images-seen 16 --threads 1"
    genprior("train", "flow-matching", "--data", "digits", *words.split(), "--out", "run")
    damage = ["--simulate", "--operator", "denoise", "--noise", "gaussian:sigma=0.3", "--out", "out"]
    for flags, name in ((["--draws", 4, "--estimate", "map"], "--estimate"), (["--candidates", 2], "--candidates")):
        assert f"{name}: " in genprior("restore", "run", "digits[:2]", *damage, *flags, code=2)
        assert not Path("out").exists()
    genprior("restore", "run", "digits[:2]", *damage, "--candidates", 2, "--draws", 4)


def test_a_network_of_flow_matching_is_distilled_into_a_gan(genprior: Command) -> None:
    _train(genprior, "flow-matching", "--size", 16)
    few = ("--model", "few-steps:evaluations=2,discriminator_width=2", "--batch-size", 8, "--images-seen", 32)
    text = genprior("train", "gan", "--distil", "flow-matching", *few, "--out", "quick")
    assert "the generator begins as the network of flow-matching" in text
    shutil.rmtree("flow-matching")
    assert "distilled" in genprior("info", "quick")
    for command in ("check", "report", "resume"):
        genprior(command, "quick", *(("--images-seen", 64) if command == "resume" else ()))
    genprior("sample", "quick", "-n", 2, "--out", "quick.png")


def test_two_ways_to_begin_are_refused(genprior: Command) -> None:
    _train(genprior, "gan")
    refused = genprior("train", "gan", "--distil", "gan", "--fork", "gan", "--out", "new", code=2)
    assert refused == "genprior: --fork: says how a run begins, and so does --distil; give one of them\n"
    refused = genprior("train", "gan", "--distil", "gan", "--out", "new", code=2)
    assert "give a run of `genprior train flow-matching` on images" in refused
    assert not Path("new").exists()
