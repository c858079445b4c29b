"""What judges: which judge is taken, what it is trained on, and how it is kept."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from torch import Tensor

from genprior.data import Dataset, load_data
from genprior.data.held_out import split_specs
from genprior.errors import GenpriorError
from genprior.judges import trained_judge as judging
from genprior.judges.trained_judge import (
    CLASSIFIER,
    JIGSAW,
    JUDGES,
    Judge,
    TrainedRecord,
    choose_judge,
    judge_data,
    judge_of,
    without_labels,
)
from genprior.progress import result_of
from genprior.runs.files import write_json
from genprior.scoring.scoring_results import JudgeRecord
from tiny_judge import load_tiny, make_tiny_judge


def _images(kind: str) -> tuple[Dataset, Dataset]:
    """Images that a judge of a kind is trained on, and others."""
    if kind == "classifier":
        return judge_data("digits", load_tiny)
    return without_labels(load_data("digits", size=16), "").images


def _judge(kind: str, root: Path) -> Judge[Any]:
    return result_of(judge_of(JUDGES[kind], *_images(kind), root))


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with a judge of 8 x 8 digits of each kind in its cache."""
    root = tmp_path_factory.mktemp("root")
    for kind in JUDGES:
        _judge(kind, root)
    return root


@pytest.mark.parametrize("kind", JUDGES)
def test_a_kept_judge_is_not_trained_again(kind: str, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judging, "_trained", None)
    first, second = _judge(kind, cache), _judge(kind, cache)
    assert first.record == second.record
    assert (first.record.recipe, first.record.data) == (JUDGES[kind].recipe, "digits")
    assert (first.record.images, first.record.accuracy_on) == (1438, 359)


@pytest.mark.parametrize("kind", JUDGES)
def test_a_judge_sees_features_and_knows_how_good_it_is(kind: str, cache: Path) -> None:
    judge = _judge(kind, cache)
    assert judge.record.accuracy > {"classifier": 0.9, "jigsaw": 0.6}.get(kind, 0)
    x = _images(kind)[1].take(torch.arange(5))
    features = judge.network.features(x)
    assert features.shape == (5, judge.network.num_features)
    assert not features.requires_grad
    classes = judge.network.classes(features)
    assert (classes is None) == (judge.network.num_classes == 0) == (not JUDGES[kind].needs_labels)
    assert classes is None or classes.shape == (5,)


@pytest.mark.parametrize("kind", JUDGES)
def test_a_judge_is_the_same_wherever_it_is_trained(kind: str, cache: Path, tmp_path: Path) -> None:
    assert _judge(kind, tmp_path).record == _judge(kind, cache).record


@pytest.mark.parametrize("kind", JUDGES)
def test_a_kind_has_the_name_of_its_entry(kind: str) -> None:
    assert JUDGES[kind].name == kind
    assert kind in get_args(JudgeRecord.model_fields["kind"].annotation)


@pytest.mark.parametrize("suffix", [".json", ".safetensors"])
@pytest.mark.parametrize("damage", ["cut", "gone", "other"])
@pytest.mark.parametrize("name", JUDGES)
def test_a_damaged_judge_is_trained_again(cache: Path, tmp_path: Path, name: str, suffix: str, damage: str) -> None:
    kind = JUDGES[name]
    folder = shutil.copytree(cache / kind.folder, tmp_path / "copy")
    (file,) = folder.glob(f"*{suffix}")
    content = file.read_bytes()
    train, _ = _images(name)
    assert judging._kept(kind, train, file.with_suffix(".safetensors")) is not None
    if damage == "gone":
        file.unlink()
    elif damage == "cut":
        file.write_bytes(content[: len(content) // 2])
    elif suffix == ".json":
        file.write_bytes(content.replace(b'"sha256": "', b'"sha256": "0'))
    else:
        file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert judging._kept(kind, train, file.with_suffix(".safetensors")) is None


@pytest.mark.parametrize(
    ("shape", "labels", "told"),
    [
        ((3, 16, 16), None, "photos has no labels"),
        ((1, 16, 24), torch.arange(50) % 2, "square images of 8 pixels or more, those of photos are 16 x 24"),
        ((1, 16, 16), torch.zeros(50, dtype=torch.long), "photos has one class"),
    ],
)
def test_where_no_classifier_can_judge_features_are_learned_and_it_is_said_why(
    shape: tuple[int, int, int], labels: Tensor | None, told: str
) -> None:
    images = Dataset("photos", torch.zeros(50, *shape, dtype=torch.uint8), labels)
    given = choose_judge(None, "photos", images, lambda spec: images)
    assert given.kind == "jigsaw"
    assert told in given.reason
    assert [len(each) for each in given.images] == [40, 10]
    with pytest.raises(GenpriorError, match=rf"judge: .*{told}"):
        choose_judge("photos", "photos", images, lambda spec: images)


def test_labels_are_used_where_there_are_any() -> None:
    given = choose_judge(None, "digits", load_tiny("digits[:100]"), load_tiny)
    assert (given.kind, given.reason) == ("classifier", "")
    assert [len(each) for each in given.images] == [1438, 359]


def test_other_labels_make_another_judge() -> None:
    train, test = judge_data("digits", load_tiny)
    assert train.labels is not None
    assert len(train) == 1438
    assert len(test) == 359
    before = judging._key(CLASSIFIER, train, test)
    train.labels[0] = (train.labels[0] + 1) % 10
    assert judging._key(CLASSIFIER, train, test) != before


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mnist", ("mnist:train", "mnist:test")),
        ("mnist:all[:100]", ("mnist:train", "mnist:test")),
        ("emnist:letters,split=all", ("emnist:train,letters", "emnist:test,letters")),
        ("digits[:10]", None),
        ("hub:owner/name:split=train", None),
    ],
)
def test_splits_of_named_data_are_known(text: str, expected: tuple[str, str] | None) -> None:
    assert split_specs(text) == expected


def test_other_images_make_other_features() -> None:
    train, test = _images("jigsaw")
    before = judging._key(JIGSAW, train, test)
    assert judging._key(JIGSAW, replace(train, labels=None), test) == before
    changed = train.images.clone()
    changed[0, 0, 0, 0] ^= 1
    assert judging._key(JIGSAW, replace(train, images=changed), test) != before


def test_a_slice_does_not_narrow_the_judge() -> None:
    train, test = judge_data("digits[:10]", load_tiny)
    assert len(train) + len(test) == 1797


def test_a_cache_that_cannot_be_written_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    record = TrainedRecord(data="digits", recipe="", images=1, accuracy=1.0, accuracy_on=1, sha256="0")
    judge = Judge(judging.Classifier((1, 8, 8), 10), record)
    with pytest.warns(UserWarning, match="the classifier is not kept, .*file cannot be written"):
        judging._keep(CLASSIFIER, judge, tmp_path / "file" / "weights.safetensors")


# Bad input.


def test_a_classifier_that_errs_judges_nothing(cache: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(cache, tmp_path / "copy")
    (file,) = (folder / CLASSIFIER.folder).glob("*.json")
    write_json(file, {**json.loads(file.read_text()), "accuracy": 0.62})
    with pytest.raises(GenpriorError, match=r"judge: the classifier of digits is right on 62% .*90% are needed"):
        make_tiny_judge(folder)


def test_an_accuracy_that_was_altered_is_not_believed(cache: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(cache, tmp_path / "copy")
    (file,) = (folder / CLASSIFIER.folder).glob("*.json")
    before = file.read_text()
    file.write_text(json.dumps({**json.loads(before), "accuracy": 1.0}))
    with pytest.warns(UserWarning, match="was altered: the classifier is trained anew"):
        assert make_tiny_judge(folder).record.accuracy == json.loads(before)["accuracy"]
    assert file.read_text() == before


def test_too_few_images_judge_nothing() -> None:
    few = Dataset("photos", torch.zeros(4, 1, 16, 16, dtype=torch.uint8))
    with pytest.raises(GenpriorError, match=r"judge: no labels; and photos has 4 images, 5 or more are needed"):
        without_labels(few, "no labels")
