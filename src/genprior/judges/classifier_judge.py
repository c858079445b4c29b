"""The classifier that judges a data set: trained once, kept in the data root's cache, and told how good it is."""

import hashlib
import json
import warnings
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from genprior.data import Dataset
from genprior.data.named import SPLITS
from genprior.data.spec import parse_spec
from genprior.errors import GenpriorError
from genprior.evaluation.features import RECIPE, Classifier, checked_labels, classifier_training, seen
from genprior.runs.encoder_training import weights_sha256
from genprior.runs.files import save_tensors, write_json

FOLDER = "classifiers"
ONE_IN = 5  # images kept back where there are no test images
WITHOUT_TEST = {None, "digits", "hub"}  # sources that have no test split, or do not say what they call it
LEAST_ACCURACY = 0.9


@dataclass(frozen=True)
class Judge:
    """A trained classifier.

    Attributes:
        data: Spec of the images that it was trained on.
        classifier: Frozen, in evaluation mode.
        accuracy: On labelled images that it was not trained on, in [0, 1].
        sha256: Of its weights: scores by equal ones can be compared.
    """

    data: str
    classifier: Classifier
    accuracy: float
    sha256: str


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


def judge_data(text: str, load: Callable[[str], Dataset]) -> tuple[Dataset, Dataset]:
    """Returns the images that a classifier of a data set is trained on, and those that tell its accuracy.

    These are the training and the test images where the data set tells them apart, else four fifths and every fifth.
    A slice in the spec is left out of account: the classifier is one of the whole.

    Raises:
        GenpriorError: About `judge`: data that no classifier can be trained on.
    """
    specs = split_specs(text)
    try:
        train, test = (load(specs[0]), load(specs[1])) if specs else _fifth_kept_back(load(_whole(text)))
        checked_labels(train)
    except GenpriorError as error:
        raise GenpriorError(
            f"{error.message}; name labelled images of the same shape with --judge, such as --judge mnist",
            argument="judge",
        ) from error
    return train, test


def judge_of(train: Dataset, test: Dataset, folder: Path) -> Generator[float, None, Judge]:
    """Trains a classifier or takes it from the cache, yields the share that is done, and returns it.

    Arguments:
        train: Labelled images.
        test: Others.
        folder: Of the cache; one that cannot be written is told in a warning.

    Raises:
        GenpriorError: It errs too often to judge anything.
    """
    weights = folder / f"{_key(train, test)}.safetensors"
    judge = _kept(train, weights)
    if judge is None:
        judge = yield from _trained(train, test)
        _keep(judge, len(train), len(test), weights)
    if judge.accuracy < LEAST_ACCURACY:
        raise GenpriorError(
            f"the classifier of {train.name} is right on {judge.accuracy:.0%} of {len(test)} held-out images, "
            f"{LEAST_ACCURACY:.0%} are needed to judge samples; name labelled images of the same shape that are "
            "easier to tell apart with --judge, such as --judge mnist",
            argument="judge",
        )
    yield 1.0
    return judge


def _whole(text: str) -> str:
    spec = parse_spec(text)
    return ":".join(part for part in (spec.source, spec.rest) if part)


def _fifth_kept_back(data: Dataset) -> tuple[Dataset, Dataset]:
    checked_labels(data)
    is_test = torch.arange(len(data)) % ONE_IN == ONE_IN - 1
    if not bool(is_test.any()):
        raise GenpriorError(f"{data.name} has {len(data)} images, {ONE_IN} or more are needed", argument="data")
    return data.part(~is_test), data.part(is_test)


def _key(train: Dataset, test: Dataset) -> str:
    """A hash of all that decides what the classifier is, and how accurate it is found to be."""
    digest = hashlib.sha256(RECIPE.encode())
    for data in (train, test):
        digest.update(data.fingerprint().encode())
        digest.update(checked_labels(data).contiguous().numpy().data)
    return digest.hexdigest()[:32]


def _trained(train: Dataset, test: Dataset) -> Generator[float, None, Judge]:
    for share, trained in classifier_training(train):
        classifier = trained
        yield 0.95 * share
    assert test.labels is not None
    _, classes = seen(classifier, test)
    accuracy = float((classes == test.labels).double().mean())
    return Judge(train.name, classifier, accuracy, weights_sha256(classifier.state_dict()))


def _kept(train: Dataset, weights: Path) -> Judge | None:
    """The classifier in the cache, or None where there is none or it is damaged."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        table: dict[str, Any] = json.loads(weights.with_suffix(".json").read_text())
        classifier = Classifier(train.image_shape, int(checked_labels(train).max()) + 1)
        classifier.load_state_dict(load_file(weights))
        judge = Judge(train.name, classifier.eval().requires_grad_(False), float(table["accuracy"]), table["sha256"])
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError):  # none, or damaged
        return None
    return judge if weights_sha256(classifier.state_dict()) == judge.sha256 else None


def _keep(judge: Judge, trained_on: int, tested_on: int, weights: Path) -> None:
    table = {
        "data": judge.data,
        "recipe": RECIPE,
        "images": trained_on,
        "accuracy": judge.accuracy,
        "accuracy_on": tested_on,
        "sha256": judge.sha256,
    }
    try:
        weights.parent.mkdir(parents=True, exist_ok=True)
        save_tensors(judge.classifier.state_dict(), weights)
        write_json(weights.with_suffix(".json"), table)
    except OSError as error:
        reason = error.strerror or error
        warnings.warn(f"the classifier is not kept, {weights.parent} cannot be written: {reason}", stacklevel=2)
