"""Images of other sizes than the prior was trained with: they come back in their own, each with its own operator."""

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from finished_jobs import restored_to, restoring_settings
from PIL import Image

from genprior.errors import GenpriorError
from genprior.families import FlowMatchingConfig
from genprior.progress import result_of
from genprior.restoration.noise import NOISES
from genprior.restoration.operators import OPERATORS
from genprior.restoration.restore import invert, restore
from genprior.restoration.result import Restoration, load_restorations
from genprior.restoration.search_settings import SearchSettings
from genprior.restoring.commands import degrade_task
from genprior.restoring.job_settings import DegradeSettings, JobFlags
from genprior.restoring.ledger import Output
from genprior.restoring.restore_job import prepare_inverting, prepare_restoring
from genprior.runs.execute import execute
from genprior.runs.prepare import new_run
from genprior.runs.trained_prior import load_prior
from unequal_pictures import SIDES, write_pictures

QUICK = SearchSettings(levels=8)


@pytest.fixture(scope="module")
def flow_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of flow matching on crops of 16 pixels, a few steps long."""
    folder = tmp_path_factory.mktemp("flow")
    config = FlowMatchingConfig.model_validate(
        {
            "data": str(write_pictures(folder / "pictures")),
            "fit": "crops",
            "size": 16,
            "model": "unet:width=4,levels=2,blocks=1,wiener=3",
            "batch_size": 8,
            "images_seen": 400,
            "score_every": 0,
            "threads": 1,
            "precision": "float32",
        }
    )
    prepared = new_run(folder / "run", config)
    result_of(execute(prepared.run, prepared.learner, prepared.data))
    return folder / "run"


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    return write_pictures(tmp_path / "pictures")


def restored(run: Path, images: object, out: Path, **settings: object) -> Output:
    chosen = restoring_settings(run, images, **{"preset": "fast", **settings})
    return restored_to(out, chosen)


def sizes_of(output: Output) -> list[tuple[int, int]]:
    """Heights and widths of the restored pictures, in their order."""
    return [pixels(file).shape[:2] for file in sorted((output.path / "images").glob("*.png"))]


def pixels(file: Path) -> np.ndarray:
    with Image.open(file) as picture:
        return np.asarray(picture).copy()


def rows_of(output: Output) -> list[dict[str, str]]:
    with (output.path / "table.csv").open() as file:
        return list(csv.DictReader(file))


def test_pictures_of_several_sizes_come_back_in_their_own(flow_run: Path, pictures: Path, tmp_path: Path) -> None:
    output = restored(
        flow_run,
        pictures,
        tmp_path / "out",
        simulate=True,
        operator="denoise",
        noise="gaussian:sigma=0.1",
        batch_size=3,
    )
    assert sizes_of(output) == list(SIDES)
    assert all(row["note"] == "" and row["stopped"] == "one evaluation" for row in rows_of(output))
    assert [group.images.shape[2:] for group in load_restorations(output.tensors(0))] == list(SIDES[:3])
    with pytest.raises(GenpriorError, match="several sizes"):
        Restoration.load(output.tensors(0))
    assert not (output.path / "latents.safetensors").exists()
    assert (output.path / "pairs.png").exists()


def test_an_image_is_restored_as_if_it_were_alone(flow_run: Path, pictures: Path, tmp_path: Path) -> None:
    damage = {"simulate": True, "operator": "inpaint:box=9", "noise": "gaussian:sigma=0.05"}
    whole = restored(flow_run, f"{pictures}[1:4]", tmp_path / "whole", **damage)
    alone = restored(flow_run, f"{pictures}[2:3]", tmp_path / "alone", **damage)
    (own,) = load_restorations(alone.tensors(0))
    torch.testing.assert_close(load_restorations(whole.tensors(0))[1].images, own.images, atol=2e-3, rtol=0)


def test_an_oblong_scan_ends_with_its_own_size_and_few_pixels_mean_few_pixels(flow_run: Path, tmp_path: Path) -> None:
    scan = np.random.default_rng(0).integers(0, 256, (280, 140)).astype(np.uint8)
    Image.fromarray(scan).save(tmp_path / "scan.png")
    damage = {"simulate": True, "operator": "inpaint:box=14"}
    output = restored(flow_run, tmp_path / "scan.png", tmp_path / "out", **damage)
    found = pixels(output.path / "images" / "scan.png")
    changed = np.argwhere(found != scan)
    assert found.shape == scan.shape
    assert changed.min(0).tolist() == [133, 63]
    assert changed.max(0).tolist() == [146, 76]  # known pixels stay


def test_masks_have_the_size_of_their_image(flow_run: Path, pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "masks").mkdir()
    for i, shape in enumerate(SIDES):
        mask = np.full(shape, 255, np.uint8)
        mask[5:11, 7:20] = 0
        Image.fromarray(mask).save(tmp_path / "masks" / f"{i}.png")
    output = restored(flow_run, pictures, tmp_path / "out", operator="inpaint", mask=tmp_path / "masks")
    assert sizes_of(output) == list(SIDES)
    for i in range(len(SIDES)):
        before, after = (pixels(folder / f"{i}.png") for folder in (pictures, output.path / "images"))
        changed = before != after
        changed[5:11, 7:20] = False
        assert not changed.any()


def test_measurements_tell_the_size_of_their_image(flow_run: Path, tmp_path: Path) -> None:
    values = np.random.default_rng(1).integers(0, 256, (1, 40, 56)).astype(np.uint8)
    np.save(tmp_path / "x.npy", values)
    for operator, size in (("downsample:factor=2", (40, 56)), ("blur:sigma=1", (40, 56))):
        folder = tmp_path / operator.partition(":")[0]
        degraded = DegradeSettings(images=str(tmp_path / "x.npy"), operator=operator, noise="gaussian:sigma=0.05")
        result_of(degrade_task(degraded, JobFlags(out=folder)))
        output = restored(flow_run, folder / "measurements.npy", folder / "out", operator=operator)
        assert sizes_of(output) == [size]


def test_what_the_network_cannot_take_is_said_in_a_line(flow_run: Path, tmp_path: Path) -> None:
    for name, shape in (("long", (20, 1030)), ("colour", (40, 40, 3))):
        Image.fromarray(np.zeros(shape, np.uint8)).save(tmp_path / f"{name}.png")
    for name, message in (
        ("long", "long.png is 1x20x1030, expected 1x16x16, or sides of 16 to 1024 pixels; --resize converts it"),
        ("colour", "colour.png is 3x40x40, expected 1x40x40 or smaller; --resize converts it"),
    ):
        with pytest.raises(GenpriorError) as caught:
            restored(flow_run, tmp_path / f"{name}.png", tmp_path / "out")
        assert (caught.value.message, caught.value.argument) == (message, "images")
    shutil.rmtree(tmp_path / "out", ignore_errors=True)
    output = restored(flow_run, tmp_path / "colour.png", tmp_path / "out", resize=True)
    assert sizes_of(output) == [(16, 16)]
    with pytest.raises(GenpriorError, match=r"from 16 to 1,024 pixels a side, got 20 x 1030") as caught:
        load_prior(flow_run).of_size(20, 1030)
    assert caught.value.argument == "size"


def test_tensors_of_any_size_are_restored_and_inverted(flow_run: Path) -> None:
    prior, shape = load_prior(flow_run), (1, 24, 40)
    x = torch.rand(2, *shape, generator=torch.Generator().manual_seed(0))
    operator = OPERATORS["inpaint"](shape, random=0.5)
    operator.physics.set_noise_model(NOISES["gaussian"](sigma=0.1))
    found = restore(prior, x * operator.physics.mask, operator.physics, QUICK)
    assert found.images.shape == x.shape
    again = restore(prior.of_size(24, 40), x * operator.physics.mask, operator.physics, QUICK)
    assert torch.equal(found.images, again.images)
    assert invert(prior, x, SearchSettings(iterations=2)).images.shape == x.shape
    small = OPERATORS["downsample"](shape, factor=4)
    assert restore(prior.of_size(24, 40), small.physics.A(x), small.physics, QUICK).images.shape == x.shape


def test_a_moved_image_is_restored_to_a_moved_one(flow_run: Path) -> None:
    """By the stride of the network, and away from the border."""
    prior = load_prior(flow_run).of_size(120, 120)
    x = torch.rand(1, 1, 120, 120, generator=torch.Generator().manual_seed(0))
    moved = prior.denoiser.denoise(x.roll((4, 8), (2, 3)), 0.3).roll((-4, -8), (2, 3))  # type: ignore[union-attr]
    inside = (..., slice(50, 70), slice(50, 70))
    torch.testing.assert_close(moved[inside], prior.denoiser.denoise(x, 0.3)[inside])  # type: ignore[union-attr]


def test_flags_of_searches_are_said_to_have_no_effect(flow_run: Path, pictures: Path) -> None:
    given = {"operator": "denoise", "noise": "gaussian:sigma=0.1", "iterations": 5}
    drawn = prepare_restoring(restoring_settings(flow_run, pictures, **given))  # type: ignore[arg-type]
    assert drawn.note.endswith(
        "without effect: --iterations (nothing is searched for; --preset says in how many steps draws are made)"
    )
    searched = prepare_inverting(restoring_settings(flow_run, pictures, iterations=5))  # type: ignore[arg-type]
    assert "without effect" not in searched.note


def test_an_image_that_the_operator_cannot_take_is_named(flow_run: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name, shape in (("a", (32, 40)), ("b", (24, 18))):
        Image.fromarray(np.zeros(shape, np.uint8)).save(tmp_path / "in" / f"{name}.png")
    with pytest.raises(GenpriorError, match=r"b\.png: .*24") as caught:
        restored(flow_run, tmp_path / "in", tmp_path / "out", operator="inpaint:box=24", simulate=True)
    assert caught.value.argument == "operator"
    shutil.rmtree(tmp_path / "out", ignore_errors=True)
    half = np.zeros((32, 40), np.uint8)
    half[:9] = 255
    Image.fromarray(half).save(tmp_path / "half.png")
    with pytest.raises(GenpriorError, match=r"^mask: b\.png: the mask .*half.png is 1x32x40") as caught:
        restored(flow_run, tmp_path / "in", tmp_path / "out", operator="inpaint", mask=tmp_path / "half.png")
