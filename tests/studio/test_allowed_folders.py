import os
from pathlib import Path

import pytest

from genprior.errors import GenpriorError
from genprior.studio.allowed_folders import AllowedFolders, allowed_folders
from genprior.studio.studio_settings import PASSWORD, StudioSettings


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AllowedFolders:
    monkeypatch.chdir(tmp_path)
    for name in ("home/run", "images/cats", "outside"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "home" / "run" / "config.json").write_text("{}")
    (tmp_path / "home" / "away").symlink_to(tmp_path / "outside")
    return allowed_folders(StudioSettings(folder=Path("home"), images=(Path("images"),)))


@pytest.mark.parametrize("path", ["home", "home/run", "images/cats", "home/new", "images/../home/x"])
def test_paths_below_the_named_folders_are_allowed(path: str, folders: AllowedFolders) -> None:
    assert folders.inside(path) == Path(path).resolve()


@pytest.mark.parametrize(
    "path",
    ["/etc/passwd", "outside", "home/../outside", "home/away/x", "~root", "\0", "homer", "home/run/../../.."],
)
def test_all_others_are_refused_alike(path: str, folders: AllowedFolders) -> None:
    with pytest.raises(GenpriorError, match="outside the folders that this page may use"):
        folders.inside(path)


def test_where_no_run_is_chosen_the_room_that_makes_one_is_named(folders: AllowedFolders) -> None:
    with pytest.raises(GenpriorError, match=r"none is chosen; .* make one in the room Train"):
        folders.inside("", "run")


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../a", ".hidden", "a\0b", "a" * 200, "a:b", "a\nb", "run"])
def test_a_new_run_has_a_plain_name_of_its_own(name: str, folders: AllowedFolders) -> None:
    with pytest.raises(GenpriorError, match=r"plain name|exists"):
        folders.new(name)


def test_images_are_named_data_or_lie_below(folders: AllowedFolders) -> None:
    assert folders.data("digits[:20]") == "digits[:20]"
    assert folders.data("images/cats[:5]") == f"{Path('images/cats').resolve()}[:5]"
    for text in ("/etc[:5]", "outside", "hub:somebody/something"):
        with pytest.raises(GenpriorError, match=r"outside|internet"):
            folders.data(text)


def test_what_is_there_from_the_folder_of_the_page_alone_is_refused(
    folders: AllowedFolders, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A command may be given in another folder than the server's, where such a path would lead out."""
    away = tmp_path / "away"
    away.mkdir()
    (folders.home.parent / "private").mkdir(exist_ok=True)
    monkeypatch.chdir(away)
    for text in ("../private", "--help", "HUB:a/b", "x", str(folders.home / "gone")):
        with pytest.raises(GenpriorError):
            folders.data(text)


def test_many_files_hide_no_run(folders: AllowedFolders) -> None:
    (folders.home / "aa" / "parts").mkdir(parents=True)
    for number in range(320):
        (folders.home / "aa" / "parts" / f"{number}.json").touch()
    (folders.home / "zz").mkdir()
    (folders.home / "zz" / "config.json").touch()
    assert folders.home / "zz" / "config.json" in folders.runs()


def test_runs_and_pages_below_are_found_and_links_are_not(folders: AllowedFolders) -> None:
    home = folders.home
    (home.parent / "outside" / "report.html").write_text("")
    (home / "run" / "report.html").write_text("")
    (home / "linked.html").symlink_to(home.parent / "outside" / "report.html")
    assert folders.runs() == [home / "run" / "config.json"]
    assert folders.pages() == [home / "run" / "report.html"]


def test_the_newest_stand_first_below_what_was_named(folders: AllowedFolders) -> None:
    home, named = folders.home, folders.home.parent / "named"
    ages = {home / "a": 1, home / "b": 3, home / "c": 2, home / "run": 4, named: 0}
    for run, age in ages.items():
        run.mkdir(exist_ok=True)
        for name in ("config.json", "report.html"):
            (run / name).write_text("{}")
            os.utime(run / name, (age, age))
    both = AllowedFolders(home, (home, named))
    assert [file.parent for file in both.runs()] == [named, home / "run", home / "b", home / "c", home / "a"]
    assert [file.parent for file in both.pages()] == [file.parent for file in both.runs()]


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"images": (Path("/"),)}, "whole disk"),
        ({"images": (Path("nowhere"),)}, "is not there"),
        ({"runs": (Path("images"),)}, "not a run"),
    ],
)
def test_what_is_named_at_the_start_must_make_sense(
    settings: dict[str, tuple[Path, ...]], match: str, folders: AllowedFolders
) -> None:
    with pytest.raises(GenpriorError, match=match):
        allowed_folders(StudioSettings.model_validate({"folder": Path("home"), **settings}))


@pytest.mark.parametrize("password", [None, "short"])
def test_other_machines_need_a_password(password: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PASSWORD, raising=False)
    if password is not None:
        monkeypatch.setenv(PASSWORD, password)
    with pytest.raises(GenpriorError, match="needs a password"):
        StudioSettings(share=True).password()
    monkeypatch.setenv(PASSWORD, "long enough for this")
    assert StudioSettings(share=True).password() == "long enough for this"
    assert StudioSettings().password() is None
