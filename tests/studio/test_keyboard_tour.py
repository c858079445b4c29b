"""Every room by keyboard alone: each control has a name and a visible focus."""

import json
import re

import pytest

from served_studio import Served
from studio_visit import visit_in_browser

TOUR = """
import json
told = page.context.new_cdp_session(page)
def named():
    found = told.send("Runtime.evaluate", {"expression": "document.activeElement"})["result"]["objectId"]
    asked = {"objectId": found, "fetchRelatives": False}
    node = told.send("Accessibility.getPartialAXTree", asked)["nodes"][0]
    return [node.get(what, {}).get("value", "") for what in ("role", "name")]
SEEN = '''(() => {
    const each = document.activeElement, ring = each.closest(".wrap:has(> .wrap-inner)") ?? each;
    const isOutlined = (part) => getComputedStyle(part).outlineStyle !== "none";
    return [each === document.body, isOutlined(each) || isOutlined(ring)];
})()'''
for change in json.loads(sys.argv[4]):
    exec(change)
page.wait_for_timeout(800)
page.evaluate("document.activeElement.blur()")
page.locator("h1").click()
tour = []
while len(tour) < 90:
    page.keyboard.press("Tab")
    left, *seen = page.evaluate(SEEN)
    if left:
        break
    tour.append([*named(), *seen])
    if tour[-1][0].lower() == "iframe":
        break
print("tour", json.dumps(tour))
"""
PAINTED = "page.wait_for_function(\"document.querySelector('.painter-count').textContent.includes('missing')\")"
ROOMS = {
    "Restore": [PAINTED, "page.get_by_label('a picture of mine').first.check()"],
    "Explore": ["page.click('#map-go')", "page.locator('#latent-map button').nth(24).wait_for()"],
    "Train": ["page.locator('#more-choices button').first.click()"],
    "Study and reports": [],
}


@pytest.mark.parametrize("room", ROOMS)
def test_every_control_has_a_name_and_a_visible_focus(studio: Served, room: str) -> None:
    enter = [f"page.get_by_role('tab', name={room!r}).click()", *ROOMS[room]]
    said = visit_in_browser(studio.address, TOUR, "", json.dumps(enter), ready="#restore-go", width=1000)
    tour = json.loads(re.search(r"tour (.*)", said)[1])  # type: ignore[index]
    assert len(tour) > 5
    assert [(role, name) for role, name, *_ in tour if not name.strip()] == []
    assert [(role, name) for role, name, is_seen in tour if not is_seen] == []
