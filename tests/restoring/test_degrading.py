"""Damaging images: exact measurements, pictures, masks, and a record with which they are restored."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from finished_jobs import degraded_to, restored_to, restoring_settings
from PIL import Image
from torch import Tensor

from genprior.errors import GenpriorError
from genprior.folder_check import checked
from genprior.images import to_uint8, write_image
from genprior.restoration.noise import NOISES, measure
from genprior.restoration.operators import OPERATORS
from genprior.restoration.result import Restoration
from genprior.restoring.commands import restoring_command
from genprior.restoring.job_settings import DegradeSettings
from genprior.restoring.ledger import Output
from genprior.restoring.records import read_degradation
from genprior.restoring.restore_job import prepare_restoring
from genprior.specs import Spec
from tiny_run import QUICK, SHAPE

Damage = Callable[..., Output]
KINDS = {
    "denoise": SHAPE,
    "inpaint:box=3": SHAPE,
    "inpaint:random=0.5": SHAPE,
    "downsample:factor=2": (1, 4, 4),
    "blur:sigma=0.5": SHAPE,
    "compressed-sensing:m=20": (20,),
}


@pytest.fixture
def damage(tmp_path: Path, some_images: Callable[..., Tensor]) -> Damage:
    """Damages images, seven of them where no others are given."""
    np.save(tmp_path / "x.npy", some_images(7).numpy())

    def run(images: object = None, out: str = "damaged", **settings: object) -> Output:
        return degraded_to(tmp_path / out, images or tmp_path / "x.npy", **settings)

    return run


@pytest.mark.parametrize("operator", KINDS)
def test_measurements_are_exact_and_pictures_show_them(
    damage: Damage, some_images: Callable[..., Tensor], operator: str
) -> None:
    output = damage(operator=operator, noise="gaussian:sigma=0.1", seed=3, batch_size=3)
    y = torch.from_numpy(np.load(output.path / "measurements.npy"))
    physics = Spec.parse(operator).build(OPERATORS, "operator", image_shape=SHAPE, seed=3)
    expected = measure(some_images(7), physics, NOISES["gaussian"](sigma=0.1), seed=3)
    assert torch.equal(y, expected)
    assert y.shape == (7, *KINDS[operator])
    shows = len(KINDS[operator]) == 3
    assert (output.path / "images").exists() == shows
    if shows:
        picture = torch.from_numpy(np.array(Image.open(output.picture("000004"))))
        assert torch.equal(picture, to_uint8(y[4, 0]))
    assert (output.path / "masks").exists() == operator.startswith("inpaint")


@pytest.mark.parametrize("operator", KINDS)
def test_what_is_damaged_here_is_restored_as_if_it_were_simulated(
    damage: Damage, tiny_run: Path, tmp_path: Path, operator: str
) -> None:
    common = {"noise": "gaussian:sigma=0.1", "seed": 3, **QUICK}
    damaged = damage(operator=operator, noise="gaussian:sigma=0.1", seed=3).path
    is_hidden = operator.startswith("inpaint")
    before = restoring_settings(
        tiny_run,
        damaged / "measurements.npy",
        operator="inpaint" if is_hidden else operator,
        mask=damaged / "masks" if is_hidden else None,
        **common,
    )
    here = restoring_settings(tiny_run, tmp_path / "x.npy", operator=operator, simulate=True, **common)
    found = [
        Restoration.load(restored_to(tmp_path / name, settings).tensors(0)).images
        for name, settings in (("before", before), ("here", here))
    ]
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-4)


def test_random_masks_are_known_from_the_record_alone(damage: Damage, tiny_run: Path, tmp_path: Path) -> None:
    output = damage(f"{tmp_path / 'x.npy'}[3:]", operator="inpaint:random=0.5")
    assert json.loads((output.path / "degradation.json").read_text())["numbers"] == [3, 4, 5, 6]
    settings = restoring_settings(tiny_run, output.path / "measurements.npy", operator="inpaint:random=0.5")
    item = prepare_restoring(settings).work.read(0)
    assert torch.equal(item.parameters["mask"][0] == 0, (item.y == 0))
    settings = restoring_settings(tiny_run, output.path / "images", operator="inpaint:random=0.5")
    with pytest.raises(GenpriorError, match="is another one for each image: give the masks") as raised:
        prepare_restoring(settings)
    assert raised.value.argument == "operator"


@pytest.mark.parametrize(
    ("changes", "argument"),
    [
        ({"seed": 1}, "seed"),
        ({"operator": "compressed-sensing:m=21"}, "operator"),
        ({"operator": "denoise"}, "operator"),
    ],
)
def test_another_operator_than_the_record_tells_is_refused(
    damage: Damage, tiny_run: Path, changes: dict[str, object], argument: str
) -> None:
    output = damage(operator="compressed-sensing:m=20")
    given = {"operator": "compressed-sensing:m=20", "seed": 0, **changes}
    settings = restoring_settings(tiny_run, output.path / "measurements.npy", **given)
    with pytest.raises(GenpriorError, match="were made with") as raised:
        prepare_restoring(settings)
    assert raised.value.argument == argument


def test_unreadable_images_are_left_out_until_they_are_mended(
    damage: Damage, image_folder: Callable[..., Path]
) -> None:
    folder = image_folder(4)
    whole = np.load(damage(folder, "whole", operator="denoise", noise="gaussian").path / "measurements.npy")
    original = (folder / "a.png").read_bytes()
    (folder / "a.png").write_text("text")
    settings = {"operator": "denoise", "noise": "gaussian", "batch_size": 2}
    output = damage(folder, **settings)
    record = json.loads((output.path / "degradation.json").read_text())
    assert record["names"] == ["b", "c", "d"]
    np.testing.assert_array_equal(np.load(output.path / "measurements.npy"), whole[1:])
    (folder / "a.png").write_bytes(original)
    np.testing.assert_array_equal(np.load(damage(folder, **settings).path / "measurements.npy"), whole)


def test_an_exchanged_picture_is_damaged_anew(
    damage: Damage, image_folder: Callable[..., Path], some_images: Callable[..., Tensor]
) -> None:
    folder, settings = image_folder(4), {"operator": "denoise", "noise": "gaussian", "batch_size": 2}
    damage(folder, **settings)
    write_image(to_uint8(some_images(9)[8]), folder / "d.png")
    again = np.load(damage(folder, **settings).path / "measurements.npy")
    np.testing.assert_array_equal(again, np.load(damage(folder, "fresh", **settings).path / "measurements.npy"))


@pytest.fixture
def mixed(image_folder: Callable[..., Path], some_images: Callable[..., Tensor]) -> Path:
    """Three grey images of 8 x 8, and one in colour of 12 x 10."""
    folder = image_folder(3)
    write_image(to_uint8(some_images(1, (3, 12, 10))[0]), folder / "bb.png")
    return folder


@pytest.mark.parametrize("operator", [name for name, shape in KINDS.items() if len(shape) == 3])
def test_images_of_several_sizes_are_damaged_each_in_its_own(operator: str, damage: Damage, mixed: Path) -> None:
    settings = {"operator": operator, "noise": "gaussian:sigma=0.1", "batch_size": 2}
    output = damage(mixed, **settings)
    assert [each for each in checked(output.path)[1] if each.fault] == []
    assert not (output.path / "measurements.npy").exists()
    spec = Spec.parse(operator)
    with Image.open(mixed / "bb.png") as picture:
        x = torch.from_numpy(np.asarray(picture).copy()).movedim(2, 0).contiguous()[None] / 255
    made = spec.build(OPERATORS, "operator", image_shape=(3, 12, 10), seed=0)
    number = json.loads((output.path / "degradation.json").read_text())["numbers"][2]
    y = measure(x, made, NOISES["gaussian"](sigma=0.1), seed=0, first=number)[0]
    with Image.open(output.path / "images" / "bb.png") as picture:
        assert np.array_equal(np.asarray(picture), to_uint8(y).movedim(0, 2).numpy())
    sides = []
    for file in sorted((output.path / "images").glob("*.png")):
        with Image.open(file) as picture:
            sides.append((*picture.size, picture.mode))
    height, width = KINDS[operator][1:]
    assert sides == [(width, height, "L")] * 2 + [(y.shape[2], y.shape[1], "RGB")] + [(width, height, "L")]
    alone = damage(mixed / "bb.png", "alone", **settings)
    assert np.load(alone.path / "measurements.npy").shape == (1, *y.shape)


def test_what_has_no_picture_needs_images_of_one_size(damage: Damage, mixed: Path) -> None:
    with pytest.raises(GenpriorError, match=r"bb.png is 3x12x10, expected 1x8x8; --size and --channels") as error:
        damage(mixed, operator="compressed-sensing:m=20")
    assert "\n" not in str(error.value)
    output = damage(mixed, operator="compressed-sensing:m=20", size=6, channels=3)
    assert np.load(output.path / "measurements.npy").shape == (4, 20)


def test_an_operator_that_does_not_fit_one_of_the_images_names_it(damage: Damage, mixed: Path) -> None:
    with pytest.raises(GenpriorError, match=r"operator: .*bb.png: ") as error:
        damage(mixed, operator="downsample:factor=4", batch_size=4)
    assert "\n" not in str(error.value)


def test_an_image_of_another_size_that_comes_later_takes_the_array_away(
    damage: Damage, image_folder: Callable[..., Path], some_images: Callable[..., Tensor]
) -> None:
    folder = image_folder(2)
    assert (damage(folder, operator="denoise").path / "measurements.npy").exists()
    write_image(to_uint8(some_images(1, (3, 12, 10))[0]), folder / "z.png")
    output = damage(folder, operator="denoise")
    assert not (output.path / "measurements.npy").exists()
    assert restoring_command(DegradeSettings(images="x", operator="denoise"), output.path).startswith(
        f"genprior restore RUN {output.path}/images --operator denoise"
    )
    (folder / "z.png").unlink()
    assert np.load(damage(folder, operator="denoise").path / "measurements.npy").shape == (2, 1, 8, 8)


def test_what_is_no_image_is_not_damaged(damage: Damage, tmp_path: Path) -> None:
    np.save(tmp_path / "y.npy", np.zeros((2, 30), np.float32))
    with pytest.raises(GenpriorError, match=r"expected images .C, H, W., got items of shape 30"):
        damage(tmp_path / "y.npy", operator="denoise")
    assert not (tmp_path / "damaged").exists()


def test_the_command_names_all_that_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("my out", "masks").mkdir(parents=True)
    settings = DegradeSettings(images="x", operator="inpaint:box=3", noise="gaussian:sigma=0.1", seed=4)
    assert restoring_command(settings, Path("my out")) == (
        "genprior restore RUN 'my out/measurements.npy' --operator inpaint --mask 'my out/masks' "
        "--noise gaussian:sigma=0.1 --seed 4 --out 'my out-restored'"
    )
    settings = DegradeSettings(images="x", operator="compressed-sensing:m=9")
    assert "--operator compressed-sensing:m=9 --noise none --out" in restoring_command(settings, Path("a"))


def test_a_part_whose_images_are_all_unreadable_now_leaves_no_measurements(
    damage: Damage, image_folder: Callable[..., Path]
) -> None:
    folder = image_folder(4)
    settings = {"operator": "denoise", "batch_size": 2}
    (folder / "d.png").write_text("text")
    output = damage(folder, **settings)
    assert output.tensors(1).exists()
    output.reopen(1)
    (folder / "c.png").write_text("text")
    damage(folder, **settings)
    assert not output.tensors(1).exists()
    assert len(np.load(output.path / "measurements.npy")) == 2


@pytest.mark.parametrize("kind", ["measurements.npy", "images"])
def test_the_recorded_noise_is_taken_over(damage: Damage, tiny_run: Path, kind: str) -> None:
    noise = "poisson:gain=0.02"
    path = str(damage(operator="denoise", noise=noise).path / kind)

    def stored(**given: object) -> dict[str, object]:
        return prepare_restoring(restoring_settings(tiny_run, path, operator="denoise", **given)).record.settings

    assert stored()["noise"] == noise
    assert stored(noise_level=0.1)["noise"] is None
    assert stored(noise="poisson:gain=2e-2", fidelity="l2")["noise"] == noise  # in the recorded spelling
    with pytest.raises(GenpriorError, match=r"were made with poisson:gain=0.02, got poisson$") as raised:
        stored(noise="poisson")
    assert raised.value.argument == "noise"


def test_options_of_the_recorded_operator_are_not_left_out(damage: Damage, tiny_run: Path) -> None:
    def attempt(path: Path, operator: str) -> None:
        prepare_restoring(restoring_settings(tiny_run, path / "measurements.npy", operator=operator))

    quarter = damage(out="quarter", operator="downsample:factor=4").path
    with pytest.raises(GenpriorError, match=r"were made with downsample:factor=4, got downsample$") as raised:
        attempt(quarter, "downsample")
    assert raised.value.argument == "operator"
    attempt(damage(out="half", operator="downsample:factor=2").path, "downsample")


def test_another_kernel_in_the_same_file_is_refused(damage: Damage, tmp_path: Path) -> None:
    np.save(tmp_path / "kernel.npy", np.ones((3, 3)))
    operator = f"blur:file={tmp_path / 'kernel.npy'}"
    damage(operator=operator)
    damage(operator=operator)
    np.save(tmp_path / "kernel.npy", np.ones((1, 3)))
    with pytest.raises(GenpriorError, match=r"other settings .kernel sha256") as raised:
        damage(operator=operator)
    assert raised.value.argument == "out"


def test_damaging_needs_no_solver() -> None:
    code = "import sys, genprior.restoring.degrading; sys.exit('genprior.restoration.solve' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("name", ["../a", "/etc/a", "b/../../a", "..\\\\a", "C:a", ""])
def test_names_of_a_record_stay_in_their_folder(damage: Damage, name: str) -> None:
    record = damage(operator="denoise").path / "degradation.json"
    values = json.loads(record.read_text())
    record.write_text(json.dumps({**values, "names": [name, *values["names"][1:]]}))
    with pytest.raises(
        GenpriorError, match=r"degradation.json cannot be read: names.0: .*no name of an image"
    ) as raised:
        read_degradation(record.parent / "measurements.npy")
    assert raised.value.argument == "images"
