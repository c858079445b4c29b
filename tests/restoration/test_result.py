"""A restoration as a value: its spread, its file, its parts."""

from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from genprior.errors import GenpriorError
from genprior.restoration.result import Restoration

SHAPE, LATENTS = (2, 3, 4), 5


def _restoration(images: int = 3, candidates: int = 4, seed: int = 0) -> Restoration:
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.rand(images, *shape, generator=generator)

    x, z = draw(candidates, *SHAPE), draw(candidates, LATENTS)
    return Restoration(
        images=x[:, 0].clone(),
        latents=z[:, 0].clone(),
        misfit=draw(),
        error=draw(),
        energy=draw().double(),
        weight=draw(),
        starts=torch.arange(images),
        iterations=torch.arange(images) + 7,
        stopped=tuple(["converged", "iterations", "stalled"][i % 3] for i in range(images)),
        verdicts=tuple(f"verdict «{i}»" for i in range(images)),
        candidates=x,
        candidate_latents=z,
        candidate_counts=1 + torch.arange(images) % candidates,
        draws=draw(6, *SHAPE).half().float(),
        probabilities=draw(candidates),
        r_hat=1 + draw(),
        effective=draw(),
    )


def _assert_equal(one: Restoration, other: Restoration) -> None:
    for field in fields(Restoration):
        a, b = getattr(one, field.name), getattr(other, field.name)
        assert type(a) is type(b), field.name
        if isinstance(a, Tensor):
            assert a.dtype == b.dtype, field.name
            assert torch.equal(a, b), field.name
        else:
            assert a == b, field.name


def test_what_is_loaded_is_what_was_saved(tmp_path: Path) -> None:
    found = _restoration()
    found.save(tmp_path / "found.safetensors")
    _assert_equal(Restoration.load(tmp_path / "found.safetensors"), found)
    assert [file.name for file in tmp_path.iterdir()] == ["found.safetensors"]


def test_a_second_file_takes_the_place_of_the_first(tmp_path: Path) -> None:
    _restoration().save(tmp_path / "found")
    _restoration(2, seed=1).save(tmp_path / "found")
    _assert_equal(Restoration.load(tmp_path / "found"), _restoration(2, seed=1))


def test_images_may_be_views_of_the_candidates(tmp_path: Path) -> None:
    found = _restoration(candidates=1)
    found = replace(found, images=found.candidates[:, 0], latents=found.candidate_latents[:, 0])
    found.save(tmp_path / "found")
    _assert_equal(Restoration.load(tmp_path / "found"), found)


def test_views_that_are_not_contiguous_are_saved(tmp_path: Path) -> None:
    found = _restoration()
    found = replace(found, images=found.candidates[:, 0], latents=found.candidate_latents[:, 0])
    found.save(tmp_path / "found")
    _assert_equal(Restoration.load(tmp_path / "found"), found)


def _refuses(path: Path, message: str) -> None:
    with pytest.raises(GenpriorError, match=message) as caught:
        Restoration.load(path)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    _refuses(tmp_path / "found", r"found holds no restoration: .*No such file")


@pytest.mark.parametrize("keep", [0, 5, 100, 0.5, 0.99])
def test_a_damaged_file_is_an_error(tmp_path: Path, keep: float) -> None:
    file = tmp_path / "found"
    _restoration().save(file)
    content = file.read_bytes()
    file.write_bytes(content[: keep if isinstance(keep, int) else int(keep * len(content))])
    _refuses(file, r"found holds no restoration: .")


@pytest.mark.parametrize("content", [b"\x89PNG\r\n\x1a\n" + bytes(64), b"{}", b"hello " * 50])
def test_a_foreign_file_is_an_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "found").write_bytes(content)
    _refuses(tmp_path / "found", r"found holds no restoration: .")


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}, {"genprior": "1"}, {"genprior": "{}"}, {"genprior": "{"}])
def test_foreign_tensors_are_an_error(tmp_path: Path, metadata: dict[str, str] | None) -> None:
    from safetensors.torch import save_file

    save_file({"images": torch.zeros(1)}, tmp_path / "found", metadata=metadata)
    _refuses(tmp_path / "found", r"found holds no restoration: .")


def test_joined_parts_are_the_whole() -> None:
    parts = [_restoration(3, seed=0), _restoration(1, seed=1), _restoration(2, seed=2)]
    whole = Restoration.joined(parts)
    assert len(whole) == 6
    for field in fields(Restoration):
        values = getattr(whole, field.name)
        for first, part in zip((0, 3, 4), parts, strict=True):
            own = getattr(part, field.name)
            taken = values[first : first + len(part)]
            assert torch.equal(taken, own) if isinstance(own, Tensor) else taken == own, field.name


def test_the_spread_is_the_deviation_over_the_candidates_that_there_are() -> None:
    found = _restoration(4, 4)
    for i, spread in enumerate(found.spread()):
        there = found.candidates[i, : int(found.candidate_counts[i])]
        torch.testing.assert_close(spread, there.std(0, unbiased=False))
    assert torch.equal(found.spread()[0], torch.zeros(SHAPE))


def test_images_in_any_memory_layout_are_saved(tmp_path: Path) -> None:
    found = _restoration()
    found = replace(found, images=found.images.contiguous(memory_format=torch.channels_last))
    assert not found.images.is_contiguous()
    found.save(tmp_path / "found.safetensors")
    _assert_equal(Restoration.load(tmp_path / "found.safetensors"), found)


def test_files_from_before_there_were_draws_are_read(tmp_path: Path) -> None:
    found = _restoration()
    found.save(tmp_path / "new")
    with safe_open(tmp_path / "new", framework="pt") as file:
        metadata = file.metadata()
    tensors = load_file(tmp_path / "new")
    for name in ("draws", "probabilities", "r_hat", "effective"):
        del tensors[name]
    save_file(tensors, tmp_path / "old", metadata)
    old = Restoration.load(tmp_path / "old")
    assert torch.equal(old.images, found.images)
    assert old.draws.shape == (3, 0, *SHAPE)
    assert bool(old.r_hat.isnan().all())
