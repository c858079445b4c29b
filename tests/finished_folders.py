"""One of each kind of folder that genprior writes, for tests."""

import sys
from pathlib import Path

import pytest

from genprior.cli import main
from genprior.runs.run_events import Alarm, Setback, append_event
from genprior.runs.run_folder import open_run
from genprior.study.study_settings import SIZES
from small_study import TINY
from tiny_judge import make_tiny_judge
from tiny_run import make_tiny_run

QUICK = "--batch-size 2 --starts 1 --iterations 2 --threads 1"
COMMANDS = (
    "train encoder run --images-seen 512 --threads 1",
    "train residual run --images digits[64:] --count 20 --threads 1",
    "evaluate run --held-out digits[64:] --inversions 0 --data-root judges --threads 1 --count 64",
    "diagnose run --data-root judges --threads 1",
    "sample run -n 3 --each --out photos",
    "sample run -n 3 --out run/figures/samples.png",
    f"restore run photos {QUICK} --operator inpaint:box=3 --simulate --out job",
    "degrade photos --batch-size 2 --operator denoise --noise gaussian:sigma=0.1 --out damaged",
    "compare run --held-out digits[64:] --count 2 --threads 1 --out comparison",
    "export run --out export",
    "study --data digits --pixels 8 --statement stronger-later --jobs 1 --out study",
)


def make_folders(folder: Path) -> Path:
    """Makes run, job, damaged, comparison, export, study, judges and photos below `folder`."""
    run = open_run(make_tiny_run(folder / "run", images_seen=1200))
    append_event(run, Alarm(event="alarm", step=60, images_seen=480, verdict="saturated", message="a slope fell"))
    append_event(run, Setback(event="rolled back", step=9, images_seen=72, not_finite=("loss",), back_to=0, rate=0.5))
    run.figures.mkdir()
    make_tiny_judge(folder / "judges")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setitem(SIZES, "demo", TINY)
        for words in COMMANDS:
            patch.setattr(sys, "argv", ["genprior", *words.split()])
            with pytest.raises(SystemExit) as ended:
                main()
            assert ended.value.code in (None, 0, 1), words
    return folder
