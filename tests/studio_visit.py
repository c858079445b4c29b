"""A visit to the studio in a real browser, a process of its own: Playwright's loop must not stay beside other tests."""

import shutil
import subprocess
import sys

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
PATIENCE = 90_000  # milliseconds, on a busy machine
SCRIPT = """
import shutil, sys
from playwright.sync_api import sync_playwright
with sync_playwright() as playwright:
    browser = playwright.chromium.launch(executable_path=sys.argv[2], args=["--no-sandbox", "--disable-gpu"])
    page = browser.new_page(viewport={"width": %d, "height": 1000}, color_scheme="%s")
    page.set_default_timeout(%d)
    foreign, faults = [], []
    own = (sys.argv[1], "data:", "blob:")
    page.on("request", lambda each: None if each.url.startswith(own) else foreign.append(each.url))
    page.on("pageerror", lambda each: faults.append(str(each)))
    page.goto(sys.argv[1])
    page.wait_for_selector("%s")
%s
    print("foreign", foreign, "faults", faults)
    browser.close()
"""


def visit_in_browser(
    address: str, steps: str, *arguments: str, ready: str, width: int = 1400, scheme: str = "light"
) -> str:
    """Goes through steps on the page once `ready` is there; returns what they print.

    Nothing may be asked of elsewhere, and no script of the page may fail.
    """
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    assert browser, "this test needs a browser: apt-get install -y chromium"
    lines = "\n".join(f"    {line}" for line in steps.strip().splitlines())
    words = [sys.executable, "-c", SCRIPT % (width, scheme, PATIENCE, ready, lines), address, browser, *arguments]
    done = subprocess.run(words, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "foreign [] faults []" in done.stdout, done.stdout
    return done.stdout
