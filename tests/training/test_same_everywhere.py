"""Training from Python is training from the command line, bit for bit: schedules follow the budget in both."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import genprior as package
from genprior.families import parse_config
from genprior.runs.checkpoint import trained_checkpoint
from genprior.runs.step_rows import read_rows
from genprior.stored_files import read_object

ALL = "--data digits[:64] --size 8 --batch-size 8 --precision float32 --threads 1 --seed 3"
FAMILIES = {
    "flow-matching": "--model unet:width=4,levels=1",
    "vae": "--model dense:width=8 --latent-size 3 --kl-warm-up 0.5",
    "glo": "--model dcgan:generator_width=4 --latent-size 4",
    "glow": "--steps 2 --width 6",
    "mixture": "--rank 3",
    "gan": "--preset r1-28 --model dcgan:generator_width=4,discriminator_width=4,norm=none --schedule linear",
}
BUDGETS = {"images": "--images-seen 160", "epochs": "--epochs 2.75"}  # of the images that are learned


@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.parametrize("family", FAMILIES)
def test_python_equals_the_command_line(genprior: Callable[..., str], family: str, budget: str) -> None:
    genprior("train", family, *f"{ALL} {FAMILIES[family]} {BUDGETS[budget]}".split(), "--out", "run")
    config = parse_config(read_object(Path("run/config.json"), "run").values)
    split = config.load_split()
    algorithm = config.build(split.learned, held_out=split.load_held_out())
    *_, last = package.train(algorithm, split.learned, config.budget(), seed=config.seed)
    expected, found = trained_checkpoint(Path("run/checkpoint")).tensors, algorithm.state_dict()
    assert found.keys() == expected.keys()
    assert not [name for name, value in expected.items() if not torch.equal(found[name], value)]
    row = read_rows(Path("run/steps.jsonl"))[-1]
    assert {name: row[name] for name in last.record} == {name: float(value) for name, value in last.record.items()}
    assert (last.progress, last.images_seen) == (1.0, 160)


@pytest.mark.parametrize("family", ["vae", "glo", "glow"])
def test_what_follows_the_budget_moves_from_python_too(family: str) -> None:
    """The learning rate is at its height in the middle of the budget, and not where it begins or ends."""
    settings = {"data": "digits[:64]", "size": 8, "batch_size": 8, "precision": "float32", "threads": 1}
    small = {"vae": {"model": "dense:width=8"}, "glo": {"model": "dcgan:generator_width=4", "latent_size": 4}}
    config = parse_config({"family": family, **settings, **small.get(family, {"steps": 2, "width": 6})})
    data = config.load_data()
    algorithm = config.build(data)
    rates: list[float] = []
    step = algorithm._descent.step

    def watched(loss: torch.Tensor, share: float) -> tuple[torch.Tensor, torch.Tensor]:
        rates.append(share)
        return step(loss, share)

    algorithm._descent.step = watched
    list(package.train(algorithm, data, package.Budget(images=8 * 40)))
    assert rates[0] == pytest.approx(0.01)
    assert max(rates) == pytest.approx(1.0)
    assert rates[-1] < 0.01
