"""`genprior check` reads all files of every kind of folder, names what is damaged, and says what makes it again."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from genprior.errors import GenpriorError
from genprior.folder_check import KINDS, check_lines, checked
from genprior.runs.experiment import part_of
from genprior.stored_files import signed

Command = Callable[..., str]


def _faults(path: Path) -> dict[str, str]:
    return {each.name: each.again for each in checked(path)[1] if each.fault}


@pytest.mark.parametrize("name", KINDS)
def test_a_folder_that_nobody_touched_is_whole(name: str, folders: Path) -> None:
    title, files = checked(folders / name)
    assert title == KINDS[name].title
    assert files
    assert [each for each in files if each.fault] == []
    assert check_lines(folders / name, title, files)[-1] == f"{len(files)} files are whole, 0 are damaged"


@pytest.mark.parametrize(("name", "last"), [(name, kind.last) for name, kind in KINDS.items() if kind.last])
def test_an_interrupted_folder_is_told_and_is_not_damaged(name: str, last: str, folders: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(folders / name, tmp_path / "copy")
    (folder / last).rename(part_of(folder / last))
    title, files = checked(folder)
    assert title == f"{KINDS[name].title}, not finished: the same command goes on with it"
    assert [each for each in files if each.fault] == []


FILES = {
    "run": (
        "config.json",
        "environment.json",
        "steps.jsonl",
        "events.jsonl",
        "checkpoint/*/counters.json",
        "checkpoint/*/tensors.safetensors",
        "history/*.safetensors",
        "encoder.json",
        "encoder.safetensors",
        "residual.json",
        "residual.safetensors",
        "metrics.json",
        "figures/samples.png",
    ),
    "job": ("settings.json", "summary.json", "parts/000000.json", "images/*.png", "table.csv", "latents.safetensors"),
    "comparison": ("comparison.json", "comparison.safetensors", "comparison.png"),
    "export": ("export.json", "generator.onnx"),
    "study": (
        "asked.json",
        "study.json",
        "measured/later-same/0/StudiedRun.json",
        "measured/later-same/0/ReportInversion.json",
        "measured/later-larger/0/ReportInversion.safetensors",
        "runs/later-larger/0/config.json",
        "runs/later-larger/0/checkpoint/*/tensors.safetensors",
    ),
    "judges": ("classifiers/*.json", "classifiers/*.safetensors"),
}


@pytest.mark.parametrize(("kind", "pattern"), [(kind, each) for kind, all_ in FILES.items() for each in all_])
@pytest.mark.parametrize("damage", ["a bit", "the end"])
def test_a_damaged_file_is_found_and_something_is_advised(
    kind: str, pattern: str, damage: str, folders: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(folders / kind, tmp_path / "copy")
    file = sorted(folder.glob(pattern))[-1]
    content = bytearray(file.read_bytes())
    if damage == "a bit":
        place = next(i for i in range(len(content) // 2, len(content)) if chr(content[i]).isalnum())
        content[place] ^= 1
    file.write_bytes(content if damage == "a bit" else content[: len(content) // 2])
    found = _faults(folder)
    assert found
    assert all(found.values())
    stem = file.parent.name if file.parent.parent.name == "checkpoint" else file.stem
    assert any(stem in name for name in found)


@pytest.mark.parametrize("name", ["../elsewhere.onnx", "/etc/hostname", "generator.onnx\n"])
def test_an_export_of_a_stranger_names_no_file_elsewhere(name: str, folders: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(folders / "export", tmp_path / "copy")
    record = json.loads((folder / "export.json").read_text(encoding="utf-8"))
    record["files"][0]["file"] = name
    (folder / "export.json").write_text(signed(json.dumps(record), None), encoding="utf-8")
    assert list(_faults(folder)) == ["export.json"]


GONE = ["steps.jsonl", "events.jsonl", "history/0.safetensors", "environment.json", "encoder.json"]


@pytest.mark.parametrize("name", GONE)
def test_what_is_gone_is_missed(name: str, folders: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(folders / "run", tmp_path / "copy")
    (folder / name).unlink()
    assert _faults(folder)


def test_a_whole_history_that_is_gone_is_missed(folders: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(folders / "run", tmp_path / "copy")
    shutil.rmtree(folder / "history")
    assert list(_faults(folder)) == ["history/0.safetensors", "history/1000.safetensors"]


def test_a_part_that_is_gone_is_missed(folders: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(folders / "job", tmp_path / "copy")
    (folder / "parts" / "000001.json").unlink()
    assert _faults(folder) == {"parts": "the command that made it makes it again"}


def test_a_network_that_is_gone_from_an_export_is_missed(folders: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(folders / "export", tmp_path / "copy")
    (folder / "generator.onnx").unlink()
    assert _faults(folder) == {"generator.onnx": "genprior export with --overwrite makes it again"}
    (folder / "export.json").rename(folder / "export.part.json")  # as an interrupted export leaves it
    assert _faults(folder) == {}


@pytest.mark.parametrize(
    ("lost", "missed"),
    [
        ("runs/later-same/0", "runs/later-same/0"),
        ("measured/later-larger/0/ReportInversion.safetensors", "measured/later-larger/0/ReportInversion.safetensors"),
    ],
)
def test_what_a_study_lacks_is_missed(lost: str, missed: str, folders: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(folders / "study", tmp_path / "copy")
    (folder / lost).rename(tmp_path / "elsewhere")
    found = _faults(folder)
    assert list(found) == [missed]
    assert found[missed].startswith("delete ")
    assert found[missed].endswith("the command that made it makes it again")


@pytest.mark.parametrize("name", ["metrics.json", "counters.json", "steps.jsonl", "config.json"])
def test_a_missing_right_is_no_damage(name: str, folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(call: Callable[..., object]) -> Callable[..., object]:
        def refused(path: object, *others: object, **named: object) -> object:
            if str(path).endswith(name):
                raise PermissionError(13, "Permission denied", str(path))
            return call(path, *others, **named)

        return refused

    for call in ("read_bytes", "open"):
        monkeypatch.setattr(Path, call, refuse(getattr(Path, call)))
    title, files = checked(folders / "run")
    told = [line for line in check_lines(folders / "run", title, files) if "Permission denied" in line]
    assert told
    assert all(line.endswith("; nothing need be wrong with it: give this user the right to read it") for line in told)


def test_other_folders_are_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(GenpriorError, match=r"folder: expected a run, results of .*is none of them"):
        checked(tmp_path)


def test_the_exit_code_tells(genprior: Command, folders: Path, tmp_path: Path) -> None:
    assert genprior("check", folders / "run").endswith("are whole, 0 are damaged\n")
    folder = shutil.copytree(folders / "run", tmp_path / "copy")
    (folder / "metrics.json").write_text("{}")
    text = genprior("check", folder, code=1)
    assert "metrics.json: " in text
    assert f"; genprior evaluate {folder}\n" in text
    assert "FOLDER: expected a run" in genprior("check", tmp_path, code=2)
