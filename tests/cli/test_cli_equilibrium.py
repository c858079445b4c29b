"""`genprior probe equilibrium`: what it prints, writes and refuses."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image

from genprior.diagnosis.equilibrium_numbers import Bound, GameValue, Response, ResponseMoment
from genprior.diagnosis.equilibrium_verdict import LEVEL
from genprior.probes import equilibrium_probe
from genprior.probes.equilibrium_found import EquilibriumResult, EquilibriumSettings, title
from genprior.progress import Stage
from genprior.runs.execute import execute
from genprior.runs.prepare import new_run
from small import points_config
from tiny_run import make_tiny_run

Command = Callable[..., str]
QUICK = ["--steps", 3, "--threads", 1]


def test_it_tells_a_verdict_and_writes_numbers_and_a_figure(genprior: Command) -> None:
    make_tiny_run(Path("run"))
    text = genprior("probe", "equilibrium", "run", *QUICK)
    saved = json.loads(Path("run/probe-equilibrium.json").read_text())
    assert f"Verdict: {saved['verdict']}" in text
    assert "100 %  all measured" in text
    assert "the duality gap is" in text.lower()
    assert "Path angle: cosine" in text
    assert "numbers: run/probe-equilibrium.json" in text
    assert "figure: run/figures/probe-equilibrium.png" in text
    with Image.open("run/figures/probe-equilibrium.png") as picture:
        assert min(picture.size) > 300


def test_the_same_command_gives_the_same_numbers_and_overwrites_only_when_asked(genprior: Command) -> None:
    make_tiny_run(Path("run"))
    words = ["probe", "equilibrium", "run", *QUICK]
    genprior(*words)
    first = Path("run/probe-equilibrium.json").read_bytes()
    assert "exists; replace it with --overwrite" in genprior(*words, code=2)
    genprior(*words, "--overwrite")
    assert Path("run/probe-equilibrium.json").read_bytes() == first


def test_an_interrupted_command_is_resumed(genprior: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    make_tiny_run(Path("run"))
    words = ["probe", "equilibrium", "run", *QUICK]
    genprior(*words)
    whole = Path("run/probe-equilibrium.json").read_bytes()
    assert Path("run/figures/probe-equilibrium.png").exists()

    def stopped(*_: object) -> Iterator[Stage]:
        raise KeyboardInterrupt
        yield

    with monkeypatch.context() as patched:
        patched.setitem(equilibrium_probe._PARTS, "best_generator", stopped)
        text = genprior(*words, "--overwrite", code=130)
    assert text.endswith("; finish with: genprior probe equilibrium run --steps 3 --threads 1\n")
    saved = json.loads(Path("run/probe-equilibrium.part.json").read_text())
    assert saved["is_complete"] is False
    assert saved["verdict"] is None
    assert not Path("run/figures/probe-equilibrium.png").exists()
    genprior(*words)
    assert Path("run/probe-equilibrium.json").read_bytes() == whole


def test_the_title_has_the_name_of_the_run_and_no_path(tmp_path: Path) -> None:
    nothing = GameValue(value=LEVEL, standard_error=0.0)
    moments = [ResponseMoment(step=step, fit=nothing, validation=nothing, judged=nothing) for step in (0, 100)]
    up, down = (Response(rises=rises, moments=moments, late_noise=0.0) for rises in (True, False))
    gap = Bound(value=0.0, standard_error=0.0, ahead=0.0)
    found = EquilibriumResult(
        settings=EquilibriumSettings(run=tmp_path / "r1-0"),
        images_seen=100,
        earlier=None,
        adam={},
        held_out="others",
        judged_images=10,
        images_at_once=4,
        verdict_not_known=None,
        path_not_known=None,
        best_discriminator=up,
        best_generator=down,
        duality_gap=gap,
        played_duality_gap=gap,
    )
    lines = title(found).splitlines()
    assert lines[0] == "r1-0: close to equilibrium"
    assert lines[1] == (
        "duality gap of V 0.000 or more, Jensen-Shannon divergence of sets of 4 images 0.000 nats or more"
    )


BAD: dict[str, tuple[list[str], str]] = {
    "no run": (["nowhere"], "RUN: nowhere is not a run"),
    "steps": (["run", "--steps", "0"], "--steps: input should be greater than or equal to 1, got 0"),
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
    assert Path("critic/figures/probe-equilibrium.png").stat().st_size > 5000
