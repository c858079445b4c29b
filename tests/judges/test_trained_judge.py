"""The classifier that judges: what it is trained on, and how it is kept."""

import json
import shutil
from pathlib import Path

import pytest

from genprior.errors import GenpriorError
from genprior.judges import trained_judge as judging
from genprior.judges.run_images import split_specs
from genprior.judges.trained_judge import CLASSIFIER, Judge, TrainedRecord, judge_data
from genprior.runs.files import write_json
from tiny_judge import load_tiny, make_tiny_judge


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache with the judge of 8 x 8 digits in it."""
    folder = tmp_path_factory.mktemp("cache")
    make_tiny_judge(folder)
    return folder


def test_a_kept_judge_is_not_trained_again(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judging, "_trained", None)
    first, second = make_tiny_judge(cache), make_tiny_judge(cache)
    assert first.record == second.record
    assert first.record.accuracy > 0.9


@pytest.mark.parametrize("suffix", [".json", ".safetensors"])
@pytest.mark.parametrize("damage", ["cut", "gone", "other"])
def test_a_damaged_judge_is_trained_again(cache: Path, tmp_path: Path, suffix: str, damage: str) -> None:
    folder = shutil.copytree(cache, tmp_path / "copy")
    (file,) = folder.glob(f"*/*{suffix}")
    content = file.read_bytes()
    if damage == "gone":
        file.unlink()
    elif damage == "cut":
        file.write_bytes(content[: len(content) // 2])
    elif suffix == ".json":
        file.write_bytes(content.replace(b'"sha256": "', b'"sha256": "0'))
    else:
        file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    train, _ = judge_data("digits", load_tiny)
    assert judging._kept(CLASSIFIER, train, next(iter(cache.glob("*/*.safetensors")))) is not None
    assert judging._kept(CLASSIFIER, train, file.with_suffix(".safetensors")) is None


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
    (file,) = folder.glob("*/*.json")
    write_json(file, {**json.loads(file.read_text()), "accuracy": 0.62})
    with pytest.raises(GenpriorError, match=r"judge: the classifier of digits is right on 62% .*90% are needed"):
        make_tiny_judge(folder)
