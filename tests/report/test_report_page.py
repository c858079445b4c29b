"""The report in a browser: its figures are there, and nothing sticks out at the side."""

import html
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from genprior.report.page import page_of
from reported import gan_rows, made_up

WIDTHS = (1400, 400)
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
# Frames have the width that is asked for, whatever a browser allows its windows; the page around them measures them.
MEASURE = """<script>onload = () => {
  for (const frame of document.querySelectorAll("iframe")) {
    const page = frame.contentDocument, names = ["figure", "figure svg", "img"];
    const shown = (name) => [...page.querySelectorAll(name)].filter((e) => e.getBoundingClientRect().width > 50).length;
    const letters = [...page.querySelectorAll("svg text")].map((e) => e.getBoundingClientRect().height);
    const found = [frame.clientWidth, page.documentElement.scrollWidth, ...names.map(shown), Math.min(...letters)];
    document.body.appendChild(document.createElement("output")).textContent = found.join(" ");
  }
};</script>"""


def _browser() -> str:
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    assert found, "this test needs a browser: apt-get install -y chromium"
    return found


def _dump(path: Path, profile: Path) -> str:
    """The page as a browser has it once all is loaded."""
    command = [_browser(), "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    command += [f"--user-data-dir={profile}", "--virtual-time-budget=20000", "--dump-dom", path.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=True).stdout


def _measured(page: str, folder: Path) -> list[list[float]]:
    """For each width: the width, what the page takes, how many figures, drawings and pictures show, least letters."""
    frames = "".join(
        f'<iframe style="width: {width}px; height: 900px; border: 0" srcdoc="{html.escape(page)}"></iframe>'
        for width in WIDTHS
    )
    (folder / "frames.html").write_text(f"<!DOCTYPE html><body>{MEASURE}{frames}</body>")
    dump = _dump(folder / "frames.html", folder / "profile")
    return [[float(number) for number in line.split()] for line in re.findall(r"<output>(.*?)</output>", dump)]


LONG = "a-run-with-a-name-that-is-much-longer-than-any-column-could-ever-be-" * 2


@pytest.mark.parametrize(("count", "plots"), [(1, 7), (3, 7), (12, 0)])
def test_figures_show_and_nothing_sticks_out(count: int, plots: int, tmp_path: Path) -> None:
    ages = {images: torch.rand(10, 1, 8, 8) for images in (0, 1152)}
    rows = gan_rows() if plots else []
    runs = [made_up(f"run {i}", ages=ages, rows=rows) for i in range(count)]
    runs[-1] = replace(runs[-1], name=LONG)
    measured = _measured(page_of(runs), tmp_path)
    assert [line[0] for line in measured] == list(WIDTHS)
    for width, taken, figures, drawings, pictures, letters in measured:
        assert taken <= width
        assert (figures, drawings, pictures) == ((plots + 3) * count, (plots + 1) * count, 3 * count)
        assert letters >= 9


def test_what_sticks_out_is_noticed(tmp_path: Path) -> None:
    page = page_of([made_up()]).replace("</main>", '<p style="width: 600px">wide</p></main>')
    (_, at_1400, *_), (_, at_400, *_) = _measured(page, tmp_path)
    assert at_1400 <= 1400
    assert at_400 > 400
