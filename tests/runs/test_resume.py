"""A run that was stopped in any way goes on as if it had not been."""

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from genprior.errors import GenpriorError
from genprior.progress import result_of
from genprior.runs.checkpoint import load_checkpoint
from genprior.runs.execute import execute
from genprior.runs.prepare import new_run, resumed_run
from genprior.runs.run_folder import Run, open_run
from genprior.runs.step_rows import read_rows
from small import points_config

# Digits, so that convolutions, batch normalisation and bf16 take part; a checkpoint after every step.
ARGUMENTS = (
    "train gan --data digits --batch-size 16 --images-seen 960 --seed 3 --precision bf16 --threads 1 "
    "--model dcgan:generator_width=8,discriminator_width=8,norm=none --checkpoint-seconds 0.000001 --out"
).split()


def genprior(*arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "genprior", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def finish(process: subprocess.Popen[str]) -> str:
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    return output


def weights_hash(run: Path) -> str:
    """SHA-256 over all tensors of the newest checkpoint: weights, averages and optimisers."""
    checkpoint, refused = load_checkpoint(run / "checkpoint")
    assert checkpoint is not None
    assert refused == []
    digest = hashlib.sha256()
    for name in sorted(checkpoint.tensors):
        digest.update(name.encode())
        digest.update(checkpoint.tensors[name].contiguous().numpy().tobytes())
    return digest.hexdigest()


def wait_for_checkpoint(run: Path, step: int, process: subprocess.Popen[str]) -> None:
    while not (run / "checkpoint" / f"step-{step:09d}").exists():
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.002)


def test_killed_run_resumes_bit_for_bit(tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    finish(genprior(*ARGUMENTS, whole))
    process = genprior(*ARGUMENTS, killed)
    wait_for_checkpoint(killed, random.Random(os.getpid()).randrange(2, 12), process)
    time.sleep(random.Random(os.getpid()).random() * 0.05)  # anywhere in a step, or in the writing of a checkpoint
    process.send_signal(signal.SIGKILL)
    process.communicate()
    stopped, _ = load_checkpoint(killed / "checkpoint")
    assert stopped is not None
    assert stopped.images_seen < 960
    finish(genprior("resume", killed))
    assert weights_hash(killed) == weights_hash(whole)

    def without_clock(rows: list[dict[str, object]]) -> list[dict[str, object]]:
        return [{k: v for k, v in row.items() if k != "images_per_second"} for row in rows]

    assert without_clock(read_rows(killed / "steps.jsonl")) == without_clock(read_rows(whole / "steps.jsonl"))


def test_other_seed_gives_other_weights(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        prepared = new_run(tmp_path / name, points_config(seed=seed))
        list(execute(prepared.run, prepared.learner, prepared.data))
    hashes = [weights_hash(tmp_path / name) for name in "abc"]
    assert hashes[0] == hashes[1]
    assert hashes[0] != hashes[2]


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_interrupt_saves_and_says_how_to_go_on(tmp_path: Path, kind: signal.Signals) -> None:
    run = tmp_path / "run"
    process = genprior(*[a if a != "960" else "96000" for a in ARGUMENTS], run)
    wait_for_checkpoint(run, 2, process)
    process.send_signal(kind)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 130, output
    assert f"interrupted and saved; resume it with: genprior resume {run}" in output
    saved, _ = load_checkpoint(run / "checkpoint")
    assert saved is not None
    assert read_rows(run / "steps.jsonl")[-1]["step"] == saved.step


def test_stopping_and_resuming_in_one_process_changes_nothing(tmp_path: Path, make_run: Callable[..., Run]) -> None:
    whole = make_run()
    prepared = new_run(tmp_path / "parts", points_config())
    answers = iter([False] * 7 + [True])
    list(execute(prepared.run, prepared.learner, prepared.data, lambda: next(answers)))
    assert len(read_rows(prepared.run.steps)) == 8
    again = resumed_run(prepared.run.path, {})
    list(execute(again.run, again.learner, again.data))
    assert weights_hash(again.run.path) == weights_hash(whole.path)


def test_larger_budget_goes_on_as_one_longer_run(make_run: Callable[..., Run]) -> None:
    long, short = make_run("long", images_seen=2000), make_run("short")
    prepared = resumed_run(short.path, {"images_seen": 2000})
    list(execute(prepared.run, prepared.learner, prepared.data))
    assert open_run(short.path).config.images_seen == 2000
    assert weights_hash(short.path) == weights_hash(long.path)


def test_finished_run_is_not_resumed(make_run: Callable[..., Run]) -> None:
    with pytest.raises(GenpriorError, match=r"is finished: 1,000 images seen .*; give a larger budget"):
        resumed_run(make_run().path, {})


def test_minutes_are_a_budget_over_all_stretches(tmp_path: Path) -> None:
    prepared = new_run(tmp_path / "run", points_config(minutes=0.02))
    began = time.monotonic()
    ended = result_of(execute(prepared.run, prepared.learner, prepared.data))
    assert ended.outcome == "finished"
    assert ended.seconds >= 1.2
    assert 1.2 <= time.monotonic() - began < 20
    with pytest.raises(GenpriorError, match="is finished"):
        resumed_run(prepared.run.path, {})


def test_changed_data_are_refused(tmp_path: Path) -> None:
    import numpy

    file = tmp_path / "points.npy"
    numpy.save(file, numpy.zeros((64, 28, 28), numpy.uint8))
    settings = {"preset": "dcgan-28", "data": str(file), "batch_size": 8, "images_seen": 24, "threads": 1}
    prepared = new_run(tmp_path / "run", points_config().model_validate(settings))
    list(execute(prepared.run, prepared.learner, prepared.data))
    numpy.save(file, numpy.full((64, 28, 28), 255, numpy.uint8))
    with pytest.raises(GenpriorError, match=r"is no longer what .* was trained on"):
        resumed_run(prepared.run.path, {"images_seen": 96})
