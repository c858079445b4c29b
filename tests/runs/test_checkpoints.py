"""Checkpoints: whole or not there, the last two kept, the damaged ones refused by name."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from genprior.errors import GenpriorError
from genprior.runs.checkpoint import Checkpoint, Counters, load_checkpoint, load_counters, save_checkpoint
from genprior.runs.execute import execute
from genprior.runs.prepare import new_run, resumed_run
from genprior.runs.run_folder import Run
from genprior.runs.summary import summary
from genprior.runs.trained_prior import load_prior
from small import gone_through, points_config


def save(folder: Path, step: int) -> Path:
    return save_checkpoint(folder, Checkpoint(step, 10 * step, 1.5, tensors={"w": torch.full((3,), float(step))}))


def test_save_then_load_gives_the_same(tmp_path: Path) -> None:
    save(tmp_path, 4)
    loaded, refused = load_checkpoint(tmp_path)
    assert loaded is not None
    assert (loaded.step, loaded.images_seen, loaded.seconds, refused) == (4, 40, 1.5, [])
    assert torch.equal(loaded.tensors["w"], torch.full((3,), 4.0))


def test_counters_are_read_without_the_tensors(tmp_path: Path) -> None:
    flip_a_bit(save(tmp_path, 4) / "tensors.safetensors")
    assert load_counters(tmp_path) == (Counters(4, 40, 1.5), [])
    assert load_counters(tmp_path / "nowhere") == (None, [])


@pytest.mark.parametrize(("file", "damage"), [("tensors", "cut off"), ("tensors", "gone"), ("counters", "cut off")])
def test_counters_of_a_checkpoint_that_is_not_whole_are_refused(tmp_path: Path, file: str, damage: str) -> None:
    save(tmp_path, 1)
    name = {"tensors": "tensors.safetensors", "counters": "counters.json"}[file]
    {"cut off": truncate, "gone": Path.unlink}[damage](save(tmp_path, 2) / name)
    counters, (refused,) = load_counters(tmp_path)
    assert counters == Counters(1, 10, 1.5)
    assert "step-000000002 is refused" in refused
    assert "\n" not in refused


def test_checkpoints_of_older_versions_without_a_size_are_read(tmp_path: Path) -> None:
    file = save(tmp_path, 4) / "counters.json"
    values = json.loads(file.read_text())
    old = {name: values[name] for name in ("step", "images_seen", "seconds", "sha256")}
    own = hashlib.sha256(json.dumps(old).encode()).hexdigest()
    file.write_text(json.dumps(old | {"own_sha256": own}, indent=2) + "\n")
    assert load_counters(tmp_path) == (Counters(4, 40, 1.5), [])
    loaded, refused = load_checkpoint(tmp_path)
    assert (loaded is not None, refused) == (True, [])


def test_a_resume_reads_and_hashes_tensors_once_and_a_summary_never(
    make_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, reads = make_run(), []
    read_bytes = Path.read_bytes

    def watched(path: Path) -> bytes:
        if path.name == "tensors.safetensors":
            reads.append(path)
        return read_bytes(path)

    monkeypatch.setattr(Path, "read_bytes", watched)
    summary(run.path)
    prepared = resumed_run(run.path, {"images_seen": 2000})
    assert reads == []
    task = execute(prepared.run, prepared.learner, prepared.data)
    next(task)
    assert len(reads) == 1
    task.close()


def test_the_last_two_are_kept(tmp_path: Path) -> None:
    for step in (1, 2, 3, 10):
        save(tmp_path, step)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-000000003", "step-000000010"]


def test_what_a_kill_left_of_a_save_is_ended_by_the_next_resume(make_run: Callable[..., Run]) -> None:
    run = make_run()
    (kept,) = (path for path in run.checkpoints.iterdir() if path.name != "step-000000000")
    for name in ("step-000000001", "step-000000002", f"{kept.name}.old", "step-000000003.tmp"):
        shutil.copytree(kept, run.checkpoints / name)
    run.figures.mkdir()
    picture = run.figures / ".genprior-0a1b2c3d.png"
    picture.write_bytes(b"half")
    os.utime(picture, (0, 0))  # as old as it is when somebody comes back
    with pytest.raises(GenpriorError, match="is finished"):
        resumed_run(run.path, {})
    assert sorted(path.name for path in run.checkpoints.iterdir()) == ["step-000000002", kept.name]
    assert not picture.exists()


def test_a_checkpoint_that_cannot_take_its_name_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path, 1)
    real = Path.rename

    def refused(path: Path, target: Path) -> Path:
        if path.suffix == ".tmp":
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, target)

    monkeypatch.setattr(Path, "rename", refused)
    with pytest.raises(PermissionError):
        save(tmp_path, 2)
    assert [path.name for path in tmp_path.iterdir()] == ["step-000000001"]


def test_nothing_saved_is_none(tmp_path: Path) -> None:
    assert load_checkpoint(tmp_path / "nowhere") == (None, [])


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5])


def flip_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [truncate, flip_a_bit, empty, Path.unlink])
@pytest.mark.parametrize("file", ["tensors.safetensors", "counters.json"])
def test_damaged_checkpoint_is_named_and_the_one_before_used(
    tmp_path: Path, damage: Callable[[Path], None], file: str
) -> None:
    save(tmp_path, 1)
    damage(save(tmp_path, 2) / file)
    loaded, refused = load_checkpoint(tmp_path)
    assert loaded is not None
    assert loaded.step == 1
    assert len(refused) == 1
    assert "step-000000002 is refused" in refused[0]


@pytest.mark.parametrize("text", ["[]", "5", "{}", "null"])
def test_counters_that_are_no_table_are_refused(tmp_path: Path, text: str) -> None:
    save(tmp_path, 1)
    (save(tmp_path, 2) / "counters.json").write_text(text)
    loaded, refused = load_checkpoint(tmp_path)
    assert loaded is not None
    assert (loaded.step, len(refused)) == (1, 1)


def test_refused_checkpoints_of_a_lost_future_take_no_place(tmp_path: Path) -> None:
    save(tmp_path, 1)
    truncate(save(tmp_path, 9) / "tensors.safetensors")
    save(tmp_path, 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-000000001", "step-000000002"]


def test_weights_that_an_update_ruined_are_not_saved(tmp_path: Path) -> None:
    prepared = new_run(tmp_path / "run", points_config(checkpoint_seconds=1e-9))
    gan, update = prepared.learner, prepared.learner.update

    def ruin(*arguments: object) -> dict[str, torch.Tensor]:
        record = update(*arguments)
        if len(sizes) == 3:
            next(gan.discriminator.parameters()).data.fill_(float("inf"))
        sizes.append(1)
        return record

    sizes: list[int] = []
    gan.update = ruin
    stages, ended = gone_through(execute(prepared.run, gan, prepared.data))
    assert ended.outcome == "non-finite"
    assert stages[-1].alarm is not None
    assert "step 4 has values that are not finite (discriminator/" in stages[-1].alarm
    assert f"Last good checkpoint: {prepared.run.checkpoints / 'step-000000003'}" in stages[-1].alarm
    saved, _ = load_checkpoint(prepared.run.checkpoints)
    assert saved is not None
    assert saved.step == 3


def test_altered_counters_are_refused(tmp_path: Path) -> None:
    save(tmp_path, 1)
    file = save(tmp_path, 2) / "counters.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"images_seen": 7}))
    loaded, _ = load_checkpoint(tmp_path)
    assert loaded is not None
    assert loaded.step == 1


def test_no_whole_checkpoint_is_an_error(tmp_path: Path) -> None:
    truncate(save(tmp_path, 2) / "tensors.safetensors")
    with pytest.raises(GenpriorError, match=r"step-000000002 is refused: .*; no whole checkpoint is left"):
        load_checkpoint(tmp_path)


def test_half_written_checkpoint_is_not_seen(tmp_path: Path) -> None:
    save(tmp_path, 1)
    (tmp_path / "step-000000002.tmp").mkdir()
    loaded, refused = load_checkpoint(tmp_path)
    assert loaded is not None
    assert (loaded.step, refused) == (1, [])
    save(tmp_path, 3)
    assert not (tmp_path / "step-000000002.tmp").exists()


def test_full_disk_leaves_the_last_checkpoint_whole(
    make_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    import safetensors.torch

    run = make_run()

    def fail(tensors: object, path: Path, **_: object) -> None:
        Path(path).write_bytes(b"half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(safetensors.torch, "save_file", fail)
    prepared = resumed_run(run.path, {"images_seen": 2000})
    with pytest.raises(OSError, match="No space left"):
        list(execute(prepared.run, prepared.learner, prepared.data))
    loaded, refused = load_checkpoint(run.checkpoints)
    assert loaded is not None
    assert (loaded.images_seen, refused) == (1000, [])
    assert sorted(path.name for path in run.checkpoints.iterdir()) == ["step-000000000", "step-000000020"]


def test_damage_while_resuming_is_told(make_run: Callable[..., Run]) -> None:
    run = make_run(checkpoint_seconds=1e-9)
    newest = sorted(run.checkpoints.iterdir())[-1]
    truncate(newest / "tensors.safetensors")
    prepared = resumed_run(run.path, {})
    stages, _ = gone_through(execute(prepared.run, prepared.learner, prepared.data))
    messages = [stage.alarm for stage in stages if stage.alarm]
    assert len(messages) == 1
    assert f"{newest.name} is refused" in messages[0]


def test_non_finite_step_stops_with_the_last_good_checkpoint(tmp_path: Path) -> None:
    prepared = new_run(tmp_path / "run", points_config())
    steps = execute(prepared.run, prepared.learner, prepared.data, flush_every=1)
    for _ in range(3):
        next(steps)
    with torch.no_grad():
        next(prepared.learner.generator.parameters()).fill_(float("nan"))
    (last,), ended = gone_through(steps)
    assert (ended.outcome, ended.row["step"]) == ("non-finite", 4)
    assert last.alarm is not None
    assert "step 4 has values that are not finite" in last.alarm
    assert str(prepared.run.checkpoints / "step-000000000") in last.alarm
    row = json.loads(prepared.run.steps.read_text().splitlines()[-1])
    assert row["generator_loss"] is None
    assert row["not_finite"]["generator_loss"] == "nan"
    assert row["non_finite_logits"] > 0
    saved, _ = load_checkpoint(prepared.run.checkpoints)
    assert saved is not None
    assert all(torch.isfinite(value).all() for value in saved.tensors.values())


def test_prior_uses_the_average_unless_asked_otherwise(make_run: Callable[..., Run]) -> None:
    run = make_run()
    checkpoint, _ = load_checkpoint(run.checkpoints)
    assert checkpoint is not None
    for average, group in ((True, "average/"), (False, "generator/")):
        weights = load_prior(run.path, average=average).generator.state_dict()
        assert all(torch.equal(value, checkpoint.tensors[group + name]) for name, value in weights.items())


def test_prior_names_the_checkpoint_that_it_does_not_use(make_run: Callable[..., Run]) -> None:
    run = make_run(checkpoint_seconds=1e-9)
    truncate(sorted(run.checkpoints.iterdir())[-1] / "tensors.safetensors")
    with pytest.warns(UserWarning, match="step-000000020 is refused"):
        load_prior(run.path)


def test_loading_a_prior_draws_no_random_number(make_run: Callable[..., Run]) -> None:
    run = make_run()
    before = torch.get_rng_state()
    load_prior(run.path)
    assert torch.equal(torch.get_rng_state(), before)


def test_prior_of_an_untrained_folder_is_refused(tmp_path: Path) -> None:
    prepared = new_run(tmp_path / "run", points_config())
    with pytest.raises(GenpriorError, match="has no checkpoint; train it first"):
        load_prior(prepared.run.path)
