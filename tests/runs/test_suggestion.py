"""How to train on one's own images, and how long that takes."""

import shlex

import pytest
import torch

from genprior.data import Dataset
from genprior.data.held_out import Split
from genprior.errors import GenpriorError
from genprior.runs import suggestion as module
from genprior.runs.suggestion import suggested


@pytest.fixture(autouse=True)
def _few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STEPS", 1)
    monkeypatch.setattr(module, "WARM_UP", 1)
    monkeypatch.setattr(module.ThreadChoice, "begin", lambda *_: None)


def split(count: int, *shape: int) -> Split:
    images = torch.randint(0, 256, (count, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return Split(Dataset("some", images), lambda: None)


@pytest.mark.parametrize(
    ("shape", "preset"),
    [
        ((1, 28, 28), "r1-28"),
        ((1, 32, 32), "r1-32"),
        ((1, 64, 64), "r1-64"),
        ((3, 32, 32), "pyramid"),
        ((1, 48, 48), "pyramid"),
        ((3, 32, 48), "pyramid"),
    ],
)
def test_the_preset_follows_the_shape(shape: tuple[int, ...], preset: str) -> None:
    found = suggested({"data": "some folder"}, split(130, *shape))
    words = shlex.split(found.command)
    assert words[:5] == ["genprior", "train", "gan", "--data", "some folder"]
    assert words[words.index("--preset") + 1] == preset
    assert "--batch-size" not in words
    assert found.images_per_step == (32 if preset == "pyramid" else 128)
    assert found.seconds_per_step > 0


def test_few_images_have_smaller_batches() -> None:
    words = shlex.split(suggested({"data": "x"}, split(50, 1, 28, 28)).command)
    assert words[words.index("--batch-size") + 1] == "32"


@pytest.mark.parametrize(("seconds", "is_own"), [(0.01, False), (5.0, True), (500.0, False)])
def test_the_budget_is_that_of_the_preset_where_that_is_usual(
    seconds: float, is_own: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_seconds_per_step", lambda *_: seconds)
    found = suggested({"data": "x"}, split(1280, 1, 28, 28))
    assert found.own_minutes == pytest.approx(25 * 10 * seconds / 60)
    assert ("--minutes 20" in found.command) is not is_own
    assert found.minutes == (found.own_minutes if is_own else 20)
    assert ("own budget takes" in found.rows()["minutes"]) is not is_own


def test_what_was_said_of_the_images_is_said_again() -> None:
    found = suggested({"data": "x", "size": "32", "white": 4095.0}, split(40, 1, 32, 32))
    assert "--size 32 --white 4095" in found.command
    assert found.trial == "genprior train auto --data x --size 32 --white 4095 --minutes 20 --out runs/own"


@pytest.mark.parametrize(("count", "is_told"), [(39, False), (40, True)])
def test_a_trial_is_told_of_where_there_are_images_enough_for_one(count: int, is_told: bool) -> None:
    found = suggested({"data": "x"}, split(count, 1, 32, 32))
    assert ("to restore" in found.rows()) is (found.trial != "") is is_told


def test_oblong_images_are_trained_as_they_are() -> None:
    assert "--size" not in suggested({"data": "x"}, split(20, 1, 32, 48)).command


def test_images_that_nothing_can_learn_are_told() -> None:
    with pytest.raises(GenpriorError):
        suggested({"data": "x"}, split(20, 1, 2, 2))


def test_one_image_is_too_few() -> None:
    with pytest.raises(GenpriorError, match="some has one image to learn from, a GAN needs two at least"):
        suggested({"data": "some folder"}, split(1, 1, 28, 28))
