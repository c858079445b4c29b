"""Restoring in whatever context of torch and the system: inference mode, another default type, another umask."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from deepinv.physics import Denoising, GaussianNoise, Inpainting, Physics
from safetensors.torch import load_file

import genprior
from genprior.errors import GenpriorError
from genprior.restoration.restore import invert, restore
from genprior.restoration.search_settings import SearchSettings
from genprior.writing import save_tensors
from tiny_run import SHAPE

QUICK = SearchSettings(starts=2, iterations=3)


@pytest.fixture
def float64() -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def inpainting(count: int = 1) -> Inpainting:
    mask = torch.ones(count, 1, *SHAPE[1:])
    mask[..., 2:4] = 0
    return Inpainting(SHAPE, mask=mask)


@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize("make", [lambda: Denoising(GaussianNoise(0.1)), inpainting, lambda: inpainting(3)])
def test_what_was_made_under_inference_mode_is_restored(tiny_run: Path, make: object, inside: bool) -> None:
    x = torch.rand(3, *SHAPE)
    with torch.inference_mode():
        prior, physics = genprior.load_prior(tiny_run), make()
        y = x * physics.mask if isinstance(physics, Inpainting) else x + 0
        found = restore(prior, y, physics, QUICK) if inside else None
        inverted = invert(prior, x + 0, QUICK) if inside else None
    found, inverted = found or restore(prior, y, physics, QUICK), inverted or invert(prior, x, QUICK)
    plain = genprior.load_prior(tiny_run)
    assert torch.equal(found.images, restore(plain, y.clone(), make(), QUICK).images)
    assert torch.equal(inverted.images, invert(plain, x, QUICK).images)


def test_weights_made_under_inference_mode_are_used(tiny_run: Path) -> None:
    prior = genprior.load_prior(tiny_run)
    with torch.inference_mode():
        for module in prior.networks[0].modules():
            for name, value in [*module.named_parameters(recurse=False)]:
                setattr(module, name, torch.nn.Parameter(value + 0, requires_grad=False))
    assert any(each.is_inference() for each in prior.networks[0].parameters())
    x = torch.rand(2, *SHAPE)
    assert torch.equal(invert(prior, x, QUICK).images, invert(genprior.load_prior(tiny_run), x, QUICK).images)


@pytest.mark.parametrize("count", [1, 4])
def test_masks_for_other_images_are_refused_in_words(tiny_run: Path, count: int) -> None:
    with pytest.raises(GenpriorError, match=f"its masks are for 8 images, y holds {count}") as raised:
        restore(genprior.load_prior(tiny_run), torch.rand(count, *SHAPE), inpainting(8), QUICK)
    assert raised.value.argument == "physics"


class Scaled(Physics):
    """An operator with a factor for each of eight images."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("factor", torch.ones(8, 1, 1, 1))

    def A(self, x: torch.Tensor, **_: object) -> torch.Tensor:
        return x * self.factor


def test_an_operator_that_cannot_measure_so_many_images_is_refused_in_words(tiny_run: Path) -> None:
    with pytest.raises(GenpriorError, match=r"cannot measure 4 images .1, 8, 8., and its 'factor' is for 8: The size"):
        restore(genprior.load_prior(tiny_run), torch.rand(4, *SHAPE), Scaled(), QUICK)


@pytest.mark.usefixtures("float64")
def test_a_prior_is_float32_under_any_default_type(tiny_run: Path) -> None:
    prior, x = genprior.load_prior(tiny_run), torch.rand(2, *SHAPE, dtype=torch.float32)
    assert all(each.dtype == torch.float32 for each in prior.networks[0].parameters())
    assert prior.sample(2).dtype == torch.float32
    found = restore(prior, x, Denoising(GaussianNoise(0.1)), QUICK)
    assert found.images.dtype == found.latents.dtype == torch.float32
    torch.set_default_dtype(torch.float32)
    assert torch.equal(found.images, restore(prior, x, Denoising(GaussianNoise(0.1)), QUICK).images)


@pytest.mark.parametrize("umask", [0o022, 0o027, 0o077])
def test_files_may_be_read_by_whom_the_umask_lets(tiny_run: Path, tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        save_tensors({"x": torch.zeros(3)}, tmp_path / "a.safetensors")
        invert(genprior.load_prior(tiny_run), torch.rand(1, *SHAPE), QUICK).save(tmp_path / "b.safetensors")
    finally:
        os.umask(before)
    for name in "ab":
        assert stat.S_IMODE((tmp_path / f"{name}.safetensors").stat().st_mode) == 0o666 & ~umask
    assert load_file(tmp_path / "a.safetensors")["x"].tolist() == [0, 0, 0]
