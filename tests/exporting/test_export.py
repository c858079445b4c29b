"""Exported networks compute what torch does, for any batch, without this package; what is wrong is one line."""

import json
import math
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from genprior.errors import GenpriorError
from genprior.exporting import onnx_export
from genprior.exporting.export_commands import EXPERIMENTS
from genprior.exporting.export_results import EXPORT, Export, ExportSettings
from genprior.exporting.onnx_export import ExportedPart, export_stages, largest_difference, traced
from genprior.families import FAMILIES
from genprior.progress import result_of
from genprior.runs.execute import execute
from genprior.runs.experiment import carry_out
from genprior.runs.prepare import new_run
from genprior.runs.trained_prior import load_prior
from genprior.stored_files import read_model

SMALL = {
    "gan": {"model": "pyramid:generator_width=4,discriminator_width=4", "latent_size": 4},
    "glo": {"model": "dcgan:generator_width=4", "latent_size": 4},
    "vae": {"model": "conv:width=4", "latent_size": 4},
    "glow": {"levels": 1, "steps": 2, "width": 8},
    "mixture": {"components": 2, "rank": 2},
    "flow-matching": {"model": "unet:width=4,levels=2,blocks=1,wiener=3"},
}
SHAPES = {"gan": "16x24", "flow-matching": "16x24"}  # oblong, where the networks can
FILES = {"flow-matching": {"generator", "denoiser"}, "gan": {"generator"}, "glo": {"generator"}, "glow": {"generator"}}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Makes a run of a family, a few steps long; in colour where images are oblong."""

    def make(family: str, model: str | None = None) -> Path:
        folder = tmp_path_factory.mktemp(family) / "run"
        size = SHAPES.get(family, "8")
        common = {"data": "digits[:32]", "held_out": 0, "size": size, "batch_size": 8, "images_seen": 24, "threads": 1}
        colour = {"channels": 3} if family in SHAPES else {}
        values = {"family": family, **common, **colour, "precision": "float32", **SMALL[family]}
        values |= {"model": model} if model else {}
        prepared = new_run(folder, FAMILIES[family].model_validate(values))
        result_of(execute(prepared.run, prepared.learner, prepared.data))
        return folder

    return make


@pytest.mark.parametrize("family", [name for name in FAMILIES if name != "mixture"])
def test_the_files_of_every_family_compute_what_torch_does(
    family: str, trained: Callable[[str], Path], tmp_path: Path
) -> None:
    run = trained(family)
    settings = ExportSettings(run=run, out=tmp_path / "out")
    result_of(carry_out(EXPERIMENTS["export"], settings))
    found = read_model(tmp_path / "out" / EXPORT, Export, "run")
    assert {Path(each.file).stem for each in found.files} == FILES.get(family, {"generator", "encoder"})
    prior = load_prior(run)
    assert (found.image_shape, found.latent_size) == (prior.image_shape, prior.latent_size)
    session = onnxruntime.InferenceSession(tmp_path / "out" / "generator.onnx")
    for count in (1, 2, 16):
        z = torch.randn(count, prior.latent_size, generator=torch.Generator().manual_seed(count))
        (x,) = session.run(None, {"z": z.numpy()})
        np.testing.assert_allclose(x, prior.decode(z).numpy(), atol=1e-4)


@pytest.mark.parametrize("evaluations", [1, 2])
def test_few_steps_take_batches_of_every_size(evaluations: int, trained: Callable[..., Path]) -> None:
    prior = load_prior(trained("gan", f"few-steps:width=4,levels=1,blocks=1,evaluations={evaluations}"))
    part = onnx_export.parts_of(prior)["generator"]
    assert largest_difference(traced(part, prior.networks), part) < 1e-4


def test_a_way_back_takes_masks_and_a_denoiser_a_level_for_each_image(trained: Callable[[str], Path]) -> None:
    for family, name, inputs in (("vae", "encoder", {"x", "known"}), ("flow-matching", "denoiser", {"x", "sigma"})):
        prior = load_prior(trained(family))
        part = onnx_export.parts_of(prior)[name]
        assert set(part.inputs) == inputs
        session = onnxruntime.InferenceSession(traced(part, prior.networks))
        first, second = part.inputs.values()
        rows = {key: value.flip(0).numpy() for key, value in zip(part.inputs, (first, second), strict=True)}
        (out,) = session.run(None, rows)
        with torch.no_grad():
            np.testing.assert_allclose(out, part.function(first.flip(0), second.flip(0)).numpy(), atol=1e-4)


def test_a_file_that_differs_from_torch_is_not_written(
    trained: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, out = trained("glo"), tmp_path / "out"

    def other(part: ExportedPart, networks: tuple[torch.nn.Module, ...]) -> bytes:
        return traced(ExportedPart(part.does, lambda *x: part.function(*x) + 1e-3, part.inputs, part.output), networks)

    monkeypatch.setattr(onnx_export, "traced", other)
    with pytest.raises(GenpriorError, match=r"^run: generator.onnx differs from torch by 0.001, more than 0.0001"):
        result_of(export_stages(ExportSettings(run=run, out=out), None))
    assert list(out.iterdir()) == []


def test_the_difference_is_the_largest_over_batches() -> None:
    part = ExportedPart("", lambda z: 2 * z, {"z": torch.arange(6.0).reshape(3, 2)}, "x")
    content = traced(part, ())
    assert largest_difference(content, part) == 0
    wrong = ExportedPart("", lambda z: 2 * z + z.square() / 100, part.inputs, "x")
    assert largest_difference(content, wrong) == pytest.approx(0.25 / 10.25)  # 5 is 10 in the file, 10.25 in torch


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_export_is_replaced_only_on_request_and_is_told(
    name: str, trained: Callable[[str], Path], tmp_path: Path
) -> None:
    experiment, settings = EXPERIMENTS[name], ExportSettings(run=trained("glo"), out=tmp_path / "out")
    found = result_of(carry_out(experiment, settings))
    lines = experiment.lines(found)
    assert lines[0].split() == ["file", "takes", "gives", "MB", "from", "torch"]
    assert "z (B, 4)" in lines[1]
    with pytest.raises(GenpriorError, match=r"export.json exists; replace it with --overwrite"):
        result_of(carry_out(experiment, settings))
    result_of(carry_out(experiment, settings, overwrite=True))
    stored = json.loads((tmp_path / "out" / EXPORT).read_text())
    assert stored["files"][0]["largest_difference"] <= 1e-4


def test_what_is_not_finite_is_no_small_difference() -> None:
    part = ExportedPart("", lambda z: 2 * z, {"z": torch.ones(3, 2)}, "x")
    content = traced(part, ())
    for value in (math.nan, math.inf):
        other = ExportedPart("", lambda z, value=value: z * value, part.inputs, "x")
        assert largest_difference(content, other) == math.inf
        assert largest_difference(traced(other, ()), part) == math.inf


def test_files_of_somebody_else_stay_and_those_of_another_export_go(
    trained: Callable[[str], Path], tmp_path: Path
) -> None:
    experiment, out = EXPERIMENTS["export"], tmp_path / "out"
    out.mkdir()
    (out / "generator.onnx").write_text("years of work")
    with pytest.raises(GenpriorError, match=r"^out: .*generator.onnx is there, and no export wrote it"):
        result_of(carry_out(experiment, ExportSettings(run=trained("glo"), out=out), overwrite=True))
    assert (out / "generator.onnx").read_text() == "years of work"
    (out / "generator.onnx").unlink()
    result_of(carry_out(experiment, ExportSettings(run=trained("vae"), out=out)))
    (out / "index.html").write_text("my own page")
    result_of(carry_out(experiment, ExportSettings(run=trained("glo"), out=out), overwrite=True))
    assert {path.name for path in out.iterdir()} == {"generator.onnx", "index.html", EXPORT}
    assert (out / "index.html").read_text() == "my own page"


def test_the_default_folder_stands_beside_the_run(tmp_path: Path) -> None:
    assert ExportSettings(run=tmp_path / "mine").folder == tmp_path / "mine-onnx"
    assert ExportSettings(run=tmp_path / "mine", out=tmp_path / "o").folder == tmp_path / "o"


def test_points_and_missing_packages_are_told(
    trained: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = FAMILIES["gan"].model_validate(
        {"preset": "points", "data": "ring:count=100", "batch_size": 10, "images_seen": 20, "threads": 1}
    )
    prepared = new_run(tmp_path / "points", config)
    result_of(execute(prepared.run, prepared.learner, prepared.data))
    with pytest.raises(GenpriorError, match=r"^run: .*points of the plane; only images are exported"):
        result_of(export_stages(ExportSettings(run=tmp_path / "points"), None))
    with pytest.raises(GenpriorError, match=r"^run: .* has no network: the images of a mixture are its latents"):
        result_of(export_stages(ExportSettings(run=trained("mixture")), None))
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(GenpriorError, match=r"^to: onnxscript is not installed; pip install 'genprior\[onnx\]'"):
        result_of(export_stages(ExportSettings(run=tmp_path / "points"), None))
