"""What the Train room offers comes from the tables, and what it offers first can be trained."""

from pathlib import Path

import gradio
import pytest
import torch

from genprior.families import FAMILIES
from genprior.images import write_image
from genprior.studio.allowed_folders import AllowedFolders
from genprior.studio.train_room import offered_parts
from genprior.studio.training_choices import (
    AUTO,
    NAMED,
    chosen_values,
    family_choices,
    named_choices,
    own_shape,
    preset_choices,
    presets_anew,
)
from genprior.studio.training_processes import Trainings

FEW_IMAGES = {"glo": {"start": "random"}}  # principal components need more images than there are here
SHAPES = [(1, 28, 28), (3, 32, 32), (3, 32, 48), (3, 64, 64)]


def own_images(folder: Path, shape: tuple[int, int, int]) -> Path:
    folder.mkdir(parents=True)
    for number in range(8):
        write_image(torch.randint(256, shape, dtype=torch.uint8), folder / f"{number}.png")
    return folder


def test_each_family_has_a_sentence_and_the_automatic_training_too() -> None:
    told = {name: sentence for sentence, name in family_choices()}
    assert list(told) == [AUTO, *FAMILIES]
    assert all(sentence.startswith(f"{name}: ") and sentence.endswith(".") for name, sentence in told.items())


@pytest.mark.parametrize("family", FAMILIES)
def test_parts_are_offered_of_families_that_have_them_with_a_sentence_each(family: str) -> None:
    for setting in NAMED:
        choices = named_choices(family, setting)
        tables = FAMILIES[family].tables()
        assert [name for _, name in choices[1:]] == (tables[setting].names() if setting in tables else [])
        assert all(len(sentence) > len(name) + 12 for sentence, name in choices)
        assert named_choices(AUTO, setting) == []


@pytest.mark.parametrize("setting", NAMED)
@pytest.mark.parametrize("family", [AUTO, *FAMILIES])
def test_what_a_choice_holds_is_among_what_it_offers_also_where_it_is_hidden(family: str, setting: str) -> None:
    offered = offered_parts(family, setting)
    choice = gradio.Radio([value for _, value in offered["choices"]])
    assert choice.preprocess(offered["value"]) == offered["value"]
    assert offered["visible"] == bool(named_choices(family, setting))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("family", FAMILIES)
def test_the_preset_that_stands_first_builds_networks_for_the_images(
    family: str, shape: tuple[int, int, int], tmp_path: Path
) -> None:
    images = own_images(tmp_path / "images", shape)
    folders = AllowedFolders(tmp_path, (tmp_path,))
    found, is_own = own_shape(folders, str(images))
    assert (found, is_own) == (shape, True)
    presets = preset_choices(family, found, is_own)
    assert sorted(presets) == sorted(FAMILIES[family].PRESETS)
    values = {"family": family, "data": str(images), "minutes": 1, **FEW_IMAGES.get(family, {})}
    config = Trainings(folders).config(values | chosen_values(family, presets[0], "", ""))
    data = config.load_data()
    assert data.image_shape == shape
    config.build(data)


def test_named_data_and_what_cannot_be_read_are_known_as_such(tmp_path: Path) -> None:
    folders = AllowedFolders(tmp_path, (tmp_path,))
    assert own_shape(folders, "digits[:20]") == (None, False)
    assert preset_choices("gan", None, is_own=False)[0] == FAMILIES["gan"].DEFAULT_PRESET
    (tmp_path / "a.zip").write_bytes(b"nonsense")
    for text in ("/etc", "a.zip", str(tmp_path / "a.zip"), ""):
        assert own_shape(folders, text) == (None, True)
    assert preset_choices(AUTO, None, is_own=True) == []


def test_large_grey_pictures_get_the_preset_of_the_size_that_they_get(tmp_path: Path) -> None:
    images = own_images(tmp_path / "images", (1, 140, 140))
    shape, is_own = own_shape(AllowedFolders(tmp_path, (tmp_path,)), str(images))
    assert preset_choices("gan", shape, is_own)[0] == "r1-64"
    assert preset_choices("flow-matching", shape, is_own)[0] == "flow-64"


def test_what_is_chosen_becomes_settings_of_the_family() -> None:
    assert chosen_values("gan", "dcgan-28", "hinge", "r1") == {
        "preset": "dcgan-28",
        "loss": "hinge",
        "penalty": ("r1",),
    }
    assert chosen_values("gan", "dcgan-28", "", "") == {"preset": "dcgan-28"}
    assert chosen_values("glo", None, "l2", "r1") == {"loss": "l2"}


def test_a_choice_stays_when_the_field_of_images_is_only_left(tmp_path: Path) -> None:
    folders = AllowedFolders(tmp_path, (tmp_path,))
    assert presets_anew(folders, ["digits", "glo"], ["digits", "glo"]) is None
    for last in (["digits", "gan"], ["mnist", "glo"]):
        assert presets_anew(folders, ["digits", "glo"], last) == preset_choices("glo", None, is_own=False)
