"""What holds on a CPU holds on a GPU."""

from pathlib import Path

import pytest
import torch

import genprior
from genprior.families import parse_config
from genprior.progress import result_of
from genprior.runs.checkpoint import load_checkpoint
from genprior.runs.execute import execute
from genprior.runs.prepare import new_run, resumed_run

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


def losses(device: str, precision: str) -> torch.Tensor:
    config = genprior.GANConfig(data="digits", batch_size=32, device=device, precision=precision)
    data = config.load_data()
    steps = genprior.train(config.build(data), data, genprior.Budget(images=480))
    return torch.tensor([float(step.record["discriminator_loss"]) for step in steps])


def test_a_gpu_trains_as_a_cpu_does() -> None:
    torch.testing.assert_close(losses("cuda", "float64"), losses("cpu", "float64"), rtol=1e-6, atol=1e-8)


def test_bf16_trains_on_a_gpu() -> None:
    assert torch.isfinite(losses("cuda", "bf16")).all()


OTHERS = {
    "glo": {"latent_size": 10, "model": "dcgan:generator_width=8"},
    "glow": {"steps": 2, "width": 8},
    "vae": {"model": "dense:width=16"},
}


@pytest.mark.parametrize("family", OTHERS)
def test_every_family_trains_on_a_gpu_and_becomes_a_prior_on_the_cpu(family: str, tmp_path: Path) -> None:
    settings = {"family": family, "data": "digits", "size": 8, "batch_size": 32, "device": "cuda", "images_seen": 320}
    prepared = new_run(tmp_path / "run", parse_config({**settings, **OTHERS[family]}))
    assert result_of(execute(prepared.run, prepared.learner, prepared.data)).outcome == "finished"
    assert genprior.load_prior(tmp_path / "run").sample(3).shape == (3, 1, 8, 8)


def test_run_of_a_gpu_is_resumed_by_a_cpu(tmp_path: Path) -> None:
    config = genprior.GANConfig(data="digits", batch_size=32, device="cuda", images_seen=480)
    prepared = new_run(tmp_path / "run", config)
    assert result_of(execute(prepared.run, prepared.learner, prepared.data)).outcome == "finished"
    file = tmp_path / "run" / "config.json"
    file.write_text(file.read_text().replace('"device": "cuda"', '"device": "cpu"'))
    again = resumed_run(tmp_path / "run", {"images_seen": 960})
    assert result_of(execute(again.run, again.learner, again.data)).outcome == "finished"
    saved, _ = load_checkpoint(again.run.checkpoints)
    assert saved is not None
    assert saved.images_seen == 960
