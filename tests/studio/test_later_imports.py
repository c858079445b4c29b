"""What the page does not need is not loaded while it is built, and nothing computes that nobody looks at."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from genprior.studio import later_imports

BUILD = """
import sys
from pathlib import Path
from genprior.studio.allowed_folders import AllowedFolders
from genprior.studio.later_imports import SLOW
from genprior.studio.studio_page import studio_page
home = Path(sys.argv[1])
page = studio_page(AllowedFolders(home, (home,)))
print("loaded", [name for name in SLOW if name in sys.modules])
loads = [each for each in page.fns.values() for _, event in each.targets if event == "load"]
print("loads", len(loads))
print("timers", [each.active for each in page.blocks.values() if type(each).__name__ == "Timer"])
"""


@pytest.mark.parametrize("has_run", [True, False])
def test_the_page_is_built_without_what_only_answers_need(tmp_path: Path, tiny_run: Path, has_run: bool) -> None:
    if has_run:
        shutil.copytree(tiny_run, tmp_path / "run")
    done = subprocess.run([sys.executable, "-c", BUILD, str(tmp_path)], capture_output=True, text=True, check=False)
    assert "loaded []" in done.stdout, done.stdout + done.stderr
    assert "loads 3" in done.stdout
    # What a room shows is drawn while somebody looks alone: a page without runs opens in Train.
    assert f"timers [{not has_run}]" in done.stdout


def test_they_are_loaded_once() -> None:
    thread = later_imports.begin_later_imports()
    assert later_imports.begin_later_imports() is thread
    thread.join(120)
    assert set(later_imports.SLOW) <= set(sys.modules)
