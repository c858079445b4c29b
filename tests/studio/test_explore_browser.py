"""The room Explore as somebody uses it who has a keyboard alone: a map, a picture of it, on from there, and a row."""

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from served_studio import Served
from studio_visit import visit_in_browser

EXPLORE = """
page.get_by_role("tab", name="Explore").click()
page.wait_for_function("document.querySelector('#explore-latents').textContent.includes('Latents are')")
print("before", page.locator("#explore-message").inner_text(), page.locator("#map-here").is_visible())
page.focus("#map-go")
page.keyboard.press("Enter")
cells = "document.querySelectorAll('#latent-map button')"
page.wait_for_function(cells + ".length == 25")
page.locator("#latent-map button").nth(12).focus()
page.keyboard.press("ArrowRight")
page.keyboard.press("ArrowUp")
print("named", page.evaluate("document.activeElement.getAttribute('aria-label')"))
page.keyboard.press("Enter")
page.wait_for_function("document.querySelectorAll('#map-nearest img').length == 6")
print("pressed", page.evaluate(cells + "[8].getAttribute('aria-pressed')"))
first = page.locator("#latent-map img").nth(8).get_attribute("src")
page.focus("#map-here:not([disabled])")
page.keyboard.press("Enter")
page.wait_for_function(cells + "[12].firstChild.src == '" + first + "'")
with page.expect_download() as found:
    page.click("#map-file:not([disabled])")
found.value.save_as(f"{sys.argv[3]}/map.png")
boxes = "Array.from(document.querySelectorAll('.command textarea')).map((each) => each.value)"
print("command", next(each for each in page.evaluate(boxes) if "--around" in each))
page.click("#row-go")
page.wait_for_function("document.querySelectorAll('#latent-row button').length == 8")
nameless = "!each.textContent.trim() && !each.getAttribute('aria-label') && !each.title"
seen = "Array.from(document.querySelectorAll('button')).filter((each) => each.checkVisibility() && " + nameless + ")"
print("unnamed", page.evaluate(seen + ".length"))
page.locator("#latent-row button").nth(3).click()
box = "document.querySelector('#map-nearest')?.getBoundingClientRect()"
page.wait_for_function(box + "?.height > 50 && " + box + ".bottom > 0 && " + box + ".top < innerHeight")  # it is seen
print("wide", page.evaluate("document.documentElement.scrollWidth"))
"""


def test_a_map_is_walked_by_keyboard(studio: Served, tmp_path: Path, genprior: Callable[..., str]) -> None:
    said = visit_in_browser(studio.address, EXPLORE, str(tmp_path), ready="#restore-go", width=400, scheme="dark")
    assert re.search(r"before Press Show the map.* False", said)  # nothing stands there that has nothing to show
    assert "named Row 2, column 4" in said
    assert "pressed true" in said
    assert "unnamed 0" in said
    assert int(re.search(r"wide (\d+)", said)[1]) <= 400  # type: ignore[index]
    words = shlex.split(re.search(r"command (.*)", said)[1])  # type: ignore[index]
    assert "--latents" in words
    genprior(*words[1:])
    again = Path(words[words.index("--out") + 1])
    np.testing.assert_array_equal(*(np.asarray(Image.open(path)) for path in (again, tmp_path / "map.png")))
