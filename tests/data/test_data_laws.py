"""Laws that every source keeps, whatever it holds."""

from pathlib import Path

import pytest
import torch

from genprior.data import Dataset, load_data
from genprior.data.load import SOURCES
from genprior.errors import GenpriorError

POINTS = ("ring", "grid")
IMAGES = tuple(name for name in SOURCES if name not in POINTS)
SPLIT = tuple(name for name in IMAGES if name not in ("digits", "hub", "stacked-mnist"))
MADE = (*POINTS, "stacked-mnist")


@pytest.fixture
def specs(copies: Path, hub_folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    monkeypatch.setenv("GENPRIOR_DATA", str(copies))
    counts = {name: f"{name}:count=40" for name in MADE}
    return {name: name for name in SOURCES} | counts | {"hub": f"hub:{hub_folder}"}


def same(one: Dataset, other: Dataset) -> bool:
    return one.fingerprint() == other.fingerprint() and torch.equal(labels(one), labels(other))


def labels(dataset: Dataset) -> torch.Tensor:
    assert dataset.labels is not None
    return dataset.labels


@pytest.mark.parametrize("name", SOURCES)
def test_every_source_keeps_the_contract_of_a_dataset(name: str, specs: dict[str, str]) -> None:
    dataset = load_data(specs[name])
    assert dataset.name == specs[name]
    assert dataset.images.dtype == (torch.float32 if name in POINTS else torch.uint8)
    assert dataset.image_shape[0] in ((2,) if name in POINTS else (1, 3))
    assert dataset.images.is_contiguous()
    assert labels(dataset).dtype == torch.int64
    assert labels(dataset).shape == (len(dataset),)
    assert labels(dataset).min() >= 0
    assert dataset.skipped == ()


@pytest.mark.parametrize("name", SOURCES)
def test_loading_twice_gives_the_same_data(name: str, specs: dict[str, str]) -> None:
    assert same(load_data(specs[name]), load_data(specs[name]))


@pytest.mark.parametrize("name", SOURCES)
def test_a_slice_of_the_spec_is_a_slice_of_the_data(name: str, specs: dict[str, str]) -> None:
    whole, part = load_data(specs[name]), load_data(specs[name] + "[-4:-1]")
    assert torch.equal(part.images, whole.images[-4:-1])
    assert torch.equal(labels(part), labels(whole)[-4:-1])
    assert part.images.untyped_storage().nbytes() == part.images.nbytes


@pytest.mark.parametrize("name", SOURCES)
def test_an_empty_slice_is_refused(name: str, specs: dict[str, str]) -> None:
    with pytest.raises(GenpriorError, match=r"^data: expected a slice that holds images.*none of"):
        load_data(specs[name] + "[3:3]")


@pytest.mark.parametrize("name", SOURCES)
def test_an_unknown_option_is_refused(name: str, specs: dict[str, str]) -> None:
    comma = "," if "=" in specs[name] else ":"
    with pytest.raises(GenpriorError, match=r"^data: .*(unknown option|takes no options)"):
        load_data(f"{specs[name]}{comma}splitt=test")


@pytest.mark.parametrize("fit", ["crop", "pad"])
@pytest.mark.parametrize("name", IMAGES)
def test_size_and_channels_are_those_asked_for(name: str, fit: str, specs: dict[str, str]) -> None:
    for channels in (1, 3):
        dataset = load_data(specs[name] + "[:3]", size=9, channels=channels, fit=fit)
        assert dataset.images.shape == (3, channels, 9, 9)


@pytest.mark.parametrize("name", [name for name in IMAGES if name != "digits"])
def test_images_are_never_enlarged(name: str, specs: dict[str, str]) -> None:
    with pytest.raises(GenpriorError, match=r"^size: .*never enlarged: give a size of at most \d+"):
        load_data(specs[name], size=200)


@pytest.mark.parametrize("argument", ["size", "channels"])
@pytest.mark.parametrize("name", POINTS)
def test_points_have_no_size_and_no_channels(name: str, argument: str) -> None:
    with pytest.raises(GenpriorError, match=rf"^{argument}: expected none for points .* got 1"):
        load_data(name, size=1 if argument == "size" else None, channels=1)  # size is looked at first


@pytest.mark.parametrize("name", SPLIT)
def test_split_all_is_train_then_test(name: str, specs: dict[str, str]) -> None:
    train, test, both = (load_data(f"{name}:{split}") for split in ("train", "split=test", "all"))
    assert (len(train), len(test)) == (12, 7)
    assert torch.equal(both.images, torch.cat([train.images, test.images]))
    assert torch.equal(labels(both), torch.cat([labels(train), labels(test)]))
    assert same(load_data(name), train)
