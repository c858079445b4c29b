"""What a run learns from and what it never sees."""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from genprior.data import Dataset, load_data
from genprior.data.held_out import MOST, count_learned, set_apart, split_data, split_of, split_specs
from genprior.data.load import SOURCES
from genprior.data.near_duplicates import constant_images, duplicate_groups
from genprior.data.spec import parse_spec
from genprior.images import picture_to_tensor

SHAPES = [(1, 28, 28), (3, 32, 32), (1, 32, 48), (3, 64, 64), (4, 16, 16)]
Images = torch.Tensor


def pictures(count: int, shape: tuple[int, int, int] = (3, 32, 32), seed: int = 0) -> Images:
    """Smooth pictures that differ: a few waves each, uint8 (N, C, H, W), far from black and white."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, shape[0], 5, 5, generator=generator)
    fine = torch.nn.functional.interpolate(coarse, shape[1:], mode="bicubic", align_corners=True)
    return (40 + 160 * fine.clamp(0, 1)).round().byte()


def dataset(images: Images) -> Dataset:
    return Dataset("some", images, torch.arange(len(images)))


def both(data: Dataset, share: float = 0.1) -> tuple[Dataset, Dataset]:
    split = set_apart(data, share)
    kept = split.load_held_out()
    assert kept is not None
    return split.learned, kept


def jpeg(image: Images, quality: int) -> Images:
    values = image.permute(1, 2, 0).numpy()
    content = BytesIO()
    Image.fromarray(values[..., 0] if values.shape[2] == 1 else values).save(content, "JPEG", quality=quality)
    return picture_to_tensor(Image.open(content))


COPIES: dict[str, Callable[[Images], Images]] = {
    "the same": lambda image: image.clone(),
    "recompressed": lambda image: jpeg(image, 75),
    "darker": lambda image: (image * 0.8).round().byte(),
    "brighter": lambda image: image + 40,
    "noisy": lambda image: (image + 2 * torch.randn(image.shape, generator=torch.Generator().manual_seed(1))).byte(),
}


# Near duplicates.


@pytest.mark.parametrize("shape", [shape for shape in SHAPES if shape[0] < 4])
@pytest.mark.parametrize("kind", COPIES)
def test_known_copies_are_found_and_no_others(kind: str, shape: tuple[int, int, int]) -> None:
    images = pictures(40, shape)
    copies = torch.stack([COPIES[kind](image) for image in images[:8]])
    groups = duplicate_groups(torch.cat([images, copies]))
    assert torch.equal(groups[40:], groups[:8])
    assert len(groups.unique()) == 40


def test_copies_of_copies_are_one_group() -> None:
    image = pictures(1)[0]
    chain = torch.stack([image, (image * 0.9).round().byte(), jpeg((image * 0.9).round().byte(), 75)])
    assert len(duplicate_groups(chain).unique()) == 1


def test_the_search_finds_what_comparing_all_with_all_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("genprior.data.near_duplicates.RADIUS", 0.2)
    images = load_data("digits[:600]", size=16).images
    whole = duplicate_groups(images)
    x = images.double().flatten(1)
    x = x - x.mean(1, keepdim=True)
    x = x / x.norm(dim=1, keepdim=True)
    together, distance = whole[:, None] == whole[None], torch.cdist(x, x)
    for radius, is_within in ((0.195, lambda linked: linked <= together), (0.205, lambda linked: together <= linked)):
        linked = distance <= radius
        for _ in range(10):
            linked = (linked.float() @ linked.float()) > 0
        assert bool(is_within(linked).all())
    assert len(whole.unique()) < len(images)
    monkeypatch.setattr("genprior.data.near_duplicates.PAIRS_AT_ONCE", 5000)
    assert torch.equal(duplicate_groups(images), whole)


def test_constant_images_are_known_and_one_group() -> None:
    images = torch.cat([pictures(3), torch.zeros(1, 3, 32, 32).byte(), torch.full((1, 3, 32, 32), 200).byte()])
    assert constant_images(images).tolist() == [False, False, False, True, True]
    groups = duplicate_groups(images)
    assert groups[3] == groups[4]
    assert len(groups.unique()) == 4


# Held-out images.


@pytest.mark.parametrize("shape", SHAPES)
def test_every_image_is_learned_or_held_out(shape: tuple[int, int, int]) -> None:
    data = dataset(pictures(100, shape))
    learned, kept = both(data)
    assert (len(learned), len(kept)) == (90, 10)
    assert kept.name == "some, held out"
    assert set_apart(data, 0.1).set_apart == 10
    labels = torch.cat([learned.labels, kept.labels])  # type: ignore[list-item]
    assert labels.sort().values.tolist() == list(range(100))
    assert torch.equal(data.images[kept.labels], kept.images)  # type: ignore[index]
    assert count_learned(learned, kept) == 0


@pytest.mark.parametrize(("count", "expected"), [(300, 30), (1797, 180), (10, 1), (6, 1)])
def test_a_tenth_is_held_out(count: int, expected: int) -> None:
    assert len(both(dataset(pictures(count, (1, 16, 16))))[1]) == expected


def test_some_thousands_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    assert MOST == 5000
    monkeypatch.setattr("genprior.data.held_out.MOST", 7)
    assert len(both(dataset(pictures(300, (1, 16, 16))))[1]) == 7


@pytest.mark.parametrize(("count", "share"), [(300, 0.0), (4, 0.1), (1, 0.5)])
def test_nothing_may_be_held_out(count: int, share: float) -> None:
    data = dataset(pictures(count, (1, 16, 16)))
    split = set_apart(data, share)
    assert split.learned is data
    assert split.load_held_out() is None


def test_contents_decide_and_not_the_order() -> None:
    images = pictures(200)
    order = torch.randperm(200, generator=torch.Generator().manual_seed(0))
    one, other = (set(both(dataset(each))[1].hashes()) for each in (images, images[order]))
    assert one == other


def test_a_larger_share_holds_the_same_images_out_and_more() -> None:
    data = dataset(pictures(200))
    assert set(both(data, 0.1)[1].hashes()) < set(both(data, 0.3)[1].hashes())


@pytest.mark.parametrize("kind", COPIES)
def test_no_near_copy_of_a_held_out_image_is_learned(kind: str) -> None:
    images = pictures(60)
    data = dataset(torch.cat([images, torch.stack([COPIES[kind](image) for image in images])]))
    learned, kept = both(data)
    assert len(kept) == 12
    sides = [{int(label) % 60 for label in each.labels} for each in (learned, kept)]  # type: ignore[union-attr]
    assert not sides[0] & sides[1]


def test_copies_of_a_single_image_are_all_learned() -> None:
    data = dataset(pictures(1).repeat(50, 1, 1, 1))
    assert set_apart(data, 0.1).load_held_out() is None


def test_learned_images_are_counted_by_their_pixels() -> None:
    images = pictures(20)
    assert count_learned(dataset(images[:12]), dataset(images[8:])) == 4
    assert count_learned(dataset(images[:, :1, :, :16]), dataset(images[:, :1, :16, :])) == 0


@pytest.mark.parametrize("name", SOURCES)
def test_every_source_says_what_is_learned(name: str, copies: Path, hub_folder: Path) -> None:
    """Test images are held out where there are any; of 2-D points none; of all other data some."""
    spec = {"hub": f"hub:{hub_folder}", "ring": "ring:count=40", "grid": "grid:count=40"}.get(name, name)
    spec = "stacked-mnist:count=40" if name == "stacked-mnist" else spec

    def load(text: str) -> Dataset:
        return load_data(text, root=copies)

    split = split_data(spec, 0.2, load)
    kept = split.load_held_out()
    if name in ("ring", "grid"):
        assert kept is None
        return
    assert kept is not None
    is_by_content = name in ("digits", "hub")
    assert kept.name == (f"{spec}, held out" if is_by_content else str((split_specs(spec) or "")[1]))
    assert len(split.learned) + len(kept) == len(load(spec)) or not is_by_content


@pytest.mark.parametrize("spec", ["mnist:all", "mnist:test", "mnist:split=all[:5]"])
def test_what_is_learned_with_its_test_images_holds_none_out(spec: str, copies: Path) -> None:
    split = split_data(spec, 0.1, lambda text: load_data(text, root=copies))
    assert split.load_held_out() is None
    assert len(split.learned) == len(load_data(spec, root=copies))


@pytest.mark.parametrize(
    ("spec", "split"), [("mnist", "train"), ("mnist:test[:3]", "test"), ("emnist:letters,split=all", "all")]
)
def test_a_spec_names_a_split(spec: str, split: str) -> None:
    assert split_of(parse_spec(spec)) == split


# Tensors of every origin.


def test_images_made_under_inference_mode_can_be_trained_on() -> None:
    from genprior import Budget, GANConfig, train

    with torch.inference_mode():
        data = Dataset("made", pictures(32, (1, 16, 16)), torch.arange(32))
        points = load_data("ring:count=64")
    config: dict[str, Any] = {"batch_size": 8, "latent_size": 4, "precision": "float32"}
    gan = GANConfig(model="dcgan:generator_width=4,discriminator_width=4,norm=none", **config).build(data)
    assert len(list(train(gan, data, Budget(images=16)))) == 2
    plane = GANConfig(preset="points", **config).build(points)
    assert len(list(train(plane, points, Budget(images=16)))) == 2
    with torch.inference_mode():
        split = set_apart(data, 0.25)
    assert len(list(train(gan, split.learned, Budget(images=16)))) == 2


def test_a_folder_of_copies_on_both_sides_is_split_by_content(tmp_path: Path) -> None:
    images = pictures(40, (3, 16, 16))
    for i, image in enumerate(images):
        for j in range(2):
            Image.fromarray(np.ascontiguousarray(image.permute(1, 2, 0))).save(tmp_path / f"{j}-{i}.png")
    learned, kept = both(load_data(tmp_path))
    assert (len(learned), len(kept)) == (72, 8)
    assert count_learned(learned, kept) == 0
