"""What the Explore room shows is what the command beside it writes, for every family."""

import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from family_runs import GREY, OBLONG, SMALL, make_family_run
from genprior.errors import GenpriorError
from genprior.runs.run_folder import open_run
from genprior.studio import explore_calls
from genprior.studio.allowed_folders import AllowedFolders
from genprior.studio.explore_calls import Choice, Explored, Point, latents_told, map_about, nearest_to, row_between
from genprior.studio.restore_calls import HELD_OUT, SAMPLE, UPLOAD
from genprior.studio.shown_latents import map_html, map_value, nearest_html, row_html, row_value

Command = Callable[..., str]


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def agrees_with_its_command(found: Explored, genprior: Command) -> None:
    for command in found.command.split(" && "):
        genprior(*shlex.split(command)[1:])
    np.testing.assert_array_equal(pixels(found.picture), pixels(found.picture.with_name("again.png")))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("explored")
    make_family_run(folder / "vae", "vae", OBLONG)
    return folder


@pytest.fixture
def folders(home: Path) -> AllowedFolders:  # type: ignore[override]
    return AllowedFolders(home, (home,))


@pytest.mark.parametrize("shape", [GREY, OBLONG], ids=["grey", "oblong"])
@pytest.mark.parametrize("family", SMALL)
def test_every_family_has_a_map_that_its_command_writes_and_nearest_images(
    family: str, shape: tuple[int, int, int], tmp_path: Path, genprior: Command
) -> None:
    run = make_family_run(tmp_path / family, family, shape)
    folders = AllowedFolders(tmp_path, (tmp_path,))
    found = map_about(folders, run, Choice(SAMPLE, 3), 0.05)
    assert found.x.shape == (25, *shape)
    agrees_with_its_command(found, genprior)
    beside = nearest_to(folders, run, found.point(7))
    torch.testing.assert_close(beside.x[0], found.x[7], rtol=1e-3, atol=1e-3)
    agrees_with_its_command(beside.explored, genprior)
    further = map_about(folders, run, found.point(7), 0.05)
    torch.testing.assert_close(further.x[12], found.x[7], rtol=1e-3, atol=1e-3)
    row = row_between(folders, run, [Choice(SAMPLE, 0), found.point(24)])
    torch.testing.assert_close(row.x[-1], found.x[24], rtol=1e-3, atol=1e-3)
    agrees_with_its_command(row, genprior)
    assert latents_told(folders, str(run)) == open_run(run).config.LATENTS


def test_images_are_inverted_as_the_command_does(folders: AllowedFolders, home: Path, genprior: Command) -> None:
    Image.new("RGB", (50, 40), "red").save(home / "mine.png")
    run, mine = home / "vae", Choice(UPLOAD, upload=home / "mine.png")
    row = row_between(folders, run, [Choice(HELD_OUT, 2), mine])
    assert row.command.startswith("genprior invert ")
    agrees_with_its_command(row, genprior)
    assert [point.error is not None for point in row.points] == [True, True]
    about = map_about(folders, run, mine, 0.05)
    torch.testing.assert_close(about.x[12], row.x[-1], rtol=1e-3, atol=1e-3)
    agrees_with_its_command(about, genprior)
    mixed = row_between(folders, run, [about.point(0), mine])
    agrees_with_its_command(mixed, genprior)
    assert row_html(mixed).count("its inversion is off by") == 1


def test_what_is_shown_is_told_in_words(folders: AllowedFolders, home: Path) -> None:
    run = home / "vae"
    found = map_about(folders, run, Choice(SAMPLE), 0.05)
    value = map_value(found)
    assert (len(value["pictures"]), value["columns"], value["middle"]) == (25, 5, 12)
    assert "Neighbours differ by" in map_html(found)
    near = nearest_html(nearest_to(folders, run, found.point(0)))
    assert near.count("<img") == near.count("alt=") == 6
    assert "Closeness 0." in near
    assert "Among 144 training images" in near
    assert row_value(row_between(folders, run, [found.point(0), found.point(1)]))["columns"] == 8


@pytest.mark.parametrize("number", [-1, 25, "0", None])
def test_only_pictures_of_the_map_are_chosen(folders: AllowedFolders, home: Path, number: object) -> None:
    found = map_about(folders, home / "vae", Choice(SAMPLE), 0.05)
    with pytest.raises(GenpriorError, match="choose one of the pictures"):
        found.point(number)


def test_what_cannot_be_explored_is_told(
    folders: AllowedFolders, home: Path, tmp_path: Path, make_run: Callable[..., object]
) -> None:
    with pytest.raises(GenpriorError, match="is of another run"):
        map_about(folders, home / "vae", Point(torch.zeros(4), run=home / "other"), 0.05)
    make_run("points")
    with pytest.raises(GenpriorError, match="points of the plane"):
        map_about(folders, tmp_path / "points", Choice(SAMPLE), 0.05)
    elsewhere = AllowedFolders(tmp_path, (tmp_path,))
    with pytest.raises(GenpriorError, match="lies outside the folders"):
        nearest_to(elsewhere, home / "vae", Point(torch.zeros(4)))
    with pytest.raises(GenpriorError, match="lies outside the folders"):
        map_about(elsewhere, home / "vae", Choice(HELD_OUT), 0.05)


def test_the_newest_answers_stay(folders: AllowedFolders, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explore_calls, "ANSWERS_KEPT", 2)
    monkeypatch.setattr(explore_calls, "EXPLORED", "few")
    Image.new("RGB", (50, 40), "red").save(home / "mine.png")
    rows = [map_about(folders, home / "vae", Choice(UPLOAD, upload=home / "mine.png"), 0.05) for _ in range(3)]
    assert [found.picture.parent.is_dir() for found in rows] == [False, True, True]
