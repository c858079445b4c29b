"""The small classifier: what it learns, and what it refuses."""

from dataclasses import replace

import pytest
import torch

from genprior.data import Dataset, load_data
from genprior.errors import GenpriorError
from genprior.evaluation.features import classifier_training, features_and_classes, seen, train_classifier
from genprior.images import to_uint8


def _striped(count: int = 60) -> Dataset:
    """Two classes that are easily told apart: bright halves, above and below."""
    labels = torch.arange(count) % 2
    x = 0.2 * torch.rand(count, 1, 8, 8)
    x[labels == 0, :, :4] += 0.7
    x[labels == 1, :, 4:] += 0.7
    return Dataset("striped", to_uint8(x), labels)


def test_easy_classes_are_learnt_and_features_are_those_of_the_classes() -> None:
    data = _striped()
    classifier = train_classifier(data)
    features, classes = seen(classifier, data)
    assert torch.equal(classes, data.labels)
    assert features.shape == (60, 128)
    torch.testing.assert_close(classifier.out(features), classifier(data.take(torch.arange(60))))


def test_a_whole_data_set_is_seen_as_its_parts_are(monkeypatch: pytest.MonkeyPatch) -> None:
    data = _striped()
    classifier = train_classifier(data)
    whole = seen(classifier, data)
    monkeypatch.setattr("genprior.evaluation.features.IMAGES_AT_ONCE", 7)
    for first, second in zip(whole, seen(classifier, data), strict=True):
        torch.testing.assert_close(first, second, rtol=1e-4, atol=1e-5)
    x = data.take(torch.arange(5))
    torch.testing.assert_close(features_and_classes(classifier, x)[0], whole[0][:5], rtol=1e-4, atol=1e-5)


def test_the_same_seed_gives_the_same_classifier_and_progress_ends_at_1() -> None:
    data = _striped(20)
    shares = [share for share, _ in classifier_training(data)]
    assert shares == sorted(shares)
    assert 0 < shares[0] < shares[-1] == 1
    first, second = (train_classifier(data).state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


def _unlabelled() -> Dataset:
    return replace(_striped(), labels=None)


def _one_class() -> Dataset:
    return replace(_striped(), labels=torch.zeros(60, dtype=torch.long))


def _small() -> Dataset:
    return replace(_striped(), images=torch.zeros(60, 1, 4, 4, dtype=torch.uint8))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (_unlabelled, "data: striped has no labels to train a classifier on"),
        (_one_class, "data: striped has one class; a classifier needs two or more"),
        (_small, "square images of 8 pixels or more, those of striped are 4 x 4"),
        (lambda: load_data("ring:count=20"), "ring:count=20 "),
    ],
)
def test_what_cannot_be_learnt_is_refused(data: object, message: str) -> None:
    with pytest.raises(GenpriorError, match=message):
        train_classifier(data())  # type: ignore[operator]
