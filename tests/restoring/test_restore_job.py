"""Inverting and restoring with a trained run: what the folder of results holds."""

import csv
import json
import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from finished_jobs import output_of, restored_to, restoring_settings
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from genprior.engines import EngineSettings
from genprior.errors import GenpriorError
from genprior.images import to_uint8, write_image
from genprior.models.latent_encoder import Encoder
from genprior.priors.generator_prior import EncodedPrior
from genprior.progress import result_of
from genprior.restoration.fidelity import Poisson
from genprior.restoration.noise import NOISES
from genprior.restoration.operators import OPERATORS as OPERATOR_TABLE
from genprior.restoration.restore import invert
from genprior.restoration.result import Restoration
from genprior.restoring import restore_job as jobs
from genprior.restoring import restored_parts
from genprior.restoring.commands import invert_task, work_through
from genprior.restoring.job_settings import InvertSettings, JobFlags
from genprior.restoring.ledger import Output, Prepared, Work
from genprior.restoring.records import ImageRow, RestoreSummary
from genprior.restoring.restored_parts import Shown
from genprior.runs.trained_prior import load_prior
from genprior.specs import Spec
from tiny_run import QUICK, make_tiny_run

Finish = Callable[..., Output]


@pytest.fixture
def finish(tiny_run: Path, tmp_path: Path) -> Finish:
    """Does a whole job."""

    def run(images: object, out: str = "out", run: Path | None = None, **settings: object) -> Output:
        chosen = restoring_settings(run or tiny_run, images, **{**QUICK, **settings})
        return restored_to(tmp_path / out, chosen)

    return run


def table(output: Output) -> list[dict[str, str]]:
    with (output.path / "table.csv").open() as file:
        return list(csv.DictReader(file))


def restored(output: Output) -> Restoration:
    return Restoration.joined(
        [Restoration.load(output.tensors(i)) for i in range(output.parts) if output.tensors(i).exists()]
    )


def save(path: Path, x: Tensor) -> Path:
    np.save(path, x.numpy())
    return path


def test_inverting_a_folder(finish: Finish, tiny_run: Path, image_folder: Callable[..., Path]) -> None:
    output = finish(image_folder(5), batch_size=2)
    rows = table(output)
    assert [row["name"] for row in rows] == list("abcde")
    for column in ("error", "psnr", "ssim", "starts", "iterations", "stopped", "verdict"):
        assert all(row[column] for row in rows), column
    latents = load_file(output.path / "latents.safetensors")
    assert latents["latents"].shape == (5, 4)
    assert latents["numbers"].tolist() == [0, 1, 2, 3, 4]
    decoded = load_prior(tiny_run).decode(latents["latents"])
    for name, image in zip("abcde", to_uint8(decoded), strict=True):
        assert np.abs(np.asarray(Image.open(output.picture(name)), float) - image[0].numpy()).max() <= 1
    summary = json.loads(output.summary.read_text())
    assert summary["images"] == 5
    assert summary["failed"] == 0
    assert summary["mean"]["psnr"] == pytest.approx(np.mean([float(row["psnr"]) for row in rows]), rel=1e-4)


@pytest.mark.parametrize("size", [1, 3, 64])
def test_the_size_of_parts_changes_nothing(
    finish: Finish, tmp_path: Path, some_images: Callable[..., Tensor], size: int
) -> None:
    settings = {"operator": "inpaint:random=0.4", "noise": "gaussian:sigma=0.1", "simulate": True}
    path = save(tmp_path / "x.npy", some_images(7))
    one = restored(finish(path, "one", batch_size=7, **settings))
    other = restored(finish(path, "other", batch_size=size, **settings))
    torch.testing.assert_close(one.images, other.images, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(one.latents, other.latents, rtol=1e-3, atol=1e-3)


def test_a_slice_gives_what_the_whole_gives(finish: Finish, tmp_path: Path, some_images: Callable[..., Tensor]) -> None:
    settings = {"operator": "inpaint:random=0.4", "noise": "gaussian:sigma=0.1", "simulate": True}
    path = save(tmp_path / "x.npy", some_images(6))
    whole, part = finish(path, "whole", **settings), finish(f"{path}[4:]", "part", **settings)
    torch.testing.assert_close(restored(whole).images[4:], restored(part).images, rtol=1e-4, atol=1e-4)
    assert [row["number"] for row in table(part)] == ["4", "5"]


def test_results_are_those_of_the_library(
    finish: Finish, tiny_run: Path, tmp_path: Path, some_images: Callable[..., Tensor]
) -> None:
    x = some_images(3)
    settings = restoring_settings(tiny_run, "x", **QUICK)
    expected = invert(load_prior(tiny_run), x, jobs.search_settings(settings))
    found = restored(finish(save(tmp_path / "x.npy", x)))
    torch.testing.assert_close(found.latents, expected.latents)


OPERATORS = ["denoise", "inpaint:box=3", "inpaint:random=0.5", "downsample:factor=2", "compressed-sensing:m=20"]


@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize("noise", [None, "poisson:gain=0.1", "salt-and-pepper:p=0.1"])
def test_simulated_damage_is_compared_with_the_truth(
    finish: Finish, tmp_path: Path, some_images: Callable[..., Tensor], operator: str, noise: str | None
) -> None:
    if operator.startswith("compressed") and noise is not None:
        noise = "gaussian:sigma=0.01"
    output = finish(save(tmp_path / "x.npy", some_images(2)), operator=operator, noise=noise, simulate=True)
    assert all(row["psnr"] and row["ssim"] and not row["problem"] for row in table(output))


def test_damaged_images_have_no_truth(finish: Finish, tmp_path: Path, some_images: Callable[..., Tensor]) -> None:
    y = some_images(2) + 0.3  # values above 1, as noise makes them
    output = finish(save(tmp_path / "y.npy", y), operator="denoise", noise_level=0.2)
    assert all(row["psnr"] == "" and row["error"] for row in table(output))


def test_what_missing_pixels_hold_does_not_matter(
    finish: Finish, tmp_path: Path, some_images: Callable[..., Tensor]
) -> None:
    x = some_images(2)
    mask = torch.ones(1, 8, 8)
    mask[:, 2:5] = 0
    write_image(to_uint8(mask), tmp_path / "mask.png")
    other = torch.where(mask > 0, x, torch.nan)
    settings = {"operator": "inpaint", "mask": str(tmp_path / "mask.png")}
    found = [restored(finish(save(tmp_path / f"{i}.npy", y), f"out{i}", **settings)) for i, y in enumerate((x, other))]
    assert torch.equal(found[0].images, found[1].images)


def test_masks_belong_to_their_images(finish: Finish, image_folder: Callable[..., Path], tmp_path: Path) -> None:
    folder = image_folder(2)
    for name, row in (("a", 1), ("b", 5)):
        mask = torch.ones(1, 8, 8)
        mask[:, row : row + 2] = 0
        write_image(to_uint8(mask), tmp_path / "masks" / f"{name}.png")
    together = restored(finish(folder, operator="inpaint", mask=str(tmp_path / "masks")))
    alone = restored(finish(f"{folder}[1:]", "alone", operator="inpaint", mask=str(tmp_path / "masks" / "b.png")))
    torch.testing.assert_close(together.images[1:], alone.images, rtol=1e-4, atol=1e-4)


def test_a_bad_image_is_told_and_does_not_touch_the_others(
    finish: Finish, image_folder: Callable[..., Path], tmp_path: Path, some_images: Callable[..., Tensor]
) -> None:
    settings = {"operator": "inpaint:box=3", "noise": "gaussian:sigma=0.1", "simulate": True, "batch_size": 4}
    folder = image_folder(6)
    good = restored(finish(folder, "good", **settings))
    original = (folder / "b.png").read_bytes()
    (folder / "b.png").write_bytes(b"text")
    write_image(to_uint8(some_images(1, (1, 9, 8))[0]), folder / "f.png")  # found out when its turn comes
    output = finish(folder, "bad", **settings)
    problems = {row["name"]: row["problem"] for row in table(output) if row["problem"]}
    assert list(problems) == ["b", "f"]
    assert "cannot read the image" in problems["b"]
    assert "f.png is 1x9x8, expected 1x8x8" in problems["f"]
    kept = restored(output)
    torch.testing.assert_close(kept.images, good.images[[0, 2, 3, 4]], rtol=1e-4, atol=1e-4)
    assert load_file(output.path / "latents.safetensors")["numbers"].tolist() == [0, 2, 3, 4]
    summary = json.loads(output.summary.read_text())
    assert (summary["images"], summary["failed"]) == (6, 2)
    (folder / "b.png").write_bytes(original)
    again = finish(folder, "bad", **settings)
    assert [row["name"] for row in table(again) if row["problem"]] == ["f"]
    torch.testing.assert_close(restored(again).images, good.images[:5], rtol=1e-4, atol=1e-4)


def test_finished_parts_are_not_solved_again(
    finish: Finish, tmp_path: Path, some_images: Callable[..., Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    solved: list[Tensor] = []
    original, x = jobs.invert, some_images(6)

    def counting(prior: object, y: Tensor, *arguments: object, **named: object) -> Restoration:
        solved.append(y)
        if len(solved) == 3:
            raise KeyboardInterrupt
        return original(prior, y, *arguments, **named)

    monkeypatch.setattr(jobs, "invert", counting)
    path = save(tmp_path / "x.npy", x)
    with pytest.raises(KeyboardInterrupt):
        finish(path, batch_size=2)
    output = finish(path, batch_size=2)
    assert len(solved) == 4
    assert all(map(torch.equal, solved, (x[:2], x[2:4], x[4:], x[4:])))
    monkeypatch.undo()
    torch.testing.assert_close(restored(output).images, restored(finish(path, "plain", batch_size=2)).images)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Shown]:
    """What is drawn, instead of drawing it."""
    found: list[Shown] = []
    monkeypatch.setattr(restored_parts, "draw", lambda shown, _: found.append(shown))
    return found


def test_pictures_show_the_first_images(
    finish: Finish, tmp_path: Path, some_images: Callable[..., Tensor], drawn: list[Shown]
) -> None:
    settings = {"operator": "inpaint:box=3", "simulate": True, "batch_size": 5, "starts": 6, "candidates": 3}
    output = finish(save(tmp_path / "x.npy", some_images(12)), **settings)
    (shown,) = drawn
    assert shown.names == [f"{i:06d}" for i in range(10)]
    assert shown.damaged is not None
    assert shown.damaged.shape == (10, 3, 8, 8)  # missing pixels in colour
    assert shown.candidates.shape[:2] == shown.errors.shape == (10, 3)
    rows, notes = shown.rows()
    assert list(rows) == ["truth", "damaged", "restored", "difference"]
    assert notes.keys() == {"damaged", "restored"}
    torch.testing.assert_close(shown.errors[:, 0], restored(output).error[:10], rtol=1e-3, atol=1e-4)


def test_errors_in_pictures_leave_missing_pixels_out(
    finish: Finish, tmp_path: Path, some_images: Callable[..., Tensor], drawn: list[Shown]
) -> None:
    x = some_images(2)
    x[:, :, 2:5, 2:5] = 3.0  # pixels in the hole are there, and mean nothing
    path = save(tmp_path / "x.npy", x)
    output = finish(path, operator="inpaint:box=3")
    torch.testing.assert_close(drawn[0].errors[:, 0], restored(output).error, rtol=1e-3, atol=1e-4)


def test_measurements_that_are_no_images_are_not_shown(
    finish: Finish, tmp_path: Path, some_images: Callable[..., Tensor], drawn: list[Shown]
) -> None:
    finish(save(tmp_path / "x.npy", some_images(2)), operator="compressed-sensing:m=9", simulate=True)
    assert drawn[0].damaged is None
    assert list(drawn[0].rows()[0]) == ["truth", "restored", "difference"]


def test_another_training_of_the_run_is_another_prior(
    finish: Finish, tiny_run: Path, tmp_path: Path, some_images: Callable[..., Tensor]
) -> None:
    path = save(tmp_path / "x.npy", some_images(1))
    finish(path)
    with pytest.raises(GenpriorError, match=r"other settings \(weights_sha256"):
        finish(path, run=make_tiny_run(tmp_path / "other", seed=1))


def test_a_run_that_has_not_begun_is_refused(finish: Finish, tiny_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(tiny_run, run)
    for checkpoint in sorted((run / "checkpoint").iterdir())[1:]:
        shutil.rmtree(checkpoint)
    with pytest.raises(GenpriorError, match="is not trained yet: continue with `genprior resume") as raised:
        finish("digits", run=run)
    assert raised.value.argument == "run"
    shutil.rmtree(run / "checkpoint")
    with pytest.raises(GenpriorError, match="is not trained yet"):
        finish("digits", run=run)


def test_a_folder_of_results_inside_the_images_is_refused(finish: Finish, image_folder: Callable[..., Path]) -> None:
    with pytest.raises(GenpriorError, match="lies in the folder of images") as raised:
        finish(image_folder(1), "photos/out")
    assert raised.value.argument == "out"


def test_points_are_inverted_without_pictures(make_run: Callable[..., object], finish: Finish, tmp_path: Path) -> None:
    make_run()
    output = finish("ring[:3]", run=tmp_path / "run")
    assert len(table(output)) == 3
    assert not (output.path / "images").exists()


def test_a_part_whose_images_are_all_unreadable_now_leaves_no_latents(
    finish: Finish, image_folder: Callable[..., Path]
) -> None:
    folder = image_folder(4)
    output = finish(folder, batch_size=2)
    output.reopen(1)
    for name in "cd":
        (folder / f"{name}.png").write_text("text")
    finish(folder, batch_size=2)
    assert not output.tensors(1).exists()
    latents = load_file(output.path / "latents.safetensors")
    assert len(latents["latents"]) == len(latents["numbers"]) == 2


def test_photon_counts_take_the_gain_of_the_noise_over() -> None:
    operator, noise = OPERATOR_TABLE["denoise"](image_shape=(1, 8, 8)), NOISES["poisson"](gain=0.25)
    for text, expected in (
        (None, Poisson(0.25)),
        ("poisson", Poisson(0.25)),
        ("poisson:floor=1e-2", Poisson(0.25, 0.01)),
        ("poisson:gain=0.5,floor=1e-2", Poisson(0.5, 0.01)),
    ):
        assert jobs.chosen_fidelity(text and Spec.parse(text), operator, noise) == expected


@pytest.mark.parametrize("operator", [None, "denoise"])
def test_photon_counts_need_a_gain(
    finish: Finish, tmp_path: Path, some_images: Callable[..., Tensor], operator: str | None
) -> None:
    path = save(tmp_path / "x.npy", some_images(1))
    for text in ("poisson", "poisson:floor=1e-2"):
        with pytest.raises(GenpriorError, match=r"needs the gain of the noise: give poisson:gain=") as raised:
            finish(path, operator=operator, fidelity=text)
        assert raised.value.argument == "fidelity"
    finish(path, operator=operator, fidelity="poisson:gain=0.05")


def exchange(path: Path, image: Tensor) -> None:
    """Puts another picture into a file, as old as the one that was there."""
    before = path.stat()
    write_image(image, path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_an_exchanged_picture_is_restored_anew_and_the_others_are_not(
    finish: Finish, image_folder: Callable[..., Path], some_images: Callable[..., Tensor]
) -> None:
    folder = image_folder(4)
    parts = [finish(folder, batch_size=2).tensors(part) for part in range(2)]
    kept = parts[0].stat().st_mtime_ns
    exchange(folder / "d.png", to_uint8(some_images(9)[8]))
    again, fresh = restored(finish(folder, batch_size=2)), restored(finish(folder, "fresh", batch_size=2))
    assert torch.equal(again.images, fresh.images)
    assert parts[0].stat().st_mtime_ns == kept


@pytest.mark.parametrize("kind", ["picture", "folder"])
def test_another_mask_in_the_same_file_is_used(
    finish: Finish, image_folder: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.chdir(tmp_path)
    folder, mask = image_folder(1), torch.full((1, 8, 8), 255, dtype=torch.uint8)
    mask[:, 2] = 0
    write_image(mask, Path("masks", "a.png"))
    name = "masks" if kind == "folder" else "masks/a.png"
    first = restored(finish(folder, operator="inpaint", mask=name))
    same = restored(finish(folder, operator="inpaint", mask=str(tmp_path / name)))  # the same one
    assert torch.equal(first.images, same.images)
    mask[:, :, 5] = 0
    exchange(Path("masks", "a.png"), mask)
    again = restored(finish(folder, operator="inpaint", mask=name))
    assert torch.equal(again.images, restored(finish(folder, "fresh", operator="inpaint", mask=name)).images)
    assert not torch.equal(again.images, first.images)


def test_other_numbers_in_the_same_array_are_used(
    finish: Finish, tmp_path: Path, some_images: Callable[..., Tensor]
) -> None:
    finish(save(tmp_path / "x.npy", some_images(2)))
    before = (tmp_path / "x.npy").stat()
    save(tmp_path / "x.npy", some_images(4)[2:])
    os.utime(tmp_path / "x.npy", ns=(before.st_atime_ns, before.st_mtime_ns))
    again = restored(finish(tmp_path / "x.npy"))
    assert torch.equal(again.images, restored(finish(tmp_path / "x.npy", "fresh")).images)


def test_nothing_stays_of_a_picture_that_can_no_longer_be_read(
    finish: Finish, image_folder: Callable[..., Path]
) -> None:
    folder = image_folder(2)
    assert finish(folder).picture("b").exists()
    (folder / "b.png").write_text("text")
    output = finish(folder)
    assert table(output)[1]["problem"]
    assert not output.picture("b").exists()


def test_a_run_is_the_same_prior_wherever_it_lies(
    finish: Finish, tiny_run: Path, tmp_path: Path, some_images: Callable[..., Tensor]
) -> None:
    path = save(tmp_path / "x.npy", some_images(1))
    finish(path)
    finish(path, run=Path(shutil.copytree(tiny_run, tmp_path / "copy")))
    with pytest.raises(GenpriorError, match=r"other settings \(no_average"):
        finish(path, no_average=True)


def test_an_encoder_makes_another_prior(tiny_run: Path) -> None:
    prior = load_prior(tiny_run)
    shape, size = prior.image_shape, prior.latent_size
    one, other = (EncodedPrior(prior.generator, size, shape, Encoder(shape, size)) for _ in range(2))
    assert len({jobs.prior_sha256(each) for each in (prior, one, other)}) == 3


@dataclass(frozen=True)
class KilledOnce:
    """Work whose process is killed when it has done part 2, before it can say so."""

    work: Work[RestoreSummary]
    marker: Path

    def __getattr__(self, name: str) -> object:
        return getattr(self.work, name)

    def do(self, output: Output, part: int) -> list[ImageRow]:
        rows = self.work.do(output, part)
        if part == 2 and not self.marker.exists():
            self.marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return rows


def killed_once(settings: InvertSettings, marker: Path) -> Prepared[RestoreSummary]:
    prepared = jobs.prepare_inverting(settings)
    return replace(prepared, work=KilledOnce(prepared.work, marker))


def test_a_job_whose_worker_was_killed_in_mid_part_ends_as_if_nothing_had_been(
    tiny_run: Path, tmp_path: Path, some_images: Callable[..., Tensor]
) -> None:
    path = save(tmp_path / "x.npy", some_images(5))
    settings = restoring_settings(tiny_run, path, batch_size=1, threads=1, **QUICK)
    alone = restored_to(tmp_path / "alone", settings)
    flags, two = JobFlags(out=tmp_path / "shared"), EngineSettings(jobs=2)
    with pytest.raises(GenpriorError, match=r"a worker ended unexpectedly.*the same command resumes"):
        result_of(work_through(partial(killed_once, settings, tmp_path / "marker"), flags, two))
    assert (flags.out / "parts" / "000002.safetensors").exists()  # it was in the middle of it
    shared = output_of(result_of(invert_task(settings, flags, two)))
    for part in range(5):
        assert shared.tensors(part).read_bytes() == alone.tensors(part).read_bytes()
        assert shared.picture(f"{part:06d}").read_bytes() == alone.picture(f"{part:06d}").read_bytes()
    for name in ("table.csv", "latents.safetensors", "pairs.png"):
        assert (shared.path / name).read_bytes() == (alone.path / name).read_bytes()


def test_many_starts_and_draws_are_told_before_the_work(tiny_run: Path, image_folder: Callable[..., Path]) -> None:
    settings = InvertSettings(run=tiny_run, images=str(image_folder(2)), starts=5000, draws=2000)
    note = jobs.prepare_inverting(settings).note
    assert "; 5,000 starts of each take long: a lower --starts is faster" in note
    assert "; 2,000 draws of each take long: a lower --draws is faster" in note
    assert "take long" not in jobs.prepare_inverting(settings.model_copy(update={"starts": 8, "draws": 0})).note
