"""Files that are new in a folder of images, or gone from it: the same command gives what a new job would give.

Pictures of images that are gone stay where they are.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from finished_jobs import degraded_to, restored_to, restoring_settings

from genprior.errors import GenpriorError
from genprior.images import to_uint8, write_image
from genprior.progress import result_of
from genprior.restoring.commands import degrade_task
from genprior.restoring.job_settings import DegradeSettings, JobFlags
from genprior.restoring.ledger import PARTS, SUMMARY
from genprior.restoring.records import MEASUREMENTS, RECORD
from small import gone_through

SHAPES = [(1, 28, 28), (3, 32, 32), (1, 32, 48), (3, 64, 64)]
SETTINGS = {"operator": "denoise", "noise": "gaussian:sigma=0.1", "batch_size": 2}


def _results(out: Path) -> dict[str, bytes]:
    pictures = {file.name: file.read_bytes() for file in sorted((out / "images").rglob("*.png"))}
    return {**pictures, "y": np.load(out / MEASUREMENTS).tobytes(), "record": (out / RECORD).read_bytes()}


def _notes(out: Path, images: Path) -> str:
    settings = DegradeSettings.model_validate({**SETTINGS, "images": str(images)})
    stages, _ = gone_through(degrade_task(settings, JobFlags(out=out)))
    return " ".join(note for stage in stages for note in stage.notes)


def _added(folder: Path, name: str, shape: tuple[int, int, int]) -> None:
    (image,) = to_uint8(torch.rand(1, *shape))
    write_image(image, folder / name)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", ["0.png", "bb.png", "z.png"])
def test_a_new_file_is_done(
    image_folder: Callable[..., Path], tmp_path: Path, name: str, shape: tuple[int, int, int]
) -> None:
    folder = image_folder(4, shape=shape)
    degraded_to(tmp_path / "out", folder, **SETTINGS)
    _added(folder, name, shape)
    degraded_to(tmp_path / "out", folder, **SETTINGS)
    degraded_to(tmp_path / "fresh", folder, **SETTINGS)
    assert _results(tmp_path / "out") == _results(tmp_path / "fresh")


@pytest.mark.parametrize("name", ["a", "c", "e"])
def test_a_file_that_is_gone_is_told_and_its_picture_stays(
    image_folder: Callable[..., Path], tmp_path: Path, name: str
) -> None:
    folder = image_folder(5)
    degraded_to(tmp_path / "out", folder, **SETTINGS)
    (folder / f"{name}.png").unlink()
    before = (tmp_path / "out" / "images" / f"{name}.png").read_bytes()
    assert f"1 images are gone, such as {name}: their pictures stay" in _notes(tmp_path / "out", folder)
    degraded_to(tmp_path / "fresh", folder, **SETTINGS)
    assert _results(tmp_path / "out") == {**_results(tmp_path / "fresh"), f"{name}.png": before}
    parts = [sorted(each.name for each in (out / PARTS).iterdir()) for out in (tmp_path / "out", tmp_path / "fresh")]
    assert parts[0] == parts[1]


@pytest.mark.parametrize("file", [f"{PARTS}/000001.json", SUMMARY])
def test_a_damaged_file_of_results_is_made_anew(image_folder: Callable[..., Path], tmp_path: Path, file: str) -> None:
    folder = image_folder(5)
    before = _results(degraded_to(tmp_path / "out", folder, **SETTINGS).path)
    (tmp_path / "out" / file).write_text('{"version": 1')
    assert "are gone or damaged, such as" in _notes(tmp_path / "out", folder)
    assert _results(tmp_path / "out") == before


def test_measurements_that_were_altered_are_refused(
    image_folder: Callable[..., Path], tmp_path: Path, tiny_run: Path
) -> None:
    folder = image_folder(3)
    out = degraded_to(tmp_path / "out", folder, **SETTINGS).path
    y = np.load(out / MEASUREMENTS)
    np.save(out / MEASUREMENTS, y + 1e-3)
    with pytest.raises(GenpriorError, match=r"measurements\.npy was altered since genprior degrade wrote it"):
        restored_to(tmp_path / "restored", restoring_settings(tiny_run, out / MEASUREMENTS, operator="denoise"))


def test_another_slice_of_a_folder_is_another_job(image_folder: Callable[..., Path], tmp_path: Path) -> None:
    folder = image_folder(4)
    degraded_to(tmp_path / "out", folder, **SETTINGS)
    with pytest.raises(GenpriorError, match="holds results of other settings"):
        degraded_to(tmp_path / "out", f"{folder}[:2]", **SETTINGS)


def test_other_settings_are_still_refused(image_folder: Callable[..., Path], tmp_path: Path) -> None:
    folder = image_folder(3)
    degraded_to(tmp_path / "out", folder, **SETTINGS)
    settings = DegradeSettings.model_validate({**SETTINGS, "seed": 1, "images": str(folder)})
    with pytest.raises(GenpriorError, match="holds results of other settings"):
        result_of(degrade_task(settings, JobFlags(out=tmp_path / "out")))
