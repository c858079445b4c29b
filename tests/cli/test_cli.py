"""The command line, as a user meets it: what it prints, what it writes, and how it fails."""

import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy
import pytest
import torch
from PIL import Image

from genprior.cli.console import stop_on_signal
from genprior.progress import Task
from genprior.runs.run_folder import Run, create_run, open_run
from genprior.runs.step_rows import read_rows
from genprior.scoring import diagnosis_experiment
from genprior.seeding import derived_generator

SMALL = ["--preset", "points", "--data", "ring:count=500", "--batch-size", "50", "--images-seen", "500"]


def width_of(picture: str) -> int:
    with Image.open(picture) as image:
        return image.size[0]


def test_train_leaves_a_run_with_pictures(genprior: Callable[..., str]) -> None:
    output = genprior("train", "gan", *SMALL, "--out", "run")
    assert "100 %" in output
    pictures = [line.split(": ")[1] for line in output.splitlines() if line.endswith(".png")]
    assert [Path(picture) for picture in pictures] == [Path("run/figures/samples.png")]
    assert width_of(pictures[0]) > 300
    assert len(read_rows(Path("run/steps.jsonl"))) == 10


def test_train_on_images_then_sample_and_inform(genprior: Callable[..., str]) -> None:
    narrow = "dcgan:generator_width=4,discriminator_width=4,norm=none"
    genprior(
        *("train", "gan", "--data", "digits[:64]", "--batch-size", 8, "--images-seen", 48),
        *("--model", narrow, "--threads", 1, "--out", "run"),
    )
    genprior("sample", "run", "-n", 6, "--out", "a.png")
    assert "exists; replace it with --overwrite" in genprior("sample", "run", "--out", "a.png", code=2)
    genprior("sample", "run", "-n", 6, "--out", "a.npy")
    genprior("sample", "run", "-n", 6, "--no-average", "--out", "b.npy")
    averaged, last = numpy.load("a.npy"), numpy.load("b.npy")
    assert averaged.shape == last.shape == (6, 1, 28, 28)
    assert (averaged != last).any()
    text = genprior("info", "run")
    assert "finished (48 images)" in text
    assert "d_real" in text


@pytest.mark.parametrize("loss", ["saturating", "non-saturating", "least-squares", "least-squares-logit", "hinge"])
def test_every_loss_trains(genprior: Callable[..., str], loss: str) -> None:
    genprior("train", "gan", *SMALL, "--loss", loss, "--out", "run")
    assert open_run(Path("run")).config.loss == loss


def test_dry_run_prints_a_config_that_can_be_given_back(genprior: Callable[..., str]) -> None:
    text = genprior("train", "gan", "--preset", "study-literal", "--seed", 4, "--dry-run")
    assert json.loads(text)["weight_decay"] == 0.5
    assert json.loads(text)["beta1"] == 0.9
    Path("config.json").write_text(text)
    assert genprior("train", "gan", "--config", "config.json", "--dry-run") == text
    changed = genprior("train", "gan", "--config", "config.json", "--beta1", 0.1, "--dry-run")
    assert json.loads(changed)["beta1"] == 0.1
    assert not Path("runs").exists()


def test_data_tells_count_size_range_and_shows_a_picture(genprior: Callable[..., str]) -> None:
    text = genprior("data", "digits[:1000]")
    for fact in ("1000", "28x28", "1 (grey)", "0 to 1 (stored as 0 to 255)", "digits--1000.png"):
        assert fact in text
    assert width_of("digits--1000.png") > 300


def test_points_are_shown_as_points(genprior: Callable[..., str]) -> None:
    text = genprior("data", "grid")
    assert "2-D points" in text
    assert "true modes  25" in text.replace("   ", "  ").replace("    ", "  ")


def test_tuned_flags_reach_the_config(genprior: Callable[..., str]) -> None:
    flags = {"--latent-size": 7, "--discriminator-updates": 2, "--weight-decay": 0.1, "--average-half-life": 9.0}
    text = genprior("train", "gan", *[word for pair in flags.items() for word in pair], "--dry-run")
    settings = json.loads(text)
    assert {flag: settings[flag[2:].replace("-", "_")] for flag in flags} == flags


BAD = {
    "unknown data": (["--data", "mnits"], "--data: unknown data set.* did you mean 'mnist'"),
    "unknown loss": (["--loss", "hing"], "--loss: unknown loss 'hing', did you mean 'hinge'"),
    "unknown preset": (["--preset", "dcgan28"], "--preset: unknown preset 'dcgan28', did you mean 'dcgan-28'"),
    "unknown model": (["--model", "dcgam"], "--model: unknown model 'dcgam', did you mean 'dcgan'"),
    "unknown model option": (["--model", "mlp:widht=3"], "--model: unknown option 'widht' of 'mlp', did you mean"),
    "negative epochs": (["--epochs", "-3"], "--epochs: .*greater than 0, got -3"),
    "zero batch": (["--batch-size", "0"], "--batch-size: .*greater than or equal to 2, got 0"),
    "huge batch": (["--batch-size", "5000"], "--batch-size: 5000 is more than the 500 images"),
    "absurd beta": (["--beta1", "1.5"], "--beta1: .*less than 1, got 1.5"),
    "infinite rate": (["--generator-learning-rate", "inf"], "--generator-learning-rate: .*finite number"),
    "no such precision": (["--precision", "fp8"], "--precision: .*'bf16', 'float32' or 'float64'"),
    "no such device": (["--device", "abacus"], "--device: 'abacus' is not a device of this machine"),
    "two budgets": (["--minutes", "3"], "give one of images_seen, epochs and minutes"),
    "two channels": (["--channels", "2"], "--channels: "),
    "image options on points": (["--size", "28"], "--size: .*--preset points"),
    "not a number": (["--epochs", "many"], "--epochs.*valid number"),
    "unknown flag": (["--lossy", "hinge"], "--lossy"),
    "endless budget": (["--epochs", "1e305"], "--epochs: .*less than or equal to"),
    "absurd latent": (["--latent-size", "1000000000"], "--latent-size: .*less than or equal to 65536"),
    "absurd width": (["--model", "mlp:width=100000"], "--model: option 'width' must be an integer from 1 to 4096"),
    "fractional width": (["--model", "mlp:width=2.5"], "--model: option 'width' must be an integer"),
    "output below a file": (["--out", "image.png/run"], "--out: cannot write to image.png/run: Not a directory"),
    "read-only output": (["--out", "/proc/run"], "--out: cannot write to /proc/run"),
}


def save(name: str, array: numpy.ndarray) -> list[str]:
    numpy.save(name, array)
    return [name]


def folder(name: str, *contents: bytes | int) -> list[str]:
    """A folder of images, each given by its side, or by the bytes of something that is none."""
    Path(name).mkdir()
    for number, content in enumerate(contents):
        if isinstance(content, int):
            Image.new("L", (content, content), number).save(f"{name}/{number}.png")
        else:
            Path(f"{name}/{number}.png").write_bytes(content)
    return [name]


BAD_DATA = {
    "empty folder": (lambda: folder("data"), "--data: expected images .*found none"),
    "folder of nothing readable": (lambda: folder("data", b"x", b"y"), "--data: none of 2 images can be read"),
    "broken image": (lambda: [*folder("data", 28, b"x"), "--strict"], r"--data: cannot read 1\.png"),
    "images smaller than the model": (
        lambda: folder("data", 28, 12),
        r"--size: 1\.png is 12 wide and 12 high, too small",
    ),
    "wrong channel count": (lambda: save("a.npy", numpy.zeros((9, 28, 28, 5))), "--data: .*got .9, 28, 28, 5."),
    "not an array": (lambda: Path("a.npy").write_text("no") and ["a.npy"], "--data: a.npy: cannot read it"),
    "NaN": (lambda: save("a.npy", numpy.full((9, 28, 28), numpy.nan)), "--data: .*7,056 of 7,056 that are not"),
    "out of range": (
        lambda: save("a.npy", numpy.full((9, 28, 28), 7.0)),
        "--data: .*from 0 to 1, got 7 to 7: .*--white 255",
    ),
    "no network": (lambda: ["fashion-mnist", "--data-root", "empty"], "--data: no network and no local copy.* put "),
}


@pytest.mark.parametrize("case", BAD_DATA)
def test_bad_data_are_one_line_and_exit_code_2(
    genprior: Callable[..., str], monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    monkeypatch.setattr("genprior.data.named.answers", lambda _: False)
    make, message = BAD_DATA[case]
    text = genprior("train", "gan", "--data", *make(), "--images-seen", 100, "--out", "run", code=2)
    assert text.count("\n") == 1, text
    assert re.search(message, text), text
    assert not Path("run").exists()


@pytest.mark.filterwarnings("default")
def test_broken_image_is_named_and_left_out(genprior: Callable[..., str]) -> None:
    text = genprior("data", *folder("data", 28, b"x", 28))
    assert "warning: 1 of 3 images cannot be read and are left out: 1.png" in text
    assert re.search(r"^count +2$", text, re.MULTILINE)


@pytest.mark.filterwarnings("always")
def test_a_broken_image_is_told_of_once_by_a_command_that_reads_images_twice(genprior: Callable[..., str]) -> None:
    images = folder("data", *[28] * 60, b"x")[0]
    small = ["--model", "dcgan:generator_width=4,discriminator_width=4", "--threads", 1]
    genprior("train", "gan", "--data", images, *small, "--batch-size", 8, "--images-seen", 80, "--out", "run")
    assert genprior("diagnose", "run", code=1).count("cannot be read and are left out") == 1


def test_data_of_ones_own_are_surveyed_and_a_command_that_trains_is_told(
    genprior: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("genprior.runs.suggestion._seconds_per_step", lambda *_: 0.5)
    Path("own").mkdir()
    for i in range(30):
        values = numpy.random.default_rng(i).integers(0, 256, (28, 28), dtype=numpy.uint8)
        Image.fromarray(values).save(f"own/{i}.png")
    Path("own/a.heic").write_bytes(b"")
    text = genprior("data", "own")
    for line in ("shapes +28x28: 30", r"left out +\.heic: 1;.*", "bits +8 bits used;.*", "near duplicates +none"):
        assert re.search(f"^{line}$", text, re.MULTILINE), line
    for line in (
        r"size +28x28 \(--size auto.*",
        r"held out +3 images \(--held-out 0\.1.*",
        r"minutes +20 \(.*0\.50 s.*",
    ):
        assert re.search(f"^{line}$", text, re.MULTILINE), line
    told = re.search(r"^train with +(genprior .*)$", text, re.MULTILINE)
    assert told is not None
    settings = json.loads(genprior(*told[1].split()[1:], "--dry-run"))
    assert (settings["data"], settings["size"], settings["held_out"], settings["batch_size"]) == ("own", None, 0.1, 16)


@pytest.mark.filterwarnings("default")
def test_data_are_surveyed_without_a_training_where_none_is_to_be_timed(
    genprior: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("genprior.runs.suggestion._seconds_per_step", lambda *_: pytest.fail("it was timed"))
    text = genprior("data", *folder("data", 28, 28, 28), "--no-timing")
    assert re.search(r"^held out +\d+ images", text, re.MULTILINE)
    assert "train with" not in text


def test_training_says_how_many_images_are_held_out(genprior: Callable[..., str]) -> None:
    small = "train vae --size 8 --model dense:width=8 --batch-size 10 --images-seen 20 --threads 1".split()
    text = genprior(*small, "--data", "digits[:100]", "--out", "run")
    assert "90 images of 1x8x8 from digits[:100] (10 more are held out), " in text
    assert "held out" not in genprior(*small, "--data", "digits[:90]", "--held-out", 0, "--out", "all")


def test_a_size_may_be_oblong_or_automatic(genprior: Callable[..., str]) -> None:
    def size(text: str) -> object:
        return json.loads(genprior("train", "gan", "--size", text, "--dry-run"))["size"]

    assert (size("48x32"), size("64"), size("auto")) == ([48, 32], 64, None)
    assert "--size: expected whole numbers of pixels" in genprior("train", "gan", "--size", "48by32", code=2)


def test_config_file_and_preset_are_not_mixed(genprior: Callable[..., str]) -> None:
    Path("config.json").write_text(genprior("train", "gan", "--dry-run"))
    text = genprior("train", "gan", "--config", "config.json", "--preset", "study-literal", code=2)
    assert "--preset: the config file settles what a preset would" in text


@pytest.mark.parametrize(("name", "text"), [("none.json", None), ("a.json", "{"), ("a.json", "[]"), (".", None)])
def test_config_file_that_cannot_be_read(genprior: Callable[..., str], name: str, text: str | None) -> None:
    if text is not None:
        Path(name).write_text(text)
    output = genprior("train", "gan", "--config", name, "--out", "run", code=2)
    assert output.startswith(f"genprior: --config: {name} ")
    assert output.count("\n") == 1


def test_flag_replaces_the_budget_of_a_config_file(genprior: Callable[..., str]) -> None:
    Path("config.json").write_text(genprior("train", "gan", "--epochs", 4, "--dry-run"))
    settings = json.loads(genprior("train", "gan", "--config", "config.json", "--minutes", 2, "--dry-run"))
    assert (settings["epochs"], settings["minutes"]) == (None, 2)


def test_dry_run_refuses_an_unknown_loss(genprior: Callable[..., str]) -> None:
    assert "did you mean 'hinge'" in genprior("train", "gan", "--loss", "hing", "--dry-run", code=2)


def test_samples_need_a_name_that_says_what_they_are(genprior: Callable[..., str]) -> None:
    genprior("train", "gan", *SMALL, "--out", "run")
    assert "--out: expected a name that ends in .png" in genprior("sample", "run", "--out", "a.xyz", code=2)
    assert "run/config.json: File exists" in genprior("sample", "run", "--out", "run/config.json/a.png", code=2)


def test_a_picture_that_cannot_be_written_is_told_and_the_run_is_whole(
    genprior: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device", "samples.png")

    monkeypatch.setattr("genprior.report.collect.write_real_and_generated", fail)
    text = genprior("train", "gan", *SMALL, "--out", "run")
    assert "run/figures/samples.png cannot be written: No space left on device; the run is whole, and" in text
    assert "`genprior report run` shows its samples" in text
    assert "files are whole" in genprior("check", "run")


def test_an_end_of_a_line_in_a_name_is_an_escape(genprior: Callable[..., str]) -> None:
    text = genprior("info", "no\nsuch", code=2)
    assert "no\\nsuch" in text
    assert len(text.splitlines()) == 1


def test_full_disk_is_one_line(genprior: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    import safetensors.torch

    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device", "tensors.safetensors")

    monkeypatch.setattr(safetensors.torch, "save_file", fail)
    text = genprior("train", "gan", *SMALL, "--out", "run", code=2)
    assert "genprior: tensors.safetensors: No space left on device" in text
    assert "Traceback" not in text


@pytest.mark.parametrize("words", [[], ["train"]])
def test_command_without_its_word_says_so(genprior: Callable[..., str], words: list[str]) -> None:
    text = genprior(*words, code=2 if words else 0)
    assert ("Missing command" if words else "Judge") in text


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_and_exit_code_2(genprior: Callable[..., str], case: str) -> None:
    flags, message = BAD[case]
    Path("image.png").write_text("a file where a folder should be")
    text = genprior("train", "gan", *SMALL, "--out", "run", *flags, code=2)
    assert text.count("\n") == 1
    assert "Traceback" not in text
    assert re.search(message, text), text
    assert not Path("run").exists()


def test_unknown_key_in_a_config_file(genprior: Callable[..., str]) -> None:
    Path("config.json").write_text('{"lossy": "hinge"}')
    text = genprior("train", "gan", "--config", "config.json", "--out", "run", code=2)
    assert "--lossy: unknown config key, did you mean 'loss'" in text


def test_run_folder_is_never_overwritten_by_accident(genprior: Callable[..., str]) -> None:
    genprior("train", "gan", *SMALL, "--out", "run")
    assert "--out: run exists" in genprior("train", "gan", *SMALL, "--out", "run", code=2)
    assert "--out: name the folder" in genprior("train", "gan", *SMALL, code=2)
    genprior("train", "gan", *SMALL, "--seed", 1, "--out", "run", "--overwrite")
    assert open_run(Path("run")).config.seed == 1


@pytest.mark.parametrize("command", ["resume", "sample", "info"])
def test_what_is_no_run_is_named(genprior: Callable[..., str], command: str) -> None:
    assert "RUN: nowhere is not a run" in genprior(command, "nowhere", code=2)


def test_train_encoder_leaves_an_encoder_and_tells_its_error(
    genprior: Callable[..., str], make_run: Callable[..., Run]
) -> None:
    make_run()
    text = genprior("train", "encoder", "run", "--images-seen", 1280, "--seed", 3, "--threads", 1)
    assert re.search(r"^100 %  1,280 images  [\d,]+/s  error \d\.\d+$", text, re.MULTILINE), text
    assert "encoder: run/encoder.safetensors" in text
    table = json.loads(Path("run/encoder.json").read_text())
    assert (table["images_seen"], table["settings"]["seed"]) == (1280, 3)
    assert f"error on {table['held_out_images']} images ({table['held_out']}): {table['held_out_error']:.4g}" in text
    refused = genprior("train", "encoder", "run", "--images-seen", 64, code=2)
    assert refused == "genprior: RUN: run/encoder.json exists; replace it with --overwrite\n"
    genprior("train", "encoder", "run", "--images-seen", 64, "--overwrite")
    assert json.loads(Path("run/encoder.json").read_text())["images_seen"] == 64


def test_minutes_are_the_budget_of_an_encoder(genprior: Callable[..., str], make_run: Callable[..., Run]) -> None:
    make_run()
    genprior("train", "encoder", "run", "--minutes", 0.003)
    assert json.loads(Path("run/encoder.json").read_text())["seconds"] >= 0.18


def test_an_interrupted_encoder_leaves_the_old_one(
    genprior: Callable[..., str], make_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_run()
    genprior("train", "encoder", "run", "--images-seen", 64)
    before = Path("run/encoder.safetensors").read_bytes()

    def interrupt(seed: int, purpose: str, index: int = 0) -> torch.Generator:
        if (purpose, index) == ("step", 2):
            signal.raise_signal(signal.SIGINT)
        return derived_generator(seed, purpose, index)

    monkeypatch.setattr("genprior.training.loop.derived_generator", interrupt)
    text = genprior("train", "encoder", "run", "--seed", 1, "--overwrite", code=130)
    # Nothing of the new one is saved, so that it still has to replace the old one.
    assert text.endswith("; finish with: genprior train encoder run --seed 1 --overwrite\n")
    assert Path("run/encoder.safetensors").read_bytes() == before


def test_an_interrupted_command_for_two_runs_is_resumed_with_the_rest(
    genprior: Callable[..., str], make_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_run("a"), make_run("b")
    original = diagnosis_experiment._sampled

    def interrupted_at_b(examined: diagnosis_experiment.Examined) -> Task[diagnosis_experiment.Sampled]:
        if examined.settings.run.name == "b":
            raise KeyboardInterrupt
        return (yield from original(examined))

    monkeypatch.setattr(diagnosis_experiment, "_sampled", interrupted_at_b)
    text = genprior("diagnose", "a/", "b", "--threads", 1, code=130)
    assert text.endswith("interrupted at record; finish with: genprior diagnose b --threads 1\n")


def test_an_encoder_that_is_not_finite_exits_with_1(
    genprior: Callable[..., str], make_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_run()
    monkeypatch.setattr("genprior.training.distillation.annealed", lambda _: 1e30)
    text = genprior("train", "encoder", "run", "--images-seen", 1280, code=1)
    assert "values that are not finite; nothing was saved" in text
    assert not Path("run/encoder.safetensors").exists()


BAD_ENCODER = {
    "no run": (["nowhere"], "RUN: nowhere is not a run: it has no config.json"),
    "unfinished run": (["begun"], "RUN: begun has no checkpoint; train it first"),
    "two budgets": (["run", "--minutes", "1", "--images-seen", "5"], "--minutes: give one of minutes and images_seen"),
    "no minutes": (["run", "--minutes", "0"], "--minutes: input should be greater than 0, got 0.0"),
    "no images": (["run", "--images-seen", "0"], "--images-seen: input should be greater than or equal to 1, got 0"),
    "no threads": (["run", "--threads", "0"], "--threads.*greater than or equal to 1"),
}


@pytest.mark.parametrize("case", BAD_ENCODER)
def test_bad_input_of_an_encoder_is_one_line(
    genprior: Callable[..., str], make_run: Callable[..., Run], case: str
) -> None:
    words, message = BAD_ENCODER[case]
    create_run(Path("begun"), make_run().config)
    text = genprior("train", "encoder", *words, code=2)
    assert text.count("\n") == 1
    assert re.search(message, text), text
    assert not Path("run/encoder.safetensors").exists()


def test_non_finite_training_exits_with_1_and_names_step_and_checkpoint(
    genprior: Callable[..., str], make_run: Callable[..., Run]
) -> None:
    flags = ["--generator-learning-rate", 1e9, "--discriminator-learning-rate", 1e9]
    text = genprior("train", "gan", *SMALL, *flags, "--out", "run", code=1)
    assert "has values that are not finite" in text
    assert "Last good checkpoint: run/checkpoint/step-000000000" in text
    assert "not finite" in genprior("info", "run")


@pytest.mark.parametrize("ignored", [True, False])
def test_closed_terminal_stops_training_unless_nohup_says_otherwise(ignored: bool) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN if ignored else signal.SIG_DFL)
    try:
        with stop_on_signal() as received:
            signal.raise_signal(signal.SIGHUP)
            assert received == ([] if ignored else [signal.SIGHUP])
    finally:
        signal.signal(signal.SIGHUP, before)


def in_fresh_process(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_help_and_import_do_without_torch() -> None:
    code = (
        "import sys, genprior, genprior.cli\nsys.argv = ['genprior', '--help']\n"
        "try:\n    genprior.cli.main()\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'matplotlib', 'sklearn', 'torchvision', 'lightning_fabric', 'numpy'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    assert "Judge" in in_fresh_process(code)


def test_one_process_trains_without_what_several_need(tmp_path: Path) -> None:
    words = ["genprior", "train", "mixture", "--data", "digits[:60]", "--components", "1", "--rank", "2"]
    code = (
        f"import sys, genprior.cli\nsys.argv = {[*words, '--out', str(tmp_path / 'run')]}\n"
        "try:\n    genprior.cli.main()\nexcept SystemExit as ended:\n    assert not ended.code, ended.code\n"
        "assert 'torch' in sys.modules and 'lightning_fabric' not in sys.modules"
    )
    assert "100 %" in in_fresh_process(code)


def test_public_names_are_the_promised_ones() -> None:
    import genprior as package

    for name in ("load_data", "train", "GANConfig", "load_prior"):
        assert callable(getattr(package, name))
    with pytest.raises(AttributeError, match="no attribute 'load_date'"):
        package.load_date  # noqa: B018


def test_python_and_command_line_agree(genprior: Callable[..., str]) -> None:
    import genprior as package

    genprior("train", "gan", *SMALL, "--precision", "float32", "--out", "run")
    prior = package.load_prior("run")
    assert prior.sample(5).shape == (5, 2, 1, 1)
    config = package.GANConfig(preset="points", data="ring:count=500", batch_size=50, images_seen=500)
    data = config.load_data()
    gan = config.model_copy(update={"precision": "float32"}).build(data)
    *_, last = package.train(gan, data, package.Budget(images=500), seed=config.seed)
    row = read_rows(Path("run/steps.jsonl"))[-1]
    assert row["generator_loss"] == pytest.approx(float(last.record["generator_loss"]), rel=1e-6)
