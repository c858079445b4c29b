"""The studio as somebody uses it, in a real browser: paint, restore, download; train, kill the server, resume."""

import io
import re
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from genprior.runs.summary import summary
from served_studio import Served, started

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
PATIENCE = 180_000  # milliseconds, on a busy machine
# Playwright's own loop must not stay in the process that runs the other tests: each visit is a process of its own.
VISIT = """
import shutil, sys
from playwright.sync_api import sync_playwright
with sync_playwright() as playwright:
    browser = playwright.chromium.launch(executable_path=sys.argv[2], args=["--no-sandbox", "--disable-gpu"])
    page = browser.new_page(viewport={"width": 1400, "height": 1000})
    page.set_default_timeout(%d)
    foreign = []
    own = (sys.argv[1], "data:", "blob:")
    page.on("request", lambda each: None if each.url.startswith(own) else foreign.append(each.url))
    page.goto(sys.argv[1])
    page.get_by_role("tab", name="Restore").wait_for()
    try:
%s
    except Exception:
        print("the page says", page.inner_text("body"))
        raise
    print("foreign", foreign)
    browser.close()
"""


def visit(address: str, steps: str, *arguments: str) -> str:
    """Goes through steps on the page; returns what they print."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    assert browser, "this test needs a browser: apt-get install -y chromium"
    script = VISIT % (PATIENCE, "\n".join(f"        {line}" for line in steps.strip().splitlines()))
    words = [sys.executable, "-c", script, address, browser, *arguments]
    done = subprocess.run(words, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "foreign []" in done.stdout, done.stdout
    return done.stdout


RESTORE = """
counted = "document.querySelector('#painter .painter-count').textContent.includes('pixels missing')"
page.wait_for_function(counted)
box = page.locator("#painter canvas").bounding_box()
x, y, side = box["x"], box["y"], box["width"] / 8
page.mouse.move(x + 3.5 * side, y + 2.5 * side)
page.mouse.down()
page.mouse.move(x + 3.5 * side, y + 5.5 * side, steps=8)
page.mouse.up()
print("told", page.locator(".painter-count").inner_text())
for change in (
    lambda: page.set_viewport_size({"width": 400, "height": 700}),
    lambda: page.set_viewport_size({"width": 1400, "height": 1000}),
    lambda: page.emulate_media(color_scheme="dark"),
    lambda: page.get_by_role("tab", name="Train").click(),
    lambda: page.get_by_role("tab", name="Restore").click(),
    lambda: page.evaluate("document.dispatchEvent(new Event('visibilitychange'))"),
    lambda: (page.locator("#restore-run input").click(), page.keyboard.press("Enter")),
):
    change()
    page.wait_for_timeout(700)
    print("then", page.locator(".painter-count").inner_text())
page.click("#restore-go")
page.wait_for_selector("#restore-answer .candidate")
page.wait_for_function("document.querySelector('#restore-answer .verdict').textContent.includes('64 draws')")
print("shares", page.locator("#restore-answer .candidate figcaption").all_inner_texts())
for name in ("result", "mask"):
    with page.expect_download() as found:
        page.click(f"#{name}-file")
    found.value.save_as(f"{sys.argv[3]}/{name}.png")
print("command", page.locator(".command textarea").first.input_value())
page.get_by_label("a sample of the run").first.check()
page.wait_for_function("document.querySelector('.painter-count').textContent.startsWith('0 of')")
"""


def test_a_painted_hole_is_restored_and_downloaded(studio: Served, tmp_path: Path) -> None:
    said = visit(studio.address, RESTORE, str(tmp_path))
    missing, pixels = map(int, re.search(r"told (\d+) of (\d+) pixels missing", said).groups())  # type: ignore[union-attr]
    assert re.findall(r"then (\d+) of", said) == [str(missing)] * 7
    shares = [int(each) for each in re.findall(r"'(\d+)%'", said)]
    assert shares
    assert sum(shares) == pytest.approx(100, abs=2)
    command = re.search(r"command (.*)", said)[1].split()  # type: ignore[index]
    given = np.asarray(Image.open(command[3]))
    result, mask = (np.asarray(Image.open(tmp_path / f"{name}.png")) for name in ("result", "mask"))
    assert (mask == 0).sum() == missing > 5
    assert result.size == given.size == pixels
    np.testing.assert_array_equal(result[mask > 0], given[mask > 0])
    assert "--operator inpaint --mask" in " ".join(command)


TRAIN = """
page.wait_for_selector("#train-go")  # open at once: there is no run yet
page.get_by_role("tab", name="Restore").click()
page.wait_for_function("document.querySelector('#restore-message').textContent.includes('There is no run yet')")
page.get_by_role("tab", name="Train").click()
page.locator("#run-name textarea, #run-name input").first.fill("clicked")
page.locator("#minutes input").first.fill("60")  # more than two visits take on any machine
page.click("#train-go")
begun = "/clicked\\s*being trained/.test(document.querySelector('#watched')?.textContent)"
page.wait_for_function(begun)
page.reload()  # the page was made before there was a run
page.wait_for_function(begun)
for room in ("Restore", "Train"):  # its folder may not be there yet: what is shown stays among what is offered
    page.get_by_role("tab", name=room).click()
page.wait_for_timeout(8000)
print("refused", page.locator(".toast-body").count())
"""
RESUME = """
page.get_by_role("tab", name="Train").click()
page.wait_for_function("document.querySelector('#watched').textContent.includes('clicked')")
page.wait_for_function("document.querySelector('#watched').textContent.includes('at equilibrium')")
page.click("#train-stop")
page.wait_for_function("document.querySelector('#watched').textContent.includes('not being trained now')")
page.click("#train-resume")
page.wait_for_function("!document.querySelector('#watched').textContent.includes('not being trained now')")
page.click("#train-stop")
page.wait_for_function("document.querySelector('#watched').textContent.includes('not being trained now')")
"""


def learned(run: Path) -> int:
    """Returns how many bytes the record of a run has."""
    steps = run / "steps.jsonl"
    return steps.stat().st_size if steps.is_file() else 0


def test_a_training_outlives_the_server_and_is_resumed(home: Path) -> None:
    with started(home) as (address, process):
        assert "refused 0" in visit(address, TRAIN)
        process.kill()
        process.wait()
    before, end = learned(home / "clicked"), time.monotonic() + 300
    while learned(home / "clicked") == before:  # nobody serves, and it learns
        assert time.monotonic() < end
        time.sleep(0.2)
    with started(home, str(home / "clicked")) as (address, _):
        visit(address, RESUME)
    assert "not finished" in str(summary(home / "clicked")["state"])


ZIPPED = """
page.get_by_role("tab", name="Train").click()
import base64
from pathlib import Path
def drop(*paths):
    sent = [(Path(path).name, base64.b64encode(Path(path).read_bytes()).decode()) for path in paths]
    make = '''(sent) => { const all = new DataTransfer(); for (const [name, text] of sent)
        all.items.add(new File([Uint8Array.from(atob(text), (each) => each.charCodeAt(0))], name,
            { type: name.endsWith("zip") ? "application/zip" : "image/png" }));
        return all; }'''
    page.dispatch_event("#zip-upload button", "drop", {"dataTransfer": page.evaluate_handle(make, sent)})
drop(sys.argv[4], sys.argv[5])
page.wait_for_function("document.querySelector('#train-message').textContent.includes('2 pictures')")
print("dropped", page.locator("#images textarea, #images input").first.input_value())
drop(sys.argv[4], sys.argv[3])
page.wait_for_function("document.querySelector('#train-message').textContent.includes('one zip, or pictures alone')")
with page.expect_file_chooser() as chooser:
    page.click("#zip-upload button")
chooser.value.set_files(sys.argv[3])
page.wait_for_function("document.querySelector('#train-message').textContent.includes('160 pictures')")
page.click("#look-at")
page.wait_for_function("[...document.querySelectorAll('textarea')].some(each => /count\\s+160/.test(each.value))")
page.get_by_label("mixture: ").check()
page.wait_for_function("document.querySelector('#preset input').value === 'mixture'")
page.locator("#run-name textarea, #run-name input").first.fill("zipped")
page.locator("#minutes input").first.fill("0.17")
page.click("#train-go")
ended = "/zipped.*not being trained now.*finished/s.test(document.querySelector('#watched').textContent)"
page.wait_for_function(ended, timeout=400_000)
page.get_by_role("tab", name="Restore").click()
page.wait_for_timeout(2000)
page.locator("#restore-run input").click()
page.get_by_role("option", name="zipped", exact=True).click()
counted = "document.querySelector('#painter .painter-count').textContent"
page.wait_for_function(counted + ".includes('of 256 pixels missing')")
"""
COMPARED = """
page.wait_for_function("document.querySelector('#painter .painter-count').textContent.includes('pixels missing')")
page.click("#painter .painter-box")
page.locator("#compare-with input").click()
page.get_by_role("option", name="twin").click()
page.click("#restore-go")
slider = page.locator("#restore-answer .compared input")
slider.wait_for()
slider.focus()
slider.press("Home")
print("over", page.evaluate("getComputedStyle(document.querySelector('.compared .over')).clipPath"))
slider.press("End")
print("over", page.evaluate("getComputedStyle(document.querySelector('.compared .over')).clipPath"))
page.get_by_role("tab", name="Study and reports").click()
page.click("#report-go")
page.wait_for_selector("iframe.page")
page.frame_locator("iframe.page").get_by_role("heading").first.wait_for()
print("report", page.locator("iframe.page").get_attribute("src"))
"""


def zip_of_pictures(path: Path) -> Path:
    """Makes an archive of 160 pictures of 16 x 16 pixels in colour."""
    generator = np.random.default_rng(0)
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(160):
            picture = io.BytesIO()
            Image.fromarray(generator.integers(0, 256, (16, 16, 3), np.uint8)).save(picture, "PNG")
            archive.writestr(f"{number}.png", picture.getvalue())
    return path


def test_a_zip_is_sent_looked_at_and_trained_on(studio: Served, tmp_path: Path) -> None:
    archive, two = zip_of_pictures(tmp_path / "pictures.zip"), [tmp_path / name for name in ("a.png", "b.png")]
    for path in two:
        Image.new("RGB", (16, 16), "red").save(path)
    said = visit(studio.address, ZIPPED, str(archive), *map(str, two))
    assert re.search(r"dropped .*/uploads/\w+/pictures\.zip", said)
    found = summary(studio.home / "zipped")
    assert str(found["state"]).startswith("finished")
    assert "pictures.zip: " in str(found["data"])


def test_two_runs_are_compared_and_a_report_is_written_and_shown(studio: Served) -> None:
    shutil.copytree(studio.home / "digits", studio.home / "twin", dirs_exist_ok=True)
    said = visit(studio.address, COMPARED)
    assert re.findall(r"over inset\((.*)\)", said) == ["0px 100% 0px 0px", "0px 0% 0px 0px"]
    assert "report /pages/0/digits/report.html" in said
    assert "<h1" in (studio.home / "digits" / "report.html").read_text()
