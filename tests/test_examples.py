"""Every example runs, at tiny size."""

import runpy
from pathlib import Path

import pytest

from tiny_run import make_tiny_run

EXAMPLES = Path(__file__).parents[1] / "examples"
TINY = {
    "watch_training.py": {"images": 384, "every": 1},
    "figure_gan.py": {"images": 1536, "count": 50},
    "figure_glo.py": {"data": "digits[:150]", "images": 256, "width": 2, "columns": 3},
    "figure_glow.py": {"updates": 2, "width": 4},
    "figure_vae.py": {"data": "digits[:150]", "images": 256, "width": 8, "side": 3},
    "own_loss.py": {"images": 384},
    "own_operator.py": {"count": 2},
    "own_prior.py": {"data": "digits[:50]", "components": 4},
    "own_statement.py": {},
}


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_example_runs(path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main = runpy.run_path(str(path))["main"]
    arguments = dict(TINY[path.name])
    if "out" in main.__annotations__:
        arguments["out"] = tmp_path / "picture.png"
    if "run" in main.__annotations__:
        arguments["run"] = str(make_tiny_run(tmp_path / "run"))
    main(**arguments)
    assert capsys.readouterr().out
    assert len(path.read_text().splitlines()) <= 50
