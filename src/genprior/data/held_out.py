"""What a run learns from and what it never sees: decided here alone, from the settings and the contents of images."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from genprior.data.dataset import Dataset
from genprior.data.named import SPLITS
from genprior.data.near_duplicates import duplicate_groups
from genprior.data.spec import DataSpec, parse_spec
from genprior.errors import GenpriorError

MOST = 5000  # images held out: more would make no score surer
WITHOUT_TEST = {None, "digits", "hub"}  # sources that have no test split, or do not say what they call it
Load = Callable[[str], Dataset]


@dataclass(frozen=True)
class Split:
    """What a run learns from, and what it never sees.

    Attributes:
        learned: All images that training sees.
        load_held_out: Returns images of the same kind that it never sees; None where there are none.
        set_apart: How many of the images were held out for want of test images.
    """

    learned: Dataset
    load_held_out: Callable[[], Dataset | None]
    set_apart: int = 0


def split_data(text: str, share: float, load: Load) -> Split:
    """Returns the split of the images that a spec names.

    The training images of a data set with a test split are learned, and its test images held out; of one that is
    learned with its test images nothing is. Of all others a share is held out by contents. 2-D points have a known
    distribution: new ones can be drawn, so none are held out.

    Arguments:
        text: Spec of the images.
        share: In [0, 1), where there is no test split.
        load: Spec -> images.
    """
    whole, specs = load(text), split_specs(text)
    if whole.is_points or (specs is not None and split_of(parse_spec(text)) != "train"):
        return Split(whole, _nothing)
    if specs is not None:
        return Split(whole, partial(_test_images, specs[1], load))
    return set_apart(whole, share)


def set_apart(data: Dataset, share: float, groups: Tensor | None = None) -> Split:
    """Returns a split by contents: a share of the images, at most 5,000, none of which is learned in a near copy.

    The order of the images, their names and their number play no part in which come first: a hash of the pixels
    decides.

    Arguments:
        data: Images, not points.
        share: In [0, 1).
        groups: `duplicate_groups` of the images, where they are known.
    """
    count = min(MOST, round(share * len(data)))
    if count == 0:
        return Split(data, _nothing)
    is_held_out = _chosen(data, count, _groups(data) if groups is None else groups)
    if not bool(is_held_out.any()):
        return Split(data, _nothing)
    kept = replace(data.part(is_held_out), name=f"{data.name}, held out")
    return Split(data.part(~is_held_out), lambda: kept, len(kept))


def count_learned(learned: Dataset, images: Dataset) -> int:
    """Returns how many of the images are among those that were learned, pixel by pixel."""
    known = set(learned.hashes())
    return sum(each in known for each in images.hashes())


def split_specs(text: str) -> tuple[str, str] | None:
    """Returns the specs of all training and all test images of a named data set; None where it has no test images.

    Example:
        >>> split_specs("emnist:letters,train[:100]")
        ('emnist:train,letters', 'emnist:test,letters')
    """
    spec = parse_spec(text)
    if spec.source in WITHOUT_TEST:
        return None
    words = [word.strip() for word in spec.rest.split(",") if word.strip()]
    options = [word for word in words if word not in SPLITS and not word.startswith("split=")]
    train, test = (f"{spec.source}:{','.join([split, *options])}" for split in ("train", "test"))
    return train, test


def split_of(spec: DataSpec) -> str:
    """Returns the split that a spec of a named data set names: train, test or all."""
    words = [word.strip().removeprefix("split=") for word in spec.rest.split(",")]
    return next((word for word in words if word in SPLITS), "train")


def _nothing() -> None:
    return None


def _test_images(spec: str, load: Load) -> Dataset | None:
    try:
        return load(spec)
    except GenpriorError:  # a source without such a split
        return None


def _groups(data: Dataset) -> Tensor:
    """Images (N,) that must stay together: near duplicates, or parts of one picture, of which empty ones look alike."""
    return duplicate_groups(data.images) if data.whole is None else data.whole.groups()


def _chosen(data: Dataset, count: int, groups: Tensor) -> Tensor:
    """Which images are held out, bool (N,): whole groups of near duplicates, in the order of their first hash."""
    hashes = data.hashes()
    members: dict[int, list[int]] = {}
    for i, group in enumerate(groups.tolist()):
        members.setdefault(group, []).append(i)
    chosen = torch.zeros(len(data), dtype=torch.bool)
    left = count
    for group in sorted(members.values(), key=lambda group: min(hashes[i] for i in group)):
        if len(group) <= left:
            chosen[group] = True
            left -= len(group)
    return chosen
