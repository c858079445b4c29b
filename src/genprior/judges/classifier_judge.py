"""The classifier that judges a data set: trained once, kept in the data root's cache, and told how good it is."""

import hashlib
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from genprior.data import Dataset
from genprior.data.held_out import split_specs
from genprior.data.spec import parse_spec
from genprior.errors import GenpriorError
from genprior.evaluation.features import RECIPE, Classifier, checked_labels, classifier_training, seen
from genprior.progress import Stage, Task
from genprior.runs.files import save_tensors, weights_sha256, write_text
from genprior.settings import Model

FOLDER = "classifiers"
ONE_IN = 5  # images kept back where there are no test images
LEAST_ACCURACY = 0.9
WHAT = "classifier"


class ClassifierRecord(Model):
    """What is known of a trained classifier; it stands in the cache beside the weights.

    Attributes:
        data: Spec of the images that it was trained on.
        recipe: By which it was trained.
        images: How many images it was trained on.
        accuracy: On labelled images that it was not trained on, in [0, 1].
        accuracy_on: How many these are.
        sha256: Of its weights: scores by equal ones can be compared.
    """

    data: str
    recipe: str = RECIPE
    images: int
    accuracy: float
    accuracy_on: int
    sha256: str


@dataclass(frozen=True)
class Judge:
    """A trained classifier, frozen and in evaluation mode, and what is known of it."""

    classifier: Classifier
    record: ClassifierRecord


def judge_data(text: str, load: Callable[[str], Dataset]) -> tuple[Dataset, Dataset]:
    """Returns the images that a classifier of a data set is trained on, and those that tell its accuracy.

    These are the training and the test images where the data set tells them apart, else four fifths and every fifth.
    A slice in the spec is left out of account: the classifier is one of the whole.

    Raises:
        GenpriorError: About `judge`: data that no classifier can be trained on.
    """
    specs, spec = split_specs(text), parse_spec(text)
    try:
        if specs is not None:
            train, test = load(specs[0]), load(specs[1])
        else:
            train, test = _fifth_kept_back(load(":".join(part for part in (spec.source, spec.rest) if part)))
        checked_labels(train)
    except GenpriorError as error:
        raise GenpriorError(
            f"{error.message}; name labelled images of the same shape with --judge, such as --judge mnist",
            argument="judge",
        ) from error
    return train, test


def judge_of(train: Dataset, test: Dataset, folder: Path) -> Task[Judge]:
    """Trains a classifier, or takes it from the cache, and returns it.

    Arguments:
        train: Labelled images.
        test: Others.
        folder: Of the cache; where it cannot be written there is a warning.

    Raises:
        GenpriorError: It errs too often to judge anything.
    """
    weights = folder / f"{_key(train, test)}.safetensors"
    judge = _kept(train, weights)
    if judge is None:
        judge = yield from _trained(train, test)
        _keep(judge, weights)
    if judge.record.accuracy < LEAST_ACCURACY:
        raise GenpriorError(
            f"the classifier of {train.name} is right on {judge.record.accuracy:.0%} of {len(test)} held-out images, "
            f"{LEAST_ACCURACY:.0%} are needed to judge samples; name labelled images of the same shape that are "
            "easier to tell apart with --judge, such as --judge mnist",
            argument="judge",
        )
    yield Stage(1.0, WHAT)
    return judge


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


def _trained(train: Dataset, test: Dataset) -> Task[Judge]:
    for share, trained in classifier_training(train):
        classifier = trained
        yield Stage(0.95 * share, WHAT)
    assert test.labels is not None
    _, classes = seen(classifier, test)
    accuracy = float((classes == test.labels).double().mean())
    sha256 = weights_sha256(classifier.state_dict())
    record = ClassifierRecord(
        data=train.name, images=len(train), accuracy=accuracy, accuracy_on=len(test), sha256=sha256
    )
    return Judge(classifier, record)


def _kept(train: Dataset, weights: Path) -> Judge | None:
    """The classifier in the cache, or None where there is none or it is damaged."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        record = ClassifierRecord.model_validate_json(weights.with_suffix(".json").read_bytes())
        classifier = Classifier(train.image_shape, int(checked_labels(train).max()) + 1)
        classifier.load_state_dict(load_file(weights))
    except (OSError, ValueError, RuntimeError, SafetensorError):  # none, or damaged
        return None
    if weights_sha256(classifier.state_dict()) != record.sha256:
        return None
    # Images of the same contents may have had another name.
    return Judge(classifier.eval().requires_grad_(False), record.model_copy(update={"data": train.name}))


def _keep(judge: Judge, weights: Path) -> None:
    try:
        weights.parent.mkdir(parents=True, exist_ok=True)
        save_tensors(judge.classifier.state_dict(), weights)
        write_text(weights.with_suffix(".json"), judge.record.model_dump_json(indent=2) + "\n")
    except OSError as error:
        reason = error.strerror or error
        warnings.warn(f"the classifier is not kept, {weights.parent} cannot be written: {reason}", stacklevel=2)
