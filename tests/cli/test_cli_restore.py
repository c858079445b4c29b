"""The commands invert, restore and degrade, as a user meets them: what they print, write, and how they fail."""

import json
import re
import shutil
import signal
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import SafetensorError
from torch import Tensor

from genprior.engines import ENGINES
from genprior.images import to_uint8, write_image
from genprior.restoration.result import Restoration
from genprior.restoring import restore_job as jobs
from genprior.restoring import restored_parts
from tiny_run import make_tiny_run

QUICK = ["--starts", 2, "--iterations", 3]
Command = Callable[..., str]


@pytest.fixture(autouse=True)
def _signals_as_in_a_terminal() -> Iterator[None]:
    """A shell that starts tests in the background has them ignore Ctrl-C, and nohup the hang-up."""
    usual = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL, signal.SIGHUP: signal.SIG_DFL}
    before = {kind: signal.signal(kind, handler) for kind, handler in usual.items()}
    yield
    for kind, handler in before.items():
        signal.signal(kind, handler)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a trained run."""
    return make_tiny_run(tmp_path_factory.mktemp("runs") / "tiny")


@pytest.fixture
def genprior(genprior: Command) -> Command:
    """Runs a command in a folder with photos/, y.npy and mask.png; returns what it printed."""
    x = torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(5))
    for name, image in zip("abcde", to_uint8(x), strict=True):
        write_image(image, Path("photos", f"{name}.png"))
    np.save("y.npy", x.numpy())
    mask = torch.full((1, 8, 8), 255, dtype=torch.uint8)
    mask[:, 2:4] = 0
    write_image(mask, Path("mask.png"))

    return genprior


def test_invert_leaves_images_latents_table_and_pictures(genprior: Command, run: Path) -> None:
    text = genprior("invert", run, "photos", "--out", "out", *QUICK)
    assert "5 of 5 images" in text
    for fact in ("PSNR", "SSIM", "verdict", "out/pairs.png", "out/images", "out/table.csv", "out/latents.safetensors"):
        assert fact in text
    assert {path.name for path in Path("out/images").iterdir()} == {f"{name}.png" for name in "abcde"}
    again = genprior("invert", run, "photos", "--out", "out", *QUICK)
    assert "100 %  5 of 5 images\n" in again  # nothing was left to do


def test_restore_simulates_and_shows_candidates(genprior: Command, run: Path) -> None:
    flags = ["--operator", "inpaint:box=3", "--noise", "gaussian:sigma=0.1", "--fidelity", "huber:delta=0.2"]
    text = genprior("restore", run, "photos", "--simulate", *flags, "--candidates", 2, *QUICK, "--out", "out")
    assert "PSNR" in text
    assert Path("out/pairs.png").exists()
    assert Path("out/candidates.png").exists()


def test_degrade_prints_the_command_that_restores(genprior: Command, run: Path) -> None:
    text = genprior("degrade", "photos", "--operator", "inpaint:random=0.3", "--noise", "gaussian", "--out", "bad")
    command = re.search(r"genprior restore RUN (.*)", text)
    assert command is not None
    text = genprior("restore", run, *command[1].split(), *QUICK)
    assert "bad-restored/pairs.png" in text
    assert "PSNR" not in text
    assert {path.name for path in Path("bad-restored/images").iterdir()} == {f"{name}.png" for name in "abcde"}


def test_every_flag_reaches_the_settings(genprior: Command, run: Path) -> None:
    flags = {
        "--noise-level": 0.25,
        "--preset": "study",
        "--starts": 3,
        "--iterations": 2,
        "--energy-weight": 0.5,
        "--candidates": 2,
        "--seed": 7,
        "--batch-size": 4,
        "--fidelity": "l1",
        "--operator": "blur:sigma=0.5",
    }
    words = [word for pair in flags.items() for word in pair]
    genprior("restore", run, "photos", *words, "--resize", "--no-average", "--threads", 1, "--out", "out")
    stored = json.loads(Path("out/settings.json").read_text())["settings"]
    assert {flag: stored[flag[2:].replace("-", "_")] for flag in flags} == flags
    assert (stored["resize"], stored["no_average"], stored["simulate"]) == (True, True, False)


def test_other_settings_need_another_folder_or_overwrite(genprior: Command, run: Path) -> None:
    genprior("invert", run, "photos", "--out", "out", *QUICK)
    text = genprior("invert", run, "photos", "--out", "out", *QUICK, "--fidelity", "l1", code=2)
    assert "--out: out holds results of other settings (fidelity not set then, l1 now)" in text
    genprior("invert", run, "photos", "--out", "out", *QUICK, "--fidelity", "l1", "--overwrite")
    text = genprior("restore", run, "photos", "--out", "out", code=2)
    assert "--out: out holds results of genprior invert" in text


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupted_work_goes_on_with_the_same_command(
    genprior: Command, run: Path, monkeypatch: pytest.MonkeyPatch, kind: int
) -> None:
    original, calls = jobs.invert, []

    def slow(prior: object, y: Tensor, *arguments: object, **named: object) -> Restoration:
        calls.append(y)
        if len(calls) == 2:
            signal.raise_signal(kind)
        return original(prior, y, *arguments, **named)

    monkeypatch.setattr(jobs, "invert", slow)
    words = ["invert", run, "photos", "--out", "out", *QUICK, "--batch-size", 2]
    text = genprior(*words, code=130)
    assert "interrupted at 2 of 5 images" in text
    assert "; finish with: genprior invert" in text
    assert not Path("out/table.csv").exists()
    genprior(*words)
    assert [len(y) for y in calls] == [2, 2, 2, 1]
    assert torch.equal(calls[1], calls[2])  # the part at hand is done again
    assert len(Path("out/table.csv").read_text().splitlines()) == 6


def test_an_interruption_before_anything_has_begun_is_no_traceback(
    genprior: Command, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "load_prior", lambda *_, **__: signal.raise_signal(signal.SIGINT))
    assert "Traceback" not in genprior("invert", run, "photos", "--out", "out", code=130)


def test_interrupted_overwriting_does_not_start_anew_when_it_goes_on(
    genprior: Command, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "invert", lambda *_, **__: signal.raise_signal(signal.SIGINT))
    text = genprior("invert", run, "photos", "--out", "out", "--overwrite", code=130)
    assert "--overwrite" not in text


def files_of(folder: str, *, but: Collection[str] = ()) -> dict[str, bytes]:
    """The contents of all files below a folder, those of parts but for the seconds that they took."""
    files = {str(path.relative_to(folder)): path for path in Path(folder).rglob("*") if path.is_file()}
    left_out = {"lock", "summary.json", *but}
    return {
        name: path.read_bytes()
        for name, path in files.items()
        if name not in left_out and not (name.startswith("parts") and path.suffix in (".json", ".lock"))
    }


def test_two_jobs_give_what_one_gives(genprior: Command, run: Path) -> None:
    words = ["invert", run, "photos", *QUICK, "--batch-size", 1, "--threads", 1]
    text = genprior(*words, "--out", "shared", "--jobs", 2)
    assert "5 of 5 images" in text
    genprior(*words, "--out", "alone")
    assert files_of("shared") == files_of("alone")


@pytest.mark.parametrize("engine", ENGINES)
def test_every_engine_give_what_one_process_gives(genprior: Command, run: Path, engine: str) -> None:
    words = ["restore", run, "photos", "--simulate", "--operator", "inpaint:random=0.4", *QUICK, "--batch-size", 2]
    genprior(*words, "--threads", 1, "--out", "alone")
    text = genprior(*words, "--threads", 1, "--out", "shared", "--engine", engine, "--jobs", 2)
    assert "5 of 5 images" in text
    assert files_of("shared") == files_of("alone")


def test_an_unreadable_image_is_named_and_the_rest_is_finished(genprior: Command, run: Path) -> None:
    Path("photos/b.png").write_text("text")
    text = genprior("invert", run, "photos", "--out", "out", *QUICK, code=1)
    assert "genprior: b: cannot read the image photos/b.png: not an image that Pillow knows" in text
    assert "1 of 5 images failed: mend them, and give the same command again" in text
    rows = Path("out/table.csv").read_text().splitlines()
    assert rows[2].startswith("1,b,")
    assert "cannot read" in rows[2]
    assert len(list(Path("out/images").iterdir())) == 4
    text = genprior("degrade", "photos", "--operator", "denoise", "--out", "damaged", code=1)
    assert "genprior: b: cannot read" in text


def test_images_of_another_size_are_converted_on_request(genprior: Command, run: Path) -> None:
    write_image(torch.zeros(3, 20, 12, dtype=torch.uint8), Path("large/a.png"))
    write_image(torch.cat([torch.zeros(1, 8, 16), torch.full((1, 8, 16), 255)], 1).byte(), Path("large-mask.png"))
    text = genprior("invert", run, "large", "--out", "out", code=2)
    assert "IMAGES: a.png is 3x20x12, expected 1x8x8 or smaller; --resize converts it" in text
    genprior("invert", run, "large", "--out", "out", *QUICK, "--resize")
    mask = ["--operator", "inpaint", "--mask", "large-mask.png"]
    genprior("restore", run, "large", *mask, "--out", "restored", *QUICK, "--resize")


def empty_folder() -> str:
    Path("empty").mkdir()
    return "empty"


def array(*shape: int, value: float = 0.5) -> str:
    np.save("a.npy", np.full(shape, value, np.float32))
    return "a.npy"


def text_file(name: str) -> str:
    Path(name).parent.mkdir(exist_ok=True)
    Path(name).write_text("text")
    return name


def picture(name: str, *shape: int, value: int = 255) -> str:
    write_image(torch.full(shape, value, dtype=torch.uint8), Path(name))
    return name


BAD_IMAGES = {
    "another size": (lambda: array(2, 9, 9), "IMAGES: item 0 of a.npy is 1x9x9, expected 1x8x8 or smaller; --resize"),
    "colour": (lambda: array(2, 3, 8, 8), "IMAGES: item 0 of a.npy is 3x8x8, expected 1x8x8 or smaller; --resize"),
    "no images": (lambda: array(2, 64), "IMAGES: item 0 of a.npy is 64 numbers, expected 1x8x8$"),
    "not finite": (lambda: array(2, 8, 8, value=np.nan), "IMAGES: item 0 of a.npy has 64 of 64 values that are not"),
    "0 to 255": (lambda: array(2, 8, 8, value=255.0), r"IMAGES: .* values from 255 to 255, expected \[0, 1\]"),
    "empty folder": (empty_folder, "IMAGES: expected images .* in empty or below, found none"),
    "nothing": (lambda: "nothing", "IMAGES: unknown data set, and no such file or folder: 'nothing'"),
    "mistyped data": (lambda: "digit", "IMAGES: unknown data set.* did you mean 'digits'"),
    "unknown format": (lambda: text_file("a.txt"), "IMAGES: expected a folder, a data set or a file that ends in"),
    "unreadable": (lambda: text_file("a.png"), "IMAGES: none of 1 images can be read; cannot read the image a.png"),
    "all unreadable": (lambda: Path(text_file("bad/a.png")).parent, "IMAGES: none of 1 images can be read"),
    "empty slice": (lambda: "photos[9:]", "IMAGES: expected a slice that holds images"),
    "data of another size": (
        lambda: "digits[:2]",
        "IMAGES: image 0 of digits is 1x28x28, expected 1x8x8 or smaller; --resize",
    ),
}


def one_line(text: str, message: str) -> None:
    assert text.count("\n") == 1, text
    assert "Traceback" not in text
    assert re.search(message, text.strip()), text
    assert not Path("out").exists()


@pytest.mark.parametrize("case", BAD_IMAGES)
@pytest.mark.parametrize("command", ["invert", "restore"])
def test_bad_images_are_one_line_and_exit_code_2(genprior: Command, run: Path, case: str, command: str) -> None:
    make, message = BAD_IMAGES[case]
    simulate = ["--simulate"] if command == "restore" else []
    one_line(genprior(command, run, make(), *simulate, "--out", "out", code=2), message)


BAD_VALUES = {
    "-1 to 1": ([], lambda x: 2 * x - 1, "IMAGES: item 0 of y.npy has values from -.* --white VALUE divides"),
    "0 to 255": ([], lambda x: 255 * x, "IMAGES: item 0 of y.npy has values from .* rescale them"),
    "projections": (
        ["--operator", "compressed-sensing:m=64"],
        lambda x: 255 * x.reshape(5, 64),
        "on average, expected",
    ),
    "0 and 1": ([], lambda x: (x > 0.5).astype(np.uint8), "IMAGES: y.npy holds 0 and 1 alone as uint8.*--white 1"),
}


@pytest.mark.parametrize("case", BAD_VALUES)
def test_measurements_of_another_scale_are_one_line_and_exit_code_2(genprior: Command, run: Path, case: str) -> None:
    flags, change, message = BAD_VALUES[case]
    np.save("y.npy", change(np.load("y.npy")))
    one_line(genprior("restore", run, "y.npy", *flags, "--noise-level", 0.01, "--out", "out", code=2), message)


def test_white_is_a_value_of_the_user(genprior: Command, run: Path) -> None:
    x = np.load("y.npy")
    for name, values, white in (("a", x, 1), ("b", (4095 * x).astype(np.uint16), 4095), ("c", 255 * x, 255)):
        np.save("y.npy", values)
        text = genprior("invert", run, "y.npy", "--white", white, *QUICK, "--out", name)
        assert "nearly black" not in text
    errors = [json.loads(Path(name, "summary.json").read_text())["mean"]["error"] for name in "abc"]
    assert errors == pytest.approx([errors[0]] * 3, rel=1e-2)
    np.save("y.npy", (4095 * x).astype(np.uint16))
    text = genprior("invert", run, "y.npy", *QUICK, "--out", "d")
    assert "5 of 5 images: values use a sliver of 16 bits, nearly black: give --white 4095 if" in text


INPAINT = ["--operator", "inpaint", "--mask"]
BAD_SETTINGS = {
    "unknown operator": (["--operator", "inpant:box=3"], "--operator: unknown operator 'inpant', did you mean 'inpai"),
    "unknown option": (["--operator", "inpaint:bx=3"], "--operator: unknown option 'bx' of 'inpaint', did you mean"),
    "hole too large": (["--operator", "inpaint:box=9"], "--operator: option 'box' of 'inpaint' .*whole number from 1"),
    "no hole": (["--operator", "inpaint"], "--operator: 'inpaint' takes exactly one of the options"),
    "unknown noise": (["--noise", "gausian"], "--noise: unknown noise 'gausian', did you mean 'gaussian'"),
    "negative noise": (
        ["--noise", "gaussian:sigma=-1"],
        "--noise: option 'sigma' .*from 0 to 1000, where 1 is white, got -1",
    ),
    "unknown fidelity": (["--fidelity", "l3"], "--fidelity: unknown fidelity 'l3'"),
    "unknown fidelity option": (["--fidelity", "huber:dleta=1"], "--fidelity: unknown option 'dleta' of 'huber', did"),
    "negative level": (
        ["--noise-level", "-0.1"],
        "--noise-level: input should be greater than or equal to 0, got -0.1",
    ),
    "level that is none": (["--noise-level", "nan"], "--noise-level: input should be a finite number, got nan"),
    "level and noise": (["--noise", "gaussian", "--noise-level", "0.1"], "--noise-level: is for damaged images whose"),
    "level of simulation": (["--simulate", "--noise-level", "0.1"], "--noise-level: is for damaged images whose"),
    "no starts": (["--starts", "0"], "--starts: input should be greater than or equal to 1, got 0"),
    "no iterations": (["--iterations", "0"], "--iterations: input should be greater than or equal to 1"),
    "no candidates": (["--candidates", "0"], "--candidates: input should be greater than or equal to 1, got 0"),
    "countless candidates": (["--candidates", "10000"], "--candidates: input should be less than or equal to 64"),
    "negative weight": (
        ["--energy-weight", "-1"],
        "--energy-weight: input should be greater than or equal to 0, got -1",
    ),
    "empty parts": (["--batch-size", "0"], "--batch-size: input should be greater than or equal to 1, got 0"),
    "unknown preset": (["--preset", "studdy"], "--preset: unknown preset 'studdy', did you mean 'study'"),
    "no threads": (["--threads", "0"], "--threads"),
    "not a number": (["--starts", "many"], "--starts.*valid int"),
    "mask without inpaint": (["--mask", "mask.png"], "--mask: .*goes with --operator inpaint"),
    "mask and box": (["--operator", "inpaint:box=3", "--mask", "mask.png"], "--mask: .*without options, got inpaint:b"),
    "mask and simulate": ([*INPAINT, "mask.png", "--simulate"], "--mask: is for images that are damaged already"),
    "no such mask": ([*INPAINT, "nowhere.png"], "--mask: no such file or folder: nowhere.png"),
    "mask that is none": ([*INPAINT, "y.npy"], "--mask: cannot read the image y.npy"),
    "masks of others": ([*INPAINT, "masks"], "--mask: masks has no mask for a .5 of 5 images have none."),
    "mask without holes": ([*INPAINT, "white.png"], "--mask: a.png: the mask white.png has no missing .black. pixels"),
    "mask of holes": ([*INPAINT, "black.png"], "--mask: a.png: the mask black.png has no known .white. pixels"),
    "mask of another size": (
        [*INPAINT, "large.png"],
        "--mask: a.png: the mask large.png is 1x9x9, expected 1x8x8; --resize",
    ),
    "one random mask each": (["--operator", "inpaint:random=0.5"], "--operator: .*give the masks with"),
    "another folder's files": (["--out", "photos"], "--out: photos lies in the folder of images photos"),
    "output is a file": (["--out", "y.npy"], "--out: y.npy is a file"),
    "foreign output": (["--out", "masks"], "--out: masks exists and holds no results of genprior"),
    "no such engine": (["--engine", "desk"], "--engine: unknown engine 'desk', did you mean 'dask'"),
    "scheduler of this machine": (["--scheduler", "tcp://here:1"], "--scheduler: goes with --engine dask or ray"),
    "too few jobs": (["--jobs", "-2"], "--jobs: input should be greater than or equal to -1, got -2"),
    "unwritable output": (["--out", "/proc/out"], "--out: cannot write to /proc/out"),
}


@pytest.mark.parametrize("case", BAD_SETTINGS)
def test_bad_settings_are_one_line_and_exit_code_2(genprior: Command, run: Path, case: str) -> None:
    flags, message = BAD_SETTINGS[case]
    picture("masks/other.png", 1, 8, 8)
    picture("white.png", 1, 8, 8)
    picture("black.png", 1, 8, 8, value=0)
    picture("large.png", 1, 9, 9)
    out = [] if "--out" in flags else ["--out", "out"]
    one_line(genprior("restore", run, "photos", *flags, *out, code=2), message)


BAD_RUNS = {
    "nothing": (lambda _: "nowhere", "RUN: nowhere is not a run"),
    "something else": (lambda _: "photos", "RUN: photos is not a run"),
    "no weights": (lambda run: shutil.rmtree(run / "checkpoint") or run, "RUN: .* is not trained yet"),
    "damaged": (lambda run: [p.unlink() for p in run.glob("*/*/tensors*")] and run, "RUN: .*is refused"),
    "no config": (lambda run: (run / "config.json").write_text("{") and run, "RUN: .*config.json cannot be read"),
}


@pytest.mark.parametrize("case", BAD_RUNS)
def test_what_is_no_trained_run_is_told(genprior: Command, run: Path, case: str) -> None:
    make, message = BAD_RUNS[case]
    one_line(genprior("invert", make(Path(shutil.copytree(run, "run"))), "photos", "--out", "out", code=2), message)


BAD_DEGRADING = {
    "no operator": ([], "--operator"),
    "unknown operator": (["--operator", "blurr:sigma=1"], "--operator: unknown operator 'blurr', did you mean 'blur'"),
    "unknown noise": (["--operator", "denoise", "--noise", "poison"], "--noise: unknown noise 'poison', did you mean"),
    "absurd size": (
        ["--operator", "denoise", "--size", "0"],
        "--size: input should be greater than or equal to 1, got 0",
    ),
    "two channels": (["--operator", "denoise", "--channels", "2"], "--channels: input should be 1 or 3, got 2"),
    "factor that does not fit": (["--operator", "downsample:factor=3"], "--operator: option 'factor' of 'downsample'"),
}


@pytest.mark.parametrize("case", BAD_DEGRADING)
def test_bad_degrading_is_one_line_and_exit_code_2(genprior: Command, case: str) -> None:
    flags, message = BAD_DEGRADING[case]
    one_line(genprior("degrade", "photos", *flags, "--out", "out", code=2), message)


def test_a_full_disk_is_one_line_and_costs_nothing_that_is_done(
    genprior: Command, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, saved = restored_parts.save_restorations, []

    def save(groups: Sequence[Restoration], path: Path) -> None:
        saved.append(path)
        if len(saved) == 2:
            raise OSError(28, "No space left on device", str(path))
        original(groups, path)

    monkeypatch.setattr(restored_parts, "save_restorations", save)
    words = ["invert", run, "photos", "--out", "out", *QUICK, "--batch-size", 2]
    text = genprior(*words, code=2)
    assert "genprior: out/parts/000001.safetensors: No space left on device" in text
    assert "Traceback" not in text
    genprior(*words)
    assert len(saved) == 4


@pytest.mark.parametrize("command", ["invert", "restore", "degrade"])
def test_help_names_every_flag(genprior: Command, command: str) -> None:
    text = genprior(command, "--help")
    assert "--out" in text
    assert "--seed" in text
    assert "IMAGES" in text


@pytest.mark.parametrize("command", [["invert"], ["degrade", "--operator", "denoise"]])
def test_what_cannot_be_written_is_one_line(
    genprior: Command, run: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    def full(*_: object, **__: object) -> None:
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    words = [command[0], *([run] if command[0] == "invert" else []), "photos", *command[1:], "--out", "out"]
    text = genprior(*words, *(QUICK if command[0] == "invert" else []), code=2)
    assert "genprior: out/parts/000000.safetensors: No space left on device\n" in text
    assert "Traceback" not in text
