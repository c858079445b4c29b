"""Images that are parts of larger pictures: fixed ones side by side, and new ones at each visit of training."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from genprior.data import Dataset, load_data
from genprior.data.held_out import set_apart
from genprior.data.random_crops import cut
from genprior.errors import GenpriorError
from genprior.families import GLOConfig
from genprior.images import to_float
from genprior.training.loop import Batch, Budget, train
from unequal_pictures import SIDES, write_pictures


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_pictures(tmp_path / "pictures")


def loaded(folder: Path, size: int | str | None = 16) -> Dataset:
    return load_data(folder, size=size, fit="crops")


def values_of(picture: Path) -> torch.Tensor:
    with Image.open(picture) as opened:
        return torch.from_numpy(np.asarray(opened).copy())


def is_part(part: torch.Tensor, picture: torch.Tensor) -> bool:
    """Whether a part (h, w) stands somewhere in a picture (H, W)."""
    places = picture.unfold(0, part.shape[0], 1).unfold(1, part.shape[1], 1)
    return bool((places == part).flatten(2).all(2).any())


def test_crops_are_parts_of_their_pictures_and_nothing_is_made_smaller(folder: Path) -> None:
    data = loaded(folder)
    assert data.whole is not None
    assert data.image_shape == (1, 16, 16)
    assert len(data) == sum((height // 16) * (width // 16) for height, width in SIDES)
    pictures = [values_of(file) for file in sorted(folder.glob("*.png"))]
    for image, owner in zip(data.images[:, 0], data.whole.owners.tolist(), strict=True):
        assert is_part(image, pictures[owner])


def test_each_visit_has_another_crop_of_the_same_picture(folder: Path) -> None:
    data = loaded(folder)
    assert data.whole is not None
    indices = torch.tensor([0, len(data) - 1])
    visits = [data.visited(indices, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)]
    assert torch.equal(visits[0], visits[1])
    assert not torch.equal(visits[0], visits[2])
    for crop, owner in zip(visits[2][:, 0], data.whole.owners[indices].tolist(), strict=True):
        assert is_part(crop, to_float(data.whole.pictures[owner])[0])


def test_all_places_of_a_picture_are_visited_alike() -> None:
    picture = torch.arange(3 * 5, dtype=torch.uint8).view(1, 3, 5)
    _, whole = cut([picture], (2, 2))
    crops = whole.new_crops(torch.zeros(4000, dtype=torch.int64), (2, 2), torch.Generator().manual_seed(0))
    counts = torch.bincount(crops[:, 0, 0, 0].long(), minlength=15)
    assert counts.nonzero()[:, 0].tolist() == [0, 1, 2, 3, 5, 6, 7, 8]
    assert int(counts[counts > 0].min()) > 400  # of 500 expected, deviation 21


def test_no_picture_is_learned_in_part_and_held_out_in_part(folder: Path) -> None:
    split = set_apart(loaded(folder), 0.4)
    kept = split.load_held_out()
    assert kept is not None
    assert kept.whole is not None
    assert split.learned.whole is not None
    assert not set(kept.whole.owners.tolist()) & set(split.learned.whole.owners.tolist())
    assert torch.equal(kept.take(torch.arange(len(kept))), to_float(kept.images))  # fixed ones


def test_equal_pictures_stay_together_and_empty_crops_do_not() -> None:
    one = torch.zeros(1, 8, 8, dtype=torch.uint8)
    other = torch.zeros(1, 8, 12, dtype=torch.uint8)
    _, whole = cut([one, other, one.clone()], (4, 4))
    assert whole.groups().tolist() == [0] * 4 + [1] * 6 + [0] * 4


def test_a_label_is_that_of_the_picture(folder: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "some.npz", images=np.zeros((2, 8, 12), np.uint8), labels=np.array([3, 5]))
    data = load_data(tmp_path / "some.npz", size=4, fit="crops")
    assert data.labels is not None
    assert data.labels.tolist() == [3] * 6 + [5] * 6
    assert data.part(torch.tensor([0, 7])).whole is not None


def test_a_size_is_chosen_that_all_pictures_have(folder: Path) -> None:
    assert loaded(folder, None).image_shape == (1, 32, 32)
    with pytest.raises(GenpriorError, match=r"too small for 41.*at most 40"):
        loaded(folder, 41)
    with pytest.raises(GenpriorError, match="never enlarged"):
        load_data("digits[:5]", fit="crops", size=16)


def test_training_sees_new_crops_and_resumes_with_the_same(folder: Path) -> None:
    data = loaded(folder)
    seen: list[torch.Tensor] = []

    class Watching:
        """Learns nothing, and keeps what it sees."""

        images_per_update, processes = 8, None

        def check(self, data: Dataset) -> None: ...
        def average_weights(self, images_seen: int) -> None: ...
        def update(self, batch: Batch, progress: float, generator: torch.Generator) -> dict[str, torch.Tensor]:
            seen.append(batch.images)
            return {}

    budget = Budget(images=8 * 12)
    list(train(Watching(), data, budget, seed=3))  # type: ignore[arg-type]
    list(train(Watching(), data, budget, seed=3, images_seen=8 * 9))  # type: ignore[arg-type]
    assert all(torch.equal(a, b) for a, b in zip(seen[9:12], seen[12:], strict=True))
    first, again = seen[0][0], torch.cat(seen[1:])
    assert not (again == first).flatten(1).all(1).any()


def test_a_code_for_each_image_does_not_go_with_crops(folder: Path) -> None:
    with pytest.raises(GenpriorError, match="never the same") as caught:
        GLOConfig(data=str(folder), fit="crops", size=16).build(loaded(folder))
    assert caught.value.argument == "fit"


def test_another_picture_is_another_data_set(folder: Path) -> None:
    before = loaded(folder).fingerprint()
    file = folder / "2.png"
    values = values_of(file).numpy()
    values[-1, 17] ^= 255
    Image.fromarray(values).save(file)
    assert loaded(folder).fingerprint() != before
