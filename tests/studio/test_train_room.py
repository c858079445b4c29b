"""What the room Train offers of runs while they begin, and how pages of one name are told apart."""

from pathlib import Path

import pytest

from genprior.studio.allowed_folders import AllowedFolders
from genprior.studio.reports_room import page_choices
from genprior.studio.train_room import offered_runs
from genprior.studio.training_processes import Trainings


@pytest.fixture
def trainings(tmp_path: Path) -> Trainings:
    return Trainings(AllowedFolders(tmp_path, (tmp_path,)))


def test_a_run_that_has_just_begun_is_offered_before_its_folder_is_there(
    trainings: Trainings, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = trainings.folders.home
    shown, other, old = str(home / "shown"), home / "other", home / "old"
    assert offered_runs(trainings, [])["value"] == []
    old.mkdir()
    (old / "config.json").touch()
    assert offered_runs(trainings, [])["value"] == [str(old)]
    monkeypatch.setattr(Trainings, "running", lambda self: [other, old])
    offered = offered_runs(trainings, [shown])
    assert offered["choices"] == [("other", str(other)), ("shown", shown), ("old", str(old))]
    assert offered["value"] == [shown]
    assert offered_runs(trainings, [])["value"] == [str(other)]


def test_pages_of_one_name_are_told_apart(trainings: Trainings) -> None:
    home = trainings.folders.home
    for place in ("answers/one/restored", "answers/two/restored", "run"):
        (home / place).mkdir(parents=True)
        (home / place / "index.html").touch()
    names = {name for name, _ in page_choices(trainings.folders)}
    assert names == {"answers/one/restored/index.html", "answers/two/restored/index.html", "run/index.html"}
