"""`genprior probe collapse`: what it prints, draws and refuses."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from small import points_config
from tiny_run import make_tiny_run

Command = Callable[..., str]
QUICK = ["--steps", 2, "--threads", 1]
FIGURES = [f"run/figures/probe-collapse-{name}.png" for name in ("inner", "outer", "angle")]


def _make_points(path: Path) -> None:
    from genprior.runs.execute import execute
    from genprior.runs.prepare import new_run

    prepared = new_run(path, points_config())
    for _ in execute(prepared.run, prepared.learner, prepared.data):
        pass


def test_a_probe_tells_three_things_and_draws_them(genprior: Command) -> None:
    _make_points(Path("run"))
    text = genprior("probe", "collapse", "run", *QUICK)
    for words in (
        "inner problem: G alone, non-saturating, against D at",
        "100 %",
        "Inner problem.",
        "Outer problem.",
        "Direction.",
    ):
        assert words in text
    saved = json.loads(Path("run/probe-collapse.json").read_text())
    assert saved["inner"]["told"] in text
    for path in FIGURES:
        with Image.open(path) as picture:
            assert min(picture.size) > 300
        assert f"figure: {path}" in text
    first = Path("run/probe-collapse.json").read_bytes()
    assert "exists; replace it with --overwrite" in genprior("probe", "collapse", "run", *QUICK, code=2)
    genprior("probe", "collapse", "run", *QUICK, "--overwrite")
    assert Path("run/probe-collapse.json").read_bytes() == first


BAD: dict[str, tuple[list[str], str]] = {
    "no run": (["nowhere"], "RUN: nowhere is not a run"),
    "ages": (["run", "--ages", "0"], "--ages: input should be greater than or equal to 1, got 0"),
    "steps": (["run", "--steps", "0"], "--steps: input should be greater than or equal to 1, got 0"),
    "a word": (["run", "--steps", "many"], "Invalid value for '--steps'"),
    "loss": (["run", "--loss", "hinges"], "--loss: unknown loss 'hinges', did you mean 'hinge'?"),
    "judge": (["run", "--judge", "nothing", "--steps", "1"], "--judge: unknown data set"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line(genprior: Command, case: str) -> None:
    make_tiny_run(Path("run"))
    words, expected = BAD[case]
    text = genprior("probe", "collapse", *words, code=2)
    assert expected in text
    assert len(text.splitlines()) == 1
    assert not Path("run/probe-collapse.json").exists()
