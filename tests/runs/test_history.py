"""What a run keeps of several ages."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from genprior.errors import GenpriorError
from genprior.families import parse_config
from genprior.runs.checkpoint import ages, is_age, load_age, lost_ages, trained_checkpoint
from genprior.runs.execute import execute
from genprior.runs.prepare import new_run, resumed_run
from genprior.runs.run_folder import Run
from genprior.training.optimisation import grouped
from genprior.writing import save_tensors


@pytest.mark.parametrize("per_update", [1, 50, 384, 5000])
def test_each_age_is_kept_once_as_soon_as_it_is_reached(per_update: int) -> None:
    kept = [seen for seen in range(0, 100_000, per_update) if is_age(seen, per_update)]
    bounds = [0, 1000, 4000, 16_000, 64_000]
    first = {next(seen for seen in range(0, 200_000, per_update) if seen >= bound) for bound in bounds}
    assert kept == sorted(seen for seen in first if seen < 100_000)


def test_both_players_are_kept_as_they_were(make_run: Callable[..., Run]) -> None:
    run = make_run(images_seen=1000)
    assert list(ages(run)) == [0, 1000]
    last = load_age(ages(run)[1000])
    first = load_age(ages(run)[0])
    for player in ("generator", "discriminator"):
        then = grouped(last, player)
        for name, value in grouped(trained_checkpoint(run.checkpoints).tensors, player).items():
            torch.testing.assert_close(then.pop(name), value, rtol=0, atol=0, msg=name)
        assert then == {}
        assert any(
            not torch.equal(value, grouped(last, player)[name]) for name, value in grouped(first, player).items()
        )


def test_ages_that_hold_the_generator_alone_are_read_as_that(make_run: Callable[..., Run]) -> None:
    run = make_run(images_seen=1000)
    tensors = load_age(ages(run)[0])
    save_tensors(grouped(tensors, "generator"), ages(run)[0])
    read = load_age(ages(run)[0])
    assert read.keys() == {name for name in tensors if name.startswith("generator/")}


def test_other_families_keep_nothing(tmp_path: Path) -> None:
    settings = {"data": "digits[:64]", "size": 8, "batch_size": 8, "images_seen": 2000, "model": "dense:width=8"}
    prepared = new_run(tmp_path / "run", parse_config({"family": "vae", "latent_size": 3, "threads": 1, **settings}))
    for _ in execute(prepared.run, prepared.learner, prepared.data):
        pass
    assert ages(prepared.run) == {}
    assert lost_ages(prepared.run, 8, 2000) == []


@pytest.mark.parametrize("batch", [1, 64, 384, 1500, 5000])
def test_an_age_that_is_gone_is_known(batch: int, make_run: Callable[..., Run]) -> None:
    run, seen = make_run(images_seen=1000), range(batch, 20_000, batch)
    assert lost_ages(run, 50, 1000) == []
    shutil.rmtree(run.history)
    kept = [0, *(images for images in seen if is_age(images, batch))]
    assert lost_ages(run, batch, seen[-1]) == kept
    assert lost_ages(run, batch, 0) == [0]


def test_resuming_tells_what_is_gone_of_the_history(make_run: Callable[..., Run]) -> None:
    run = make_run(images_seen=1000)
    ages(run)[1000].unlink()
    notes = resumed_run(run.path, {"images_seen": 2000}).notes
    assert any("history: 1000.safetensors; report and probes show no images of that age" in line for line in notes)


def test_resuming_tells_what_is_damaged_of_the_history(make_run: Callable[..., Run]) -> None:
    run = make_run(images_seen=1000)
    content = bytearray(ages(run)[1000].read_bytes())
    content[-9] ^= 1
    ages(run)[1000].write_bytes(content)
    notes = resumed_run(run.path, {"images_seen": 2000}).notes
    assert [f"{run.history}/1000.safetensors cannot be read" in line for line in notes].count(True) == 1


def test_files_of_other_names_are_left_out_and_damaged_ones_refused(make_run: Callable[..., Run]) -> None:
    run = make_run(images_seen=1000)
    (run.history / "mine.safetensors").write_bytes(b"?")
    assert list(ages(run)) == [0, 1000]
    ages(run)[0].write_bytes(b"?")
    with pytest.raises(GenpriorError, match=r"0\.safetensors cannot be read: .*delete it"):
        load_age(ages(run)[0])


def test_an_age_that_was_altered_is_refused(make_run: Callable[..., Run]) -> None:
    run = make_run(images_seen=1000)
    file = ages(run)[1000]
    content = bytearray(file.read_bytes())
    content[-1] ^= 0x40
    file.write_bytes(content)
    with pytest.raises(GenpriorError, match=r"1000\.safetensors cannot be read: it was altered: its checksum"):
        load_age(file)
