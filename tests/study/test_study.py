"""A study from its command to its page, small; and the laws of its tables."""

import html
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from genprior.families import parse_config
from genprior.runs.experiment import read_result, save_result
from genprior.study.statements import STATEMENTS
from genprior.study.study_cells import CELLS, settings_of, training_command
from genprior.study.study_experiment import AskedStudy
from genprior.study.study_jobs import MEASURES
from genprior.study.study_record import StudyResult
from genprior.study.study_settings import SIZES, StudySettings
from small_study import TINY

ASKED = ("study", "--data", "digits", "--pixels", 8, "--jobs", 1)
WIDTHS = (1400, 400)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """The smallest study there is, under the name of the demo."""
    monkeypatch.setitem(SIZES, "demo", TINY)


@pytest.mark.usefixtures("tiny")
def test_a_study_trains_measures_judges_and_resumes_and_its_page_shows(
    genprior: Callable[..., str], tmp_path: Path
) -> None:
    studied = tmp_path / "study"  # one study for all that is looked at: it takes a minute
    text = genprior(*ASKED, "--out", studied)
    found = read_result(studied / "study.json", StudyResult)
    assert found is not None
    assert found.is_complete
    assert [each.name for each in found.statements] == list(STATEMENTS)
    assert {run.cell for run in found.runs} == set(CELLS)
    for each in found.statements:
        assert "Not measured" not in each.finding.because, each.name
        assert each.title in text
    assert f"page: {studied / 'index.html'}" in text
    assert {"index.html", "study.md", "study.json"} <= {path.name for path in studied.iterdir()}

    _resumes(genprior, studied, found)
    _needs_nothing(studied)
    _needs_nothing(tmp_path / "site")  # which holds no runs
    assert {path.name for path in (tmp_path / "site").iterdir()} == {"index.html", "study.md", "study.json"}
    assert "](runs/" not in (tmp_path / "site" / "study.md").read_text(encoding="utf-8")
    _shows(studied, tmp_path)


def _resumes(genprior: Callable[..., str], studied: Path, found: StudyResult) -> None:
    """What is done is not done again, and the study is the same as before."""
    lost = studied / "measured" / "non-saturating" / "0" / "TrainingCurves.json"
    lost.unlink()
    damaged = studied / "measured" / "least-squares" / "0" / "TrainingCurves.json"
    damaged.write_text(damaged.read_text().replace(":", ": ", 1).replace("0.", "1.", 1))
    own = genprior(*ASKED, "--out", studied, "--against", studied / "study.json", code=2)
    assert "--against" in own
    assert "this study's own" in own
    other = shutil.copy(studied / "study.json", studied.parent / "other.json")
    again = genprior(*ASKED, "--out", studied, "--against", other, "--publish", studied.parent / "site")
    assert "to do: 0 trainings and 2 measurements" in again
    assert "done; last: " in again
    after = read_result(studied / "study.json", StudyResult)
    assert after is not None
    assert after.statements == found.statements
    assert after.comparison is not None
    assert not after.comparison.verdicts
    assert not [each for each in after.comparison.numbers if each.is_beyond_chance is not False]
    assert after.comparison.unmatched == 0

    _stays_judged(genprior, studied, found)
    moved = studied.rename(studied.parent / "moved")
    genprior(*ASKED, "--out", moved)
    commands = [run.command for run in _result(moved).runs]
    assert any(f"--out {moved / 'runs'}" in each for each in commands)
    assert not [each for each in commands if str(studied / "runs") in each]
    moved.rename(studied)

    _misses(genprior, studied)
    refused = genprior(*ASKED, "--out", studied, "--seed", 5, code=2)
    assert "--out" in refused
    assert "other settings" in refused

    asked = read_result(studied / "asked.json", AskedStudy)
    assert asked is not None
    save_result(studied / "asked.json", asked.model_copy(update={"learned_sha256": 64 * "0"}))
    assert "other images: digits has changed" in genprior(*ASKED, "--out", studied, code=2)

    file = studied / "asked.json"
    file.write_text(file.read_text(encoding="utf-8")[:-9], encoding="utf-8")
    refused = genprior(*ASKED, "--out", studied, code=2)
    assert "asked.json" in refused
    assert "other settings" not in refused


def _stays_judged(genprior: Callable[..., str], studied: Path, found: StudyResult) -> None:
    """What is measured stays judged where one statement is asked for."""
    genprior(*ASKED, "--out", studied, "--statement", "networks")
    after = read_result(studied / "study.json", StudyResult)
    assert after is not None
    assert after.statements == found.statements
    assert "--statement" not in (studied / "index.html").read_text(encoding="utf-8")


def _misses(genprior: Callable[..., str], studied: Path) -> None:
    """Pictures that are gone are told on the page, and a run that is gone with what to do."""
    pictures = studied / "measured" / "non-saturating" / "0" / "RestoredImages.safetensors"
    kept = pictures.read_bytes()
    pictures.unlink()
    genprior(*ASKED, "--out", studied)
    assert "These pictures are gone or damaged" in (studied / "index.html").read_text(encoding="utf-8")
    pictures.write_bytes(kept)
    run = (studied / "runs" / "glow" / "0").rename(studied.parent / "elsewhere")
    refused = genprior(*ASKED, "--out", studied, code=2)
    assert "glow/0 is gone; put it back" in refused.replace("\n", " ")
    run.rename(studied / "runs" / "glow" / "0")
    genprior(*ASKED, "--out", studied)
    assert "These pictures are gone or damaged" not in (studied / "index.html").read_text(encoding="utf-8")


def _result(studied: Path) -> StudyResult:
    found = read_result(studied / "study.json", StudyResult)
    assert found is not None
    return found


def _needs_nothing(studied: Path) -> None:
    """The page runs nothing, and links to nothing but files of the study."""
    page = (studied / "index.html").read_text(encoding="utf-8")
    assert "<script" not in page
    sources = re.findall(r"""(?:src|href)=["']([^"']*)""", page)
    assert not [
        each for each in sources if each.partition(":")[0] in ("http", "https", "file") or each.startswith("//")
    ]
    for link in (each for each in sources if not each.startswith("data:")):
        if link.startswith("#"):
            assert f'id="{link[1:]}"' in page, link
        else:
            assert (studied / link).exists(), link
    assert page.count("<math ") > 20
    assert page.count('class="statement"') == len(STATEMENTS)


# Frames have the width that is asked for, whatever a browser allows its windows; the page around them measures them.
MEASURE = """<script>onload = () => {
  for (const frame of document.querySelectorAll("iframe")) {
    const page = frame.contentDocument, wide = (e) => e.getBoundingClientRect().width > 50;
    const count = (name) => [...page.querySelectorAll(name)].filter(wide).length;
    const whole = [...page.querySelectorAll("img")].filter((e) => e.naturalWidth > 0).length;
    const found = [frame.clientWidth, page.documentElement.scrollWidth, count("figure"), count("figure svg"), whole];
    document.body.appendChild(document.createElement("output")).textContent = found.join(" ");
  }
};</script>"""


def _shows(studied: Path, tmp_path: Path) -> None:
    """All figures show in a browser, wide and narrow, nothing sticks out, no console message, no request."""
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    assert browser, "this test needs a browser: apt-get install -y chromium"
    page = (studied / "index.html").read_text(encoding="utf-8")
    style, inside = "height: 900px; border: 0", html.escape(page)
    frames = "".join(f'<iframe style="width: {w}px; {style}" srcdoc="{inside}"></iframe>' for w in WIDTHS)
    (tmp_path / "frames.html").write_text(f"<!DOCTYPE html><body>{MEASURE}{frames}</body>", encoding="utf-8")
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    command += ["--enable-logging=stderr", f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=20000"]
    command += ["--disable-background-networking", "--disable-component-update", f"--log-net-log={tmp_path / 'net'}"]
    command += ["--dump-dom", (tmp_path / "frames.html").as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    assert "CONSOLE" not in done.stderr
    of_pages = re.compile(r'"network_isolation_key":"file:.*?"url":"([^"]+)"')  # browsers have requests of their own
    assert of_pages.findall((tmp_path / "net").read_text(encoding="utf-8")) == []
    asking = '<!DOCTYPE html><body><img src="http://127.0.0.1:9/x.png"></body>'
    (tmp_path / "frames.html").write_text(asking, encoding="utf-8")
    subprocess.run(command, capture_output=True, timeout=300, check=True)
    assert "http://127.0.0.1:9/x.png" in of_pages.findall((tmp_path / "net").read_text(encoding="utf-8"))
    measured = [[float(each) for each in line.split()] for line in re.findall(r"<output>(.*?)</output>", done.stdout)]
    assert [width for width, *_ in measured] == list(WIDTHS)
    for width, taken, figures, drawings, pictures in measured:
        assert taken <= width
        assert figures == page.count("<figure ")
        assert drawings == page.count("<svg")
        assert pictures == page.count("<img")


@pytest.mark.usefixtures("tiny")
def test_one_statement_trains_only_what_it_needs(genprior: Callable[..., str], tmp_path: Path) -> None:
    text = genprior(*ASKED, "--out", tmp_path / "one", "--statement", "networks")
    assert "1 statements" in text
    assert "to do: 1 trainings and 1 measurements" in text
    assert "it depends" in text  # these images have 8 x 8 pixels


def test_a_folder_of_something_else_is_refused(genprior: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear", encoding="utf-8")
    assert "holds something else" in genprior(*ASKED, "--out", tmp_path / "mine", code=2)
    assert "saturating" in genprior(*ASKED, "--statement", "saturatin", code=2)


def test_a_page_is_not_published_over_something_else(genprior: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "index.html").write_text("mine", encoding="utf-8")
    out = ("--out", tmp_path / "study", "--publish")
    assert "holds something else than a published study" in genprior(*ASKED, *out, tmp_path / "site", code=2)
    assert "is no folder" in genprior(*ASKED, *out, tmp_path / "site" / "index.html", code=2)
    assert "is no folder" in genprior(*ASKED, *out, tmp_path / "site" / "index.html" / "sub", code=2)
    assert "is the study itself" in genprior(*ASKED, *out, tmp_path / "study", code=2)
    assert (tmp_path / "site" / "index.html").read_text(encoding="utf-8") == "mine"
    assert not (tmp_path / "study").exists()


def test_a_page_is_not_published_over_a_study_of_other_images(genprior: Callable[..., str], tmp_path: Path) -> None:
    other = StudyResult(settings=StudySettings(data="mnist"))
    save_result(tmp_path / "site" / "study.json", other)
    refused = genprior(*ASKED, "--out", tmp_path / "study", "--publish", tmp_path / "site", code=2)
    assert "--publish" in refused
    assert "holds another study, of mnist and size demo" in refused
    assert read_result(tmp_path / "site" / "study.json", StudyResult) == other


def test_images_that_are_too_small_for_the_report_are_told_by_the_flag_of_a_study(
    genprior: Callable[..., str], tmp_path: Path
) -> None:
    random = np.random.default_rng(0)
    (tmp_path / "small").mkdir()
    for i in range(20):
        values = random.integers(0, 255, (12, 16, 3), dtype=np.uint8)
        Image.fromarray(values).save(tmp_path / "small" / f"{i}.png")
    asked = ("study", "--data", tmp_path / "small", "--jobs", 1, "--out", tmp_path / "study")
    refused = genprior(*asked, code=2)
    assert "--pixels" in refused
    assert "--size" not in refused
    refused = genprior(*asked, "--pixels", "4x5", "--statement", "networks", code=2)
    assert "nothing that these statements need can be trained" in refused
    assert not (tmp_path / "study").exists()


def test_a_folder_among_its_images_is_refused(genprior: Callable[..., str], tmp_path: Path) -> None:
    refused = genprior("study", "--data", tmp_path, "--out", tmp_path / "study", code=2)
    assert "lies in the folder of images" in refused
    assert not (tmp_path / "study").exists()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("pixels", [28, "32x48"])
@pytest.mark.parametrize("cell", CELLS)
def test_each_cell_has_settings_of_a_run(cell: str, pixels: object, size: str) -> None:
    study = StudySettings.model_validate({"data": "digits", "size": size, "pixels": pixels})
    values = settings_of(CELLS[cell], study, 3)
    config = parse_config(values)
    assert config.seed == 3
    command = training_command(values, "out/run")
    assert command.startswith(f"genprior train {config.family} --")
    source = CELLS[cell].begins_as
    assert source is None or CELLS[source].begins_as is None


@pytest.mark.parametrize("name", MEASURES)
def test_each_measure_is_asked_for_by_a_statement(name: str) -> None:
    assert name in {kind.__name__ for each in STATEMENTS.values() for _, kind in each.needs}


@pytest.mark.parametrize("name", STATEMENTS)
def test_each_statement_needs_what_there_is(name: str) -> None:
    for cell, kind in STATEMENTS[name].needs:
        assert cell in CELLS
        assert kind.__name__ in MEASURES
    assert STATEMENTS[name].advice


def test_the_default_size_of_images_is_that_of_the_report() -> None:
    assert StudySettings(data="digits").sides == (28, 28)
