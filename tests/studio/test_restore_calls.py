"""What the page answers is what the command answers."""

import html
import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from family_runs import make_family_run
from genprior.command_lines import command_of
from genprior.errors import GenpriorError
from genprior.restoration.result import ADVICE
from genprior.restoring.records import IMAGES
from genprior.studio import restore_calls
from genprior.studio.allowed_folders import AllowedFolders
from genprior.studio.command_text import python_of
from genprior.studio.restore_calls import (
    DAMAGES,
    HELD_OUT,
    HOLE,
    SAMPLE,
    UPLOAD,
    Asked,
    answered,
    draw_counts,
    image_of,
    kept_question,
    kept_result,
    restore_settings,
)
from genprior.studio.restore_room import ESTIMATES
from genprior.studio.shown_answers import answer_html, compared_html
from served_studio import Served


@pytest.fixture
def asked(studio: Served) -> tuple[AllowedFolders, Path, torch.Tensor]:
    folders = AllowedFolders(studio.home, (studio.home,))
    run = studio.home / "digits"
    return folders, run, image_of(folders, run, HELD_OUT, 3, None)


def a_hole(image: torch.Tensor) -> torch.Tensor:
    missing = torch.zeros(1, *image.shape[1:], dtype=torch.bool)
    missing[:, 2:6, 2:6] = True
    return missing


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def test_the_command_beside_an_answer_gives_the_same_picture(
    asked: tuple[AllowedFolders, Path, torch.Tensor], genprior: Callable[..., str]
) -> None:
    folders, run, image = asked
    files = kept_question(folders, image, a_hole(image))
    answer = answered(restore_settings(run, files, Asked(HOLE), 64))
    result, out = kept_result(answer), files["image"].with_name("out")
    genprior(*shlex.split(command_of("restore", answer.settings, {"out": out}))[1:])
    np.testing.assert_array_equal(pixels(result), pixels(out / IMAGES / "image.png"))
    known = ~a_hole(image)[0].numpy()
    np.testing.assert_array_equal(pixels(result)[known], image[0].numpy()[known])


@pytest.mark.parametrize(
    ("family", "counts"),
    [("mixture", (64, 256)), ("vae", (0, 64, 256)), ("glow", (0, 64, 256)), ("flow-matching", (4, 64, 256))],
)
def test_the_first_answer_is_one_that_is_quickly_there(family: str, counts: tuple[int, ...], tmp_path: Path) -> None:
    run = make_family_run(tmp_path / "run", family, (3, 16, 24))
    folders = AllowedFolders(tmp_path, (tmp_path,))
    assert draw_counts(run, 256) == counts
    assert draw_counts(run, counts[0] or 64)[-1] == (counts[0] or 64)
    image = image_of(folders, run, SAMPLE, 0, None)
    files = kept_question(folders, image, a_hole(image))
    for estimate in (None, "mean"):
        first = answered(restore_settings(run, files, Asked(HOLE, estimate=estimate), counts[0]))
        assert first.found.draws.shape[1] == counts[0]
        assert "More draws are on their way." in answer_html(first, False)


def test_the_newest_answers_stay_and_nothing_of_the_users_goes(
    asked: tuple[AllowedFolders, Path, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    folders, _, image = asked
    monkeypatch.setattr(restore_calls, "ANSWERS_KEPT", 3)
    monkeypatch.setattr(restore_calls, "ANSWERS", "few-answers")
    answers = folders.home / "few-answers"
    (answers / "mine").mkdir(parents=True)
    first, *others = (kept_question(folders, image, a_hole(image))["image"].parent for _ in range(4))
    assert not first.exists()
    assert {path.name for path in answers.iterdir()} == {"mine", *(path.name for path in others)}
    (others[0] / "notes.txt").write_text("mine")
    for _ in range(3):
        kept_question(folders, image, None)
    assert [path.name for path in others[0].iterdir()] == ["notes.txt"]


def test_the_python_lines_beside_an_answer_give_it(
    asked: tuple[AllowedFolders, Path, torch.Tensor], capsys: pytest.CaptureFixture[str]
) -> None:
    folders, run, image = asked
    answer = answered(restore_settings(run, kept_question(folders, image, a_hole(image)), Asked(HOLE), 64))
    given: dict[str, object] = {}
    exec(python_of(answer.settings), given)
    torch.testing.assert_close(given["found"].images, answer.found.images)  # type: ignore[attr-defined]
    said = capsys.readouterr().out
    assert answer.found.verdicts[0] in said
    assert said.partition("tensor([")[2].partition("]")[0].count(".") == int(answer.found.candidate_counts[0])


@pytest.mark.parametrize("damage", DAMAGES)
def test_every_damage_of_the_table_is_answered(damage: str, asked: tuple[AllowedFolders, Path, torch.Tensor]) -> None:
    folders, run, image = asked
    wish = Asked(damage, DAMAGES[damage].usual if damage != "few measurements" else 30, 0.05)
    answer = answered(restore_settings(run, kept_question(folders, image, None), wish, 64))
    assert answer.found.images.shape == (1, *image.shape)
    text = answer_html(answer, is_last=True)
    assert text.count("<img") == text.count("alt=") >= 4
    assert "64 draws" in text
    assert ADVICE[answer.found.verdicts[0]] in html.unescape(text)  # not the bare word
    assert "more draws" in answer_html(answer, is_last=False).lower()
    assert 'type="range"' in compared_html(answer, answer)


def test_the_estimate_that_was_chosen_is_named_as_it_was_chosen(
    asked: tuple[AllowedFolders, Path, torch.Tensor],
) -> None:
    folders, run, image = asked
    for name, estimate in ESTIMATES.items():
        wish = Asked(HOLE, estimate=estimate)
        answer = answered(restore_settings(run, kept_question(folders, image, a_hole(image)), wish, 64))
        told = "mean" if name == "usual" else name.removesuffix(" of the draws")
        assert f"restored: {told}<" in answer_html(answer, is_last=True)


def test_an_upload_takes_the_shape_of_the_run(asked: tuple[AllowedFolders, Path, torch.Tensor], tmp_path: Path) -> None:
    folders, run, image = asked
    Image.new("RGB", (50, 30), "red").save(tmp_path / "a.png")
    assert image_of(folders, run, UPLOAD, 0, tmp_path / "a.png").shape == image.shape
    assert image_of(folders, run, SAMPLE, 2, None).shape == image.shape
    with pytest.raises(GenpriorError, match="choose a picture"):
        image_of(folders, run, UPLOAD, 0, None)


def test_what_is_not_in_the_table_is_refused(asked: tuple[AllowedFolders, Path, torch.Tensor]) -> None:
    folders, run, image = asked
    with pytest.raises(GenpriorError, match="expected one of"):
        restore_settings(run, kept_question(folders, image, None), Asked("blur:file=/etc/passwd"), 64)
