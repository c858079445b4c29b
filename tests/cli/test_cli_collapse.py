"""`genprior probe collapse`: what it prints, draws and refuses."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from PIL import Image

from genprior.diagnosis.one_player import Agreement, Descended, InnerMoment, Judgement, Opposed, OuterMoment
from genprior.plotting import collapse_figures
from genprior.plotting.collapse_figures import write_angle, write_inner, write_outer
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
    assert expected in text.splitlines()[-1]
    assert not Path("run/probe-collapse.json").exists()


def _inner(step: int, modes: int | None, diversity: float, fake_logit: float) -> InnerMoment:
    return InnerMoment(step=step, modes=modes, diversity=diversity, fake_logit=fake_logit)


def _descended(real_logit: float, *moments: InnerMoment) -> Descended:
    return Descended(images_seen=0, real_logit=real_logit, best_real_logit=real_logit, moments=moments)


@pytest.mark.parametrize(("count", "value"), [(1, 0.5), (2, float("nan"))])
def test_any_number_of_ages_and_what_is_not_finite_can_be_drawn(tmp_path: Path, count: int, value: float) -> None:
    inner = _descended(value, _inner(0, 8, 1.0, value), _inner(5, None, value, value))
    fair = Judgement(accuracy=0.5, value=-1.4, error=0.1)
    judged = {"width 1": Judgement(accuracy=value, value=value, error=0.1), "width 2": fair, "again": fair}
    cosines = {"width 1": Agreement(weights=value, images=value), "again": Agreement(weights=0.9, images=0.9)}
    moments = [OuterMoment(step=step, discriminators=judged, cosines_with_strong=cosines) for step in (0, 5)]
    outer = Opposed(images_seen=0, strong="width 2", moments=moments)
    for write, found in ((write_inner, [inner] * count), (write_angle, [outer] * count)):
        write(found, tmp_path / "new" / "figure.png")
        assert (tmp_path / "new" / "figure.png").stat().st_size > 5000
    write_outer(outer, tmp_path / "outer.png")
    assert (tmp_path / "outer.png").stat().st_size > 5000


def test_no_legend_lies_on_curves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Figure] = []
    monkeypatch.setattr(collapse_figures, "_save", lambda figure, path: drawn.append(figure))
    inner = _descended(0.5, _inner(0, 8, 1.0, 0.0), _inner(5, 1, 0.1, 2.0))
    write_inner([inner] * 2, tmp_path / "inner.png")
    assert not [axis for axis in drawn[0].axes if axis.get_legend()]
    texts = {each.get_text() for each in drawn[0].legends[0].get_texts()}
    assert {"variance over that of real images", "modes, over those of the first step", "fakes, mean"} <= texts
