"""Output that nobody reads, a full disk behind it, narrow encodings, and names that are made to deceive."""

import io
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from genprior.cli import main
from genprior.cli.console import LastingStream
from genprior.progress import printable
from genprior.runs.checkpoint import load_counters

Command = Callable[..., str]
TRAIN = "train gan --preset points --data ring:count=500 --batch-size 50 --images-seen 1000 --threads 1 --out run"


def ended_with(words: str, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", ["genprior", *words.split()])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def unread() -> io.TextIOWrapper:
    """A pipe that nobody reads any more."""
    reader, writer = os.pipe()
    os.close(reader)
    return os.fdopen(writer, "w")


OUTPUTS: dict[str, tuple[Callable[[], object], int]] = {
    "a pipe that nobody reads": (unread, 0),
    "a full disk": (lambda: os.fdopen(os.open("/dev/full", os.O_WRONLY), "w"), 2),
    "closed": (lambda: None, 0),
}


@pytest.mark.parametrize("output", OUTPUTS)
def test_training_outlasts_its_output(
    output: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    opened, code = OUTPUTS[output][0](), OUTPUTS[output][1]
    monkeypatch.setattr(sys, "stdout", opened)
    assert ended_with(TRAIN, monkeypatch) == code
    counters, _ = load_counters(Path("run/checkpoint"))
    assert counters is not None
    assert counters.images_seen == 1000
    assert Path("run/figures/samples.png").exists()
    told = "the standard output cannot be written: No space left on device"
    assert (told in capsys.readouterr().err) is (code == 2)
    if opened is not None:
        opened.close()  # type: ignore[attr-defined]


def test_a_closed_output_is_no_terminal() -> None:
    stream = LastingStream(io.StringIO())
    stream.stream.close()
    assert not stream.isatty()


def test_settings_that_cannot_be_printed_are_no_success(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert ended_with("train gan --dry-run", monkeypatch) == 2
    assert "the standard output cannot be written" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["träume", os.fsdecode(b"caf\xe9"), "red\x1b[31m"])
def test_names_are_shown_whatever_the_terminal_knows(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = io.TextIOWrapper(io.BytesIO(), "ascii")
    monkeypatch.setattr(sys, "stderr", shown)
    monkeypatch.setattr(sys, "argv", ["genprior", "info", name])
    with pytest.raises(SystemExit):
        main()
    shown.flush()
    text = shown.buffer.getvalue().decode("ascii")  # type: ignore[attr-defined]
    assert "is not a run: it has no config.json\n" in text or "is no name in UTF-8" in text
    assert "\x1b" not in text


def test_ends_of_lines_are_no_escapes() -> None:
    assert printable("a\n\tb\x07\x9b") == "a\n\tb\\x07\\x9b"


ODD = os.fsdecode(b"caf\xe9 \xff")
SMALL = "--size 8 --model dense:width=8 --batch-size 10 --threads 1".split()


def test_every_command_works_in_a_folder_of_any_name(genprior: Command, tmp_path: Path) -> None:
    name = "träume $x^2$ =cmd()"
    genprior("sample", make_digits(genprior, tmp_path), "--each", "-n", 12, "--out", f"{name}/photos")
    run = f"{name}/run"
    genprior("train", "vae", *SMALL, "--images-seen", 20, "--data", f"{name}/photos", "--out", run)
    genprior("resume", run, "--images-seen", 40)
    genprior("diagnose", run)
    genprior("report", run)
    genprior("compare", run, "--held-out", f"{name}/photos", "--out", f"{name}/compared", "--count", 2)
    assert "\n'" not in (tmp_path / name / "compared" / "table.csv").read_text(encoding="utf-8")
    genprior("degrade", f"{name}/photos", "--operator", "denoise", "--out", f"{name}/bad")
    quick = "--starts 1 --iterations 2 --threads 1".split()
    genprior("restore", run, f"{name}/bad/measurements.npy", *quick, "--out", f"{name}/good")
    assert (tmp_path / name / "good" / "pairs.png").exists()


def test_a_folder_whose_name_is_no_text_is_refused_at_once_and_images_in_it_are_read(
    genprior: Command, tmp_path: Path
) -> None:
    digits = make_digits(genprior, tmp_path)
    digits.rename(tmp_path / ODD)
    for words in (["report", ODD], ["invert", ODD, "images", "--out", "x"], ["sample", "run", "--out", ODD]):
        assert "is no name in UTF-8: rename it" in genprior(*words, code=2)
    (tmp_path / ODD).rename(digits)
    genprior("sample", digits, "--each", "-n", 12, "--out", "photos")
    (tmp_path / "photos").rename(tmp_path / ODD)
    genprior("train", "vae", *SMALL, "--images-seen", 20, "--data", ODD, "--out", "run")
    genprior("diagnose", "run")


def make_digits(genprior: Command, tmp_path: Path) -> Path:
    words = "train vae --data digits[:100] --size 8 --model dense:width=8 --batch-size 10 --images-seen 10 --threads 1"
    genprior(*words.split(), "--out", tmp_path / "digits")
    return tmp_path / "digits"
