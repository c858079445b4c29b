"""`genprior probe equilibrium`: what it prints, writes and refuses."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from genprior.diagnosis.duality import Moment, Response, cross_entropy_terms
from genprior.plotting.drawing import BLUE, ORANGE
from genprior.probes.equilibrium_found import Found, title
from genprior.probes.equilibrium_probe import EquilibriumProbe
from genprior.runs.execute import execute
from genprior.runs.prepare import new_run
from small import points_config
from tiny_run import make_tiny_run

Command = Callable[..., str]
QUICK = ["--steps", 3, "--threads", 1]


def _count(path: Path, colour: str) -> int:
    """Pixels of about that colour."""
    wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    with Image.open(path) as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    return int((np.abs(pixels - wanted).max(axis=2) < 30).sum())


def test_it_tells_a_verdict_and_writes_numbers_and_a_figure(genprior: Command) -> None:
    make_tiny_run(Path("run"))
    text = genprior("probe", "equilibrium", "run", *QUICK)
    saved = json.loads(Path("run/probe-equilibrium.json").read_text())
    assert f"Verdict: {saved['verdict']}" in text
    assert "100 %  all measured" in text
    assert "the duality gap is" in text.lower()
    assert "Path angle: cosine" in text
    assert "numbers: run/probe-equilibrium.json" in text
    for colour in (BLUE, ORANGE):
        assert _count(Path("run/figures/probe-equilibrium.png"), colour) > 500


def test_the_same_command_gives_the_same_numbers_and_overwrites_only_when_asked(genprior: Command) -> None:
    make_tiny_run(Path("run"))
    words = ["probe", "equilibrium", "run", *QUICK]
    genprior(*words)
    first = Path("run/probe-equilibrium.json").read_bytes()
    assert "exists; replace it with --overwrite" in genprior(*words, code=2)
    genprior(*words, "--overwrite", "--age", 0)  # the default: the only age before the end
    assert Path("run/probe-equilibrium.json").read_bytes() == first


def test_an_interrupted_command_leaves_no_figure_of_other_numbers(
    genprior: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_tiny_run(Path("run"))
    words = ["probe", "equilibrium", "run", *QUICK]
    genprior(*words)

    def stopped(self: EquilibriumProbe) -> Iterator[tuple[float, str]]:
        raise KeyboardInterrupt
        yield

    monkeypatch.setattr(EquilibriumProbe, "_respond_down", stopped)
    genprior(*words, "--overwrite", code=130)
    saved = json.loads(Path("run/probe-equilibrium.json").read_text())
    assert saved["complete"] is False
    assert saved["verdict"] is None
    assert not Path("run/figures/probe-equilibrium.png").exists()


def test_the_title_has_the_name_of_the_run_and_no_path(tmp_path: Path) -> None:
    up, down = (Response(rises, [_moment(0), _moment(100)]) for rises in (True, False))
    found = Found(up=up, down=down, at_once=4, finished=["D'", "G'"])
    lines = title(found, "r1-0").splitlines()
    assert lines[0] == "r1-0: close to equilibrium"
    assert lines[1] == (
        "duality gap of V 0.000 or more, Jensen-Shannon divergence of sets of 4 images 0.000 nats or more"
    )


def _moment(step: int) -> Moment:
    terms = cross_entropy_terms(torch.zeros(2), torch.zeros(2))
    return Moment(step, terms, terms, terms)


BAD: dict[str, tuple[list[str], str]] = {
    "no run": (["nowhere"], "RUN: nowhere is not a run"),
    "steps": (["run", "--steps", "0"], "--steps: expected at least 1, got 0"),
    "age": (["run", "--age", "5"], "--age: expected an age kept before the last checkpoint (0), got 5"),
    "a word": (["run", "--steps", "many"], "Invalid value for '--steps'"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line(genprior: Command, case: str) -> None:
    make_tiny_run(Path("run"))
    words, expected = BAD[case]
    text = genprior("probe", "equilibrium", *words, code=2)
    assert expected in text
    assert len(text.splitlines()) == 1
    assert not Path("run/probe-equilibrium.json").exists()


def test_a_loss_without_a_scale_has_a_figure_without_generators(genprior: Command) -> None:
    prepared = new_run(Path("critic"), points_config(loss="wasserstein", penalty=["wgan-gp"]))
    for _ in execute(prepared.run, prepared.learner, prepared.data):
        pass
    text = genprior("probe", "equilibrium", "critic", *QUICK)
    assert "Verdict: not known (the loss wasserstein leaves the scale of D's logits open" in text
    assert _count(Path("critic/figures/probe-equilibrium.png"), BLUE) > 500
