"""How long an exported page takes in Chromium: to open, for an image, and for answers to a hole.

python benchmarks/web_page.py RUN-web/index.html [--times 10]
"""

import argparse
import shutil
import statistics
from pathlib import Path
from typing import Any

TIMED = """async ([times, hole]) => {
  const {model, facts} = genprior, [channels, height, width] = facts.shape, found = {samples: [], answers: []};
  for (let turn = 0; turn < times; turn++) {
    const numbers = Array.from({length: 16}, (_, i) => 16 * turn + i);
    let began = performance.now();
    const [image] = await model.images(numbers.map((number) => model.draw(number)));
    found.samples.push((performance.now() - began) / 16);
    const known = new Float32Array(height * width).fill(1);
    for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) {
      const middle = Math.max(Math.abs((x + 0.5) / width - 0.5), Math.abs((y + 0.5) / height - 0.5));
      if (hole === "middle" ? middle < 0.2 : y >= Math.floor(height / 2)) known[y * width + x] = 0;
    }
    began = performance.now();
    await model.fill(image, known, 4, turn);
    found.answers.push((performance.now() - began) / 4);
  }
  return found;
}"""


def main() -> None:
    """Prints medians, and the least and the most."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("page", type=Path)
    parser.add_argument("--times", type=int, default=10)
    given = parser.parse_args()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(given.page.absolute().as_uri())
        page.locator("#chosen:not(:empty)").wait_for(timeout=600_000)
        print(f"{browser.version}: {page.inner_text('#state')}")
        for hole in ("middle", "lower half"):
            found: dict[str, Any] = page.evaluate(TIMED, [given.times, hole])
            for what, each in found.items():
                print(f"{hole}, {what}: {statistics.median(each):.0f} ms each ({min(each):.0f} to {max(each):.0f})")
        browser.close()


if __name__ == "__main__":
    main()
