"""A GAN that begins with the network of a flow-matching run, and leaves that run as it is."""

import shutil
from pathlib import Path

import pytest
import torch

from family_runs import GREY, OBLONG, make_family_run, write_discs
from genprior.errors import GenpriorError
from genprior.families import GANConfig
from genprior.folder_check import checked
from genprior.runs.checkpoint import load_checkpoint
from genprior.runs.distil import distilled_config, distilled_run
from genprior.runs.execute import execute
from genprior.runs.fork import forked_run
from genprior.runs.prepare import PreparedRun, new_run, resumed_run
from genprior.runs.run_folder import Run, open_run
from genprior.runs.step_rows import read_rows
from genprior.runs.summary import summary
from genprior.runs.trained_prior import load_prior
from genprior.training.optimisation import grouped

SMALL = {"batch_size": 8, "images_seen": 160, "threads": 1, "model": "few-steps:evaluations=2,discriminator_width=2"}


def trained(prepared: PreparedRun) -> Run:
    for _ in execute(prepared.run, prepared.learner, prepared.data):
        pass
    return prepared.run


def tensors_of(path: Path) -> dict[str, torch.Tensor]:
    checkpoint, refused = load_checkpoint(path / "checkpoint")
    assert checkpoint is not None
    assert refused == []
    return checkpoint.tensors


def made(path: Path, shape: tuple[int, int, int] = GREY, wiener: int = 0) -> Path:
    model = "unet:width=4,levels=1,blocks=1" + (f",wiener={wiener}" if wiener else "")
    return make_family_run(path, "flow-matching", shape, images_seen=64, model=model)


@pytest.mark.parametrize(("shape", "wiener"), [(GREY, 0), (OBLONG, 0), (OBLONG, 3)], ids=str)
def test_the_generator_begins_as_the_averaged_network_and_learns(
    shape: tuple[int, int, int], wiener: int, tmp_path: Path
) -> None:
    flow = made(tmp_path / "flow", shape, wiener)
    prepared = distilled_run(tmp_path / "quick", flow, SMALL)
    field = grouped(tensors_of(flow), "average")
    begun = tensors_of(tmp_path / "quick")
    for player in ("generator", "average"):
        own = {name.removeprefix("field."): value for name, value in grouped(begun, player).items()}
        assert own.keys() == field.keys()
        assert all(torch.equal(own[name], value) for name, value in field.items())
    shutil.rmtree(flow)  # needed no more
    run = trained(prepared)
    after = grouped(tensors_of(run.path), "generator")
    assert any(not torch.equal(after[f"field.{name}"], value) for name, value in field.items())
    x = load_prior(run.path).sample(3)
    assert x.shape == (3, *shape)
    assert [row["step"] for row in read_rows(run.steps)] == list(range(1, 21))


def test_the_run_says_whence_it_came_is_whole_and_resumes_and_forks(tmp_path: Path) -> None:
    flow = made(tmp_path / "flow")
    run = trained(distilled_run(tmp_path / "quick", flow, SMALL))
    origin = open_run(run.path).config.forked_from
    assert origin is not None
    assert (origin.run, origin.images_seen, origin.is_distilled) == (str(flow), 64, True)
    assert str(flow) in str(summary(run.path)["distilled"])
    assert [each for each in checked(run.path)[1] if each.fault] == []
    longer = trained(resumed_run(run.path, {"images_seen": 320}))
    assert [row["step"] for row in read_rows(longer.steps)] == list(range(1, 41))
    fork = trained(forked_run(tmp_path / "fork", run.path, {"images_seen": 400, "loss": "hinge"}))
    assert [row["step"] for row in read_rows(fork.steps)] == list(range(41, 51))


def test_images_and_network_are_those_of_the_other_run(tmp_path: Path) -> None:
    flow = made(tmp_path / "flow", OBLONG)
    config = distilled_config(flow, {"model": "few-steps:evaluations=1"})[1]
    assert isinstance(config, GANConfig)
    assert config.data == open_run(flow).config.data
    assert dict(config.model.options) == {"width": "4", "levels": "1", "blocks": "1", "evaluations": "1"}
    assert (config.preset, config.score_every) == ("few-steps", 0)


def test_a_distilled_run_has_no_density(tmp_path: Path) -> None:
    run = trained(distilled_run(tmp_path / "quick", made(tmp_path / "flow"), SMALL))
    assert run.config.log_probability(tensors_of(run.path), GREY, torch.zeros(1, *GREY)) is None


def test_what_cannot_be_distilled_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    flow, out = made(tmp_path / "flow"), tmp_path / "quick"
    other = make_family_run(tmp_path / "vae", "vae", GREY, images_seen=64)
    colour = write_discs(tmp_path / "colour.npy", OBLONG)
    for source, own, message in [
        (other, {}, "give a run of `genprior train flow-matching`"),
        (tmp_path / "nothing", {}, "is not a run"),
        (flow, {"model": "dcgan"}, "the generator of few-steps, not of dcgan"),
        (flow, {"model": "few-steps:width=6"}, "leave width, levels, blocks and wiener out of --model"),
        (flow, {"data": str(colour)}, "and colours as they were"),
        (flow, {"model": "few-steps:evaluations=0"}, "integer from 1 to 16"),
        (flow, {"family": "vae"}, "distilled into a GAN"),
    ]:
        with pytest.raises(GenpriorError, match=message):
            distilled_run(out, source, {**SMALL, **own})
        assert not out.exists()
    with pytest.raises(GenpriorError, match="choose another folder"):
        distilled_run(flow / "in", flow, SMALL)


def test_a_run_that_was_killed_before_it_had_the_network_is_not_trained_from_nothing(tmp_path: Path) -> None:
    run = distilled_run(tmp_path / "quick", made(tmp_path / "flow"), SMALL).run
    shutil.rmtree(run.checkpoints)
    with pytest.raises(GenpriorError, match="killed before it had the weights"):
        resumed_run(run.path, {})


def test_settings_of_a_distilled_run_make_a_new_one_that_is_not(tmp_path: Path) -> None:
    config = distilled_run(tmp_path / "quick", made(tmp_path / "flow"), SMALL).run.config
    assert new_run(tmp_path / "new", config).run.config.forked_from is None
