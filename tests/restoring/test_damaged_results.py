"""What is gone or damaged in a folder of results is made again, and what is a user's stays."""

import errno
import json
import os
import shutil
import sys
from collections.abc import Callable
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
import torch
from finished_jobs import degraded_to, restored_to, restoring_settings
from safetensors.torch import load_file

from genprior.errors import GenpriorError
from genprior.folder_check import checked
from genprior.progress import result_of
from genprior.restoring import degrading, ledger
from genprior.restoring.commands import degrade_task, restore_task
from genprior.restoring.job_settings import DegradeSettings, JobFlags
from genprior.restoring.ledger import Output
from genprior.restoring.records import Degradation
from genprior.stored_files import read_model, signed
from genprior.writing import write_text
from tiny_run import QUICK

Files = dict[str, bytes]
SEVERAL = {"operator": "denoise", "noise": "gaussian:sigma=0.1", "candidates": 2, "batch_size": 2, **QUICK}
TIMED = ("summary.json", "lock")  # and the parts' rows, which tell seconds


def contents(folder: Path) -> Files:
    files = (path for path in folder.rglob("*") if path.is_file())
    named = {path.relative_to(folder).as_posix(): path for path in files}
    return {name: path.read_bytes() for name, path in named.items() if name not in TIMED and "parts/0" not in name}


@pytest.fixture
def job(tiny_run: Path, image_folder: Callable[..., Path], tmp_path: Path) -> Callable[..., Output]:
    """Restores five pictures, in three parts, into a folder; or does what is left of that."""
    photos = image_folder(5)
    return lambda: restored_to(tmp_path / "out", restoring_settings(tiny_run, photos, **SEVERAL))


MADE = ["images/b.png", "before/d.png", "table.csv", "latents.safetensors", "index.html", "pairs.png", "candidates.png"]


@pytest.mark.parametrize(("name", "damage"), list(zip(MADE, cycle(["gone", "cut off", "altered"]), strict=False)))
def test_a_damaged_file_is_made_again(job: Callable[..., Output], name: str, damage: str) -> None:
    folder = job().path
    before, file = contents(folder), folder / name
    if damage == "gone":
        file.unlink()
    else:
        file.write_bytes(b"" if damage == "cut off" else file.read_bytes()[:-1] + b"?")
    job()
    assert contents(folder) == before


def test_what_is_made_again_is_told(job: Callable[..., Output], tiny_run: Path, tmp_path: Path) -> None:
    (job().path / "images" / "b.png").unlink()
    task = restore_task(restoring_settings(tiny_run, tmp_path / "photos", **SEVERAL), JobFlags(out=tmp_path / "out"))
    notes = [note for stage in task for note in stage.notes]
    assert notes[1:] == ["1 files of results are gone or damaged, such as images/b.png: they are made anew"]


def test_tensors_of_a_part_that_are_gone_are_told_and_made_again(
    job: Callable[..., Output], tiny_run: Path, tmp_path: Path
) -> None:
    tensors = job().tensors(1)
    before = load_file(tensors)
    tensors.unlink()
    assert [each.name for each in checked(tmp_path / "out")[1] if each.fault] == ["parts/000001.safetensors"]
    task = restore_task(restoring_settings(tiny_run, tmp_path / "photos", **SEVERAL), JobFlags(out=tmp_path / "out"))
    told = " ".join(note for stage in task for note in stage.notes)
    assert "such as parts/000001.safetensors: they are made anew" in told
    torch.testing.assert_close(load_file(tensors), before, rtol=0, atol=0, equal_nan=True)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_files_whose_names_are_no_text_are_whole(image_folder: Callable[..., Path], tmp_path: Path) -> None:
    photos, out = image_folder(2), tmp_path / "out"
    (photos / "a.png").rename(photos / os.fsdecode(b"a\xff.png"))
    settings = DegradeSettings(images=str(photos), operator="inpaint:box=3", batch_size=2)
    for _ in range(2):
        told = " ".join(note for stage in degrade_task(settings, JobFlags(out=out)) for note in stage.notes)
        assert "anew" not in told
        assert not [each for each in checked(out)[1] if each.fault]


def test_tensors_that_a_finished_job_removed_are_not_told_as_gone(
    image_folder: Callable[..., Path], tmp_path: Path
) -> None:
    photos, out = image_folder(5), tmp_path / "out"
    settings = DegradeSettings(images=str(photos), operator="denoise", batch_size=2)
    result_of(degrade_task(settings, JobFlags(out=out)))
    assert not [each for each in checked(out)[1] if each.fault]
    (photos / "c.png").unlink()
    told = " ".join(note for stage in degrade_task(settings, JobFlags(out=out)) for note in stage.notes)
    assert "1 images are gone, such as c" in told
    assert "damaged" not in told


def test_latents_and_their_numbers_belong_together(job: Callable[..., Output]) -> None:
    output = job()
    for gone in (output.tensors(1), output.summary, output.path / "latents.safetensors"):
        gone.unlink()
    job()
    found = load_file(output.path / "latents.safetensors")
    assert len(found["latents"]) == len(found["numbers"]) == 5


@pytest.mark.parametrize("name", ["measurements.npy", "degradation.json", "images/a.png", "masks/c.png"])
def test_damaged_measurements_are_made_again(image_folder: Callable[..., Path], tmp_path: Path, name: str) -> None:
    photos, out = image_folder(5), tmp_path / "out"
    settings = {"operator": "inpaint:random=0.5", "noise": "gaussian:sigma=0.1", "batch_size": 2}
    degraded_to(out, photos, **settings)
    before = contents(out)
    (out / name).write_bytes(b"")
    degraded_to(out, photos, **settings)
    assert contents(out) == before


@pytest.mark.parametrize("what", ["the summary", "the end"])
def test_no_part_of_the_measurements_outlives_a_job_that_was_ended_after(
    what: str, image_folder: Callable[..., Path], tmp_path: Path
) -> None:
    photos, out, settings = image_folder(5), tmp_path / "out", {"operator": "denoise", "batch_size": 2}
    real = ledger.write_summary

    def then_fail(*given: Any) -> None:  # noqa: ANN401
        real(*given)
        raise OSError(errno.EIO, "the disk may not have it")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(degrading, "write_summary", then_fail)
        with pytest.raises(OSError, match="the disk may not have it"):
            degraded_to(out, photos, **settings)
    assert len(list((out / "parts").glob("*.safetensors"))) == 3
    if what == "the end":
        (out / "parts" / "000000.safetensors").unlink()  # some were removed before
    degraded_to(out, photos, **settings)
    assert {path.suffix for path in (out / "parts").iterdir()} == {".json"}


def overwritten(run: Path, photos: Path, out: Path) -> None:
    flags = JobFlags(out=out, overwrite=True)
    result_of(restore_task(restoring_settings(run, photos, **{**SEVERAL, "format": "tiff16"}), flags))


def test_overwriting_keeps_what_is_not_of_the_job(job: Callable[..., Output], tiny_run: Path, tmp_path: Path) -> None:
    folder = job().path
    mine = ("images/mine.png", "notes.txt", "parts/notes.json", "parts/2026-notes.json")
    for name in mine:
        write_text(folder / name, "years of work")
    overwritten(tiny_run, tmp_path / "photos", folder)
    assert {(folder / name).read_text() for name in mine} == {"years of work"}
    assert sorted(path.name for path in (folder / "images").iterdir()) == [
        *("a.tif", "b.tif", "c.tif", "d.tif", "e.tif", "mine.png")
    ]


@pytest.mark.parametrize("link", ["images", "images/sub", "before/sub/sub", "parts"])
@pytest.mark.parametrize("again", ["with --overwrite", "without it"])
def test_a_folder_that_is_a_link_is_not_followed(
    again: str, link: str, job: Callable[..., Output], tiny_run: Path, tmp_path: Path
) -> None:
    folder, mine = job().path, tmp_path / "elsewhere"
    shutil.rmtree(folder / link, ignore_errors=True)
    (folder / link).parent.mkdir(parents=True, exist_ok=True)
    mine.mkdir()
    write_text(mine / "a.png", "years of work")
    (folder / link).symlink_to(mine)
    act = partial(overwritten, tiny_run, tmp_path / "photos", folder) if again == "with --overwrite" else job
    with pytest.raises(GenpriorError, match=f"{link} is a link: files elsewhere are not overwritten"):
        act()
    assert [path.read_text() for path in mine.iterdir()] == ["years of work"]


def test_names_that_lead_out_of_the_folder_remove_nothing(
    job: Callable[..., Output], tiny_run: Path, tmp_path: Path
) -> None:
    output, mine = job(), tmp_path / "mine.png"
    mine.write_text("years of work")
    rows = output.path / "parts" / "000000.json"
    rows.write_text(rows.read_text().replace('"name": "a"', '"name": "../../mine"'))
    overwritten(tiny_run, tmp_path / "photos", output.path)
    assert mine.read_text() == "years of work"


@pytest.mark.parametrize("number", [10**30, -1, 2**63])
def test_a_number_that_no_item_can_have_is_refused(
    image_folder: Callable[..., Path], tmp_path: Path, number: int
) -> None:
    out = tmp_path / "out"
    degraded_to(out, image_folder(1), operator="denoise")
    values = json.loads((out / "degradation.json").read_text()) | {"numbers": [number]}
    (out / "degradation.json").write_text(signed(json.dumps(values)))
    with pytest.raises(GenpriorError, match=r"degradation\.json cannot be read: numbers\.0: "):
        read_model(out / "degradation.json", Degradation, "images")
