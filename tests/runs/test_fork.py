"""A fork goes on from the newest checkpoint of a run, with other settings, and leaves the run as it is."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from family_runs import GREY, make_family_run
from genprior.errors import GenpriorError
from genprior.families import FAMILIES
from genprior.folder_check import checked
from genprior.hardware import resolve_precision
from genprior.runs.checkpoint import ages, load_checkpoint, save_checkpoint
from genprior.runs.execute import execute
from genprior.runs.fork import forked_config, forked_run
from genprior.runs.prepare import PreparedRun, new_run, resumed_run
from genprior.runs.run_folder import Run, open_run
from genprior.runs.step_rows import read_rows
from genprior.runs.summary import summary

LONGER = {"images_seen": 2000}


def trained(prepared: PreparedRun) -> Run:
    for _ in execute(prepared.run, prepared.learner, prepared.data):
        pass
    return prepared.run


def tensors_of(run: Run) -> dict[str, torch.Tensor]:
    checkpoint, refused = load_checkpoint(run.checkpoints)
    assert checkpoint is not None
    assert refused == []
    return checkpoint.tensors


def rows_of(run: Run) -> list[dict[str, object]]:
    return [{k: v for k, v in row.items() if k != "images_per_second"} for row in read_rows(run.steps)]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def parent(make_run: Callable[..., Run]) -> Run:
    return make_run("parent")


def test_a_fork_with_nothing_changed_is_the_run_resumed_bit_for_bit(parent: Run, tmp_path: Path) -> None:
    before = contents(parent.path)
    fork = trained(forked_run(tmp_path / "fork", parent.path, LONGER))
    assert contents(parent.path) == before
    resumed = trained(resumed_run(parent.path, LONGER))
    mine, theirs = tensors_of(fork), tensors_of(resumed)
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)
    assert rows_of(fork) == rows_of(resumed)[20:]
    assert ages(fork).keys() == {1000, *(age for age in ages(resumed) if age > 1000)}


def test_a_fork_with_another_loss_says_whence_it_came_and_is_a_run(parent: Run, tmp_path: Path) -> None:
    fork = trained(forked_run(tmp_path / "fork", parent.path, {**LONGER, "loss": "hinge"}))
    origin = open_run(fork.path).config.forked_from
    assert origin is not None
    assert (origin.run, origin.step, origin.images_seen) == (str(parent.path), 20, 1000)
    assert "loss was non-saturating" in origin.changed
    assert [row["step"] for row in read_rows(fork.steps)] == list(range(21, 41))
    shutil.rmtree(parent.path)  # the fork needs it no more
    assert [each for each in checked(fork.path)[1] if each.fault] == []
    assert "loss was non-saturating" in str(summary(fork.path)["forked"])
    assert "record" not in summary(fork.path)
    longer = trained(resumed_run(fork.path, {"images_seen": 2500}))
    assert longer.config.forked_from == origin
    assert [row["step"] for row in read_rows(longer.steps)] == list(range(21, 51))
    assert [each for each in checked(fork.path)[1] if each.fault] == []
    assert (open_run(fork.path).config.adversarial_loss() or [None])[0] != parent.config.adversarial_loss()


def test_a_row_that_is_lost_from_a_fork_is_missed(parent: Run, tmp_path: Path) -> None:
    fork = trained(forked_run(tmp_path / "fork", parent.path, LONGER))
    lines = fork.steps.read_text().splitlines(keepends=True)
    fork.steps.write_text("".join(lines[:3] + lines[4:]))
    assert "lacks 1 of the 20 steps" in str(summary(fork.path)["record"])
    assert any("lacks 1 of the 20 steps" in each.fault for each in checked(fork.path)[1])


def test_a_fork_of_a_fork_goes_on(parent: Run, tmp_path: Path) -> None:
    first = trained(forked_run(tmp_path / "first", parent.path, {**LONGER, "loss": "hinge"}))
    second = trained(forked_run(tmp_path / "second", first.path, {"images_seen": 2500, "loss": "least-squares"}))
    origin = second.config.forked_from
    assert origin is not None
    assert (origin.run, origin.step) == (str(first.path), 40)
    assert forked_config(first.path, {})[1].forked_from is None  # as --dry-run prints it


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_a_fork_in_another_precision_is_trained(family: str, tmp_path: Path) -> None:
    parent = make_family_run(tmp_path / "parent", family, GREY, images_seen=100)
    fork = trained(forked_run(tmp_path / "fork", parent, {"images_seen": 400, "precision": "float64"}))
    assert checked(fork.path)[1]
    assert [each for each in checked(fork.path)[1] if each.fault] == []
    kinds = {name: value.dtype for name, value in tensors_of(fork).items() if value.dim() > 1}
    assert torch.float64 in kinds.values()


@pytest.mark.parametrize("changes", [{"components": 3}, {"rank": 2}])
def test_a_fork_of_a_mixture_keeps_its_sizes(changes: dict[str, int], tmp_path: Path) -> None:
    parent = make_family_run(tmp_path / "parent", "mixture", GREY, images_seen=100)
    with pytest.raises(GenpriorError, match="do not fit these settings"):
        forked_run(tmp_path / "fork", parent, {"images_seen": 400, **changes})


def test_settings_of_a_fork_make_a_new_run_that_is_none(parent: Run, tmp_path: Path) -> None:
    fork = forked_run(tmp_path / "fork", parent.path, LONGER).run
    assert new_run(tmp_path / "new", fork.config).run.config.forked_from is None


def test_a_fork_that_was_killed_before_it_had_the_weights_is_not_trained_from_nothing(
    parent: Run, tmp_path: Path
) -> None:
    fork = forked_run(tmp_path / "fork", parent.path, LONGER).run
    shutil.rmtree(fork.checkpoints)
    with pytest.raises(GenpriorError, match="killed before it had the weights"):
        resumed_run(fork.path, {})


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({}, "is finished"),
        ({**LONGER, "latent_size": 3}, "do not fit these settings"),
        ({**LONGER, "batch_size": 25}, "keeps to as many"),
        ({**LONGER, "data": "ring:count=400"}, "no longer what"),
        ({**LONGER, "family": "glo"}, "is a run of `genprior train gan`"),
        ({**LONGER, "preset": "points"}, "those that change"),
        ({**LONGER, "loss": "hinges"}, "hinge"),
    ],
)
def test_what_is_no_fork_is_refused_and_leaves_nothing(
    changes: dict[str, object], match: str, parent: Run, tmp_path: Path
) -> None:
    with pytest.raises(GenpriorError, match=match) as error:
        forked_run(tmp_path / "fork", parent.path, changes)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "fork").exists()


def test_no_run_is_forked_into_itself_or_over_another(parent: Run, tmp_path: Path) -> None:
    before = contents(parent.path)
    for place in (parent.path, parent.path / "..", tmp_path / "." / "parent", parent.path / "new"):
        with pytest.raises(GenpriorError, match="choose another folder"):
            forked_run(place, parent.path, LONGER, overwrite=True)
    trained(forked_run(tmp_path / "fork", parent.path, LONGER))
    with pytest.raises(GenpriorError, match="exists; choose another folder"):
        forked_run(tmp_path / "fork", parent.path, LONGER)
    forked_run(tmp_path / "fork", parent.path, LONGER, overwrite=True)
    assert contents(parent.path) == before


def test_a_damaged_checkpoint_is_refused_and_the_one_before_it_is_taken(parent: Run, tmp_path: Path) -> None:
    newest, before = sorted(parent.checkpoints.iterdir(), reverse=True)
    (newest / "tensors.safetensors").write_bytes(b"nonsense")
    with pytest.warns(UserWarning, match="the one before it is used"):
        fork = forked_run(tmp_path / "fork", parent.path, LONGER)
    assert fork.run.config.begins_after[0] < 20
    (before / "counters.json").write_text("{}")
    with pytest.raises(GenpriorError, match=r"fork: .*step-\d+ is refused: .*; no other age can be forked") as error:
        forked_run(tmp_path / "other", parent.path, LONGER)
    assert f"genprior train gan --config {parent.path}/config.json --out {parent.path} --overwrite" in str(error.value)
    with pytest.raises(GenpriorError, match=r"fork: .* is not a run"):
        forked_run(tmp_path / "other", tmp_path / "nothing", LONGER)


def test_best_weights_are_forked_where_no_checkpoint_is_whole(parent: Run, tmp_path: Path) -> None:
    newest, _ = load_checkpoint(parent.checkpoints)
    assert newest is not None
    save_checkpoint(parent.best, replace(newest, step=10, images_seen=500))
    for path in parent.checkpoints.iterdir():
        (path / "counters.json").write_text("{}")
    with pytest.warns(UserWarning, match="the best weights, after 500 images, are used"):
        fork = forked_run(tmp_path / "fork", parent.path, LONGER)
    assert fork.run.config.begins_after == (10, 500)
    shutil.rmtree(parent.checkpoints)
    with pytest.warns(UserWarning, match="has no checkpoint; the best weights, after 500 images, are used"):
        forked_run(tmp_path / "other", parent.path, LONGER)


def test_what_has_no_checkpoint_yet_is_to_be_trained(parent: Run, tmp_path: Path) -> None:
    shutil.rmtree(parent.checkpoints)
    with pytest.raises(GenpriorError, match=r"fork: the checkpoints of .* are gone; no other age .* --overwrite"):
        forked_run(tmp_path / "fork", parent.path, LONGER)
    new = new_run(tmp_path / "new", parent.config).run.path
    with pytest.raises(GenpriorError, match=f"fork: .* has no checkpoint yet; train it first: genprior resume {new}"):
        forked_run(tmp_path / "fork", new, LONGER)
    assert not (tmp_path / "fork").exists()


def test_what_turns_out_as_it_was_is_no_change(make_run: Callable[..., Run], tmp_path: Path) -> None:
    usual = resolve_precision("auto", torch.device("cpu"))
    for before in ("float32", "bf16"):
        run = make_run(before, precision=before).path
        changes = {**LONGER, "precision": "auto"}
        origin = forked_run(tmp_path / f"fork-{before}", run, changes).run.config.forked_from
        assert origin is not None
        changed = ("images_seen was 1000", *([] if before == usual else [f"precision was {before}"]))
        assert origin.changed == changed
