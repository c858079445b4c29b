"""What judges a data set: a small network that is trained once, kept in the data root's cache, and told how good it is.

`JUDGES`, at the end, has the kinds: a classifier where images have labels, else features learned without any.
"""

import hashlib
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Literal, Protocol, Self, TypeVar

import torch
from torch import Tensor

from genprior.data import Dataset
from genprior.data.held_out import split_specs
from genprior.data.spec import parse_spec
from genprior.errors import GenpriorError, raise_lack_of_memory
from genprior.evaluation.features import RECIPE, Classifier, FeatureNetwork, checked_labels, classifier_training, seen
from genprior.evaluation.jigsaw_features import (
    JIGSAW_RECIPE,
    JigsawNetwork,
    check_sides,
    jigsaw_training,
    orders_named,
)
from genprior.progress import Stage, Task
from genprior.settings import Model
from genprior.stored_files import read_model, read_tensors, signed, weights_sha256
from genprior.writing import save_tensors, write_text

JudgeName = Literal["classifier", "jigsaw"]
ONE_IN = 5  # images kept back where there are no test images
N = TypeVar("N", bound="JudgingNetwork")


class JudgingNetwork(FeatureNetwork, Protocol):
    """A network of torch that sees images as features."""

    def state_dict(self) -> dict[str, Tensor]: ...

    def load_state_dict(self, state: Mapping[str, Tensor]) -> object: ...

    def eval(self) -> Self: ...

    def requires_grad_(self, requires_grad: bool) -> Self: ...


class TrainedRecord(Model):
    """What is known of a trained judge; it stands in the cache beside the weights.

    Attributes:
        data: Spec of the images that it was trained on.
        recipe: By which it was trained.
        images: How many images it was trained on.
        accuracy: On images that it was not trained on, in [0, 1]: of classes, or of orders of quarters.
        accuracy_on: How many these are.
        sha256: Of its weights: scores by equal ones can be compared.
    """

    data: str
    recipe: str
    images: int
    accuracy: float
    accuracy_on: int
    sha256: str


@dataclass(frozen=True)
class Judge(Generic[N]):
    """A trained network whose features images are judged by, frozen and in evaluation mode, and what is known of it."""

    network: N
    record: TrainedRecord


@dataclass(frozen=True)
class JudgeKind(Generic[N]):
    """How judges of a kind are made.

    Attributes:
        name: Its name in `JUDGES`.
        recipe: By which they are trained; another recipe makes another judge.
        folder: Of the cache, below the data root.
        build: Data -> an untrained network of the right shape.
        training: Data -> the share that is done with the network, which is ready at 1.
        accuracy: Network and images that it was not trained on -> in [0, 1].
        needs_labels: Whether it is one of labels.
        least_accuracy: Below which it is refused.
    """

    name: JudgeName
    recipe: str
    folder: str
    build: Callable[[Dataset], N]
    training: Callable[[Dataset], Iterator[tuple[float, N]]]
    accuracy: Callable[[N, Dataset], float]
    needs_labels: bool
    least_accuracy: float = 0.0


@dataclass(frozen=True)
class JudgedBy:
    """Which judge looks at a run's samples, before it is trained.

    Attributes:
        kind: A name in `JUDGES`.
        train: Images that it is trained on.
        test: Others, which tell its accuracy.
        reason: Why no classifier judges; empty where one does.
    """

    kind: JudgeName
    train: Dataset
    test: Dataset
    reason: str = ""

    @property
    def images(self) -> tuple[Dataset, Dataset]:
        """Those that it is trained on, and the others."""
        return self.train, self.test


def choose_judge(named: str | None, own: str, images: Dataset, load: Callable[[str], Dataset]) -> JudgedBy:
    """Returns a classifier where there are labels, else features that are learned from the images alone.

    Arguments:
        named: Spec of labelled images whose classifier must judge; None: that of the run's data, if it can.
        own: Spec of the run's data.
        images: Those that the run learned from.
        load: A spec -> its images, in the shape of the run's.

    Raises:
        GenpriorError: About `judge`: a named one that cannot be had; images that nothing can learn from.
    """
    try:
        return JudgedBy(CLASSIFIER.name, *judge_data(named or own, load))
    except GenpriorError as error:
        if named is not None:
            raise
        return without_labels(images, error.message)


def without_labels(images: Dataset, reason: str) -> JudgedBy:
    """Returns the judge that learns from images alone, four fifths of them; the others tell its accuracy.

    Raises:
        GenpriorError: About `judge`: images that nothing can learn from.
    """
    try:
        check_sides(images)
        train, test = _fifth_kept_back(images)
    except GenpriorError as error:
        raise GenpriorError(f"{reason}; and {error.message}", argument="judge") from error
    return JudgedBy(JIGSAW.name, train, test, reason)


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
            whole = load(":".join(part for part in (spec.source, spec.rest) if part))
            checked_labels(whole)
            train, test = _fifth_kept_back(whole)
        checked_labels(train)
    except GenpriorError as error:
        raise GenpriorError(
            f"{error.message}; name labelled images of the same shape with --judge, such as --judge mnist",
            argument="judge",
        ) from error
    return train, test


def judge_of(kind: JudgeKind[N], train: Dataset, test: Dataset, root: Path) -> Task[Judge[N]]:
    """Trains a judge, or takes it from the cache, and returns it.

    Arguments:
        kind: Of the judge.
        train: Images, labelled where the kind needs it.
        test: Others.
        root: Data root; where the cache in it cannot be written there is a warning.

    Raises:
        GenpriorError: It errs too often to judge anything.
    """
    weights = root / kind.folder / f"{_key(kind, train, test)}.safetensors"
    judge = _kept(kind, train, weights)
    if judge is None:
        if weights.exists():
            warnings.warn(f"{weights} or the file beside it was altered: the {kind.name} is trained anew", stacklevel=2)
        judge = yield from _trained(kind, train, test)
        _keep(kind, judge, weights)
    if judge.record.accuracy < kind.least_accuracy:
        raise GenpriorError(
            f"the {kind.name} of {train.name} is right on {judge.record.accuracy:.0%} of {len(test)} held-out images, "
            f"{kind.least_accuracy:.0%} are needed to judge samples; name labelled images of the same shape that are "
            "easier to tell apart with --judge, such as --judge mnist",
            argument="judge",
        )
    yield Stage(1.0, kind.name)
    return judge


def _fifth_kept_back(data: Dataset) -> tuple[Dataset, Dataset]:
    is_test = torch.arange(len(data)) % ONE_IN == ONE_IN - 1
    if not bool(is_test.any()):
        raise GenpriorError(f"{data.name} has {len(data)} images, {ONE_IN} or more are needed", argument="data")
    return data.part(~is_test), data.part(is_test)


def _key(kind: JudgeKind[N], train: Dataset, test: Dataset) -> str:
    """A hash of all that decides what the judge is, and how accurate it is found to be."""
    digest = hashlib.sha256(kind.recipe.encode())
    for data in (train, test):
        digest.update(data.fingerprint().encode())
        if kind.needs_labels:
            digest.update(checked_labels(data).contiguous().numpy().data)
    return digest.hexdigest()[:32]


def _trained(kind: JudgeKind[N], train: Dataset, test: Dataset) -> Task[Judge[N]]:
    for share, trained in kind.training(train):
        network = trained
        yield Stage(0.95 * share, kind.name)
    record = TrainedRecord(
        data=train.name,
        recipe=kind.recipe,
        images=len(train),
        accuracy=kind.accuracy(network, test),
        accuracy_on=len(test),
        sha256=weights_sha256(network.state_dict()),
    )
    return Judge(network, record)


def _kept(kind: JudgeKind[N], train: Dataset, weights: Path) -> Judge[N] | None:
    """The judge in the cache, or None where there is none or it is damaged."""
    try:
        record = read_model(weights.with_suffix(".json"), TrainedRecord, "judge")
        network = kind.build(train)
        network.load_state_dict(read_tensors(weights))
    except (OSError, ValueError, RuntimeError) as error:  # none, or damaged
        raise_lack_of_memory(error)
        return None
    if weights_sha256(network.state_dict()) != record.sha256:
        return None
    # Images of the same contents may have had another name.
    return Judge(network.eval().requires_grad_(False), record.model_copy(update={"data": train.name}))


def _keep(kind: JudgeKind[N], judge: Judge[N], weights: Path) -> None:
    try:
        weights.parent.mkdir(parents=True, exist_ok=True)
        save_tensors(judge.network.state_dict(), weights)
        write_text(weights.with_suffix(".json"), signed(judge.record.as_json()))
    except OSError as error:
        reason = error.strerror or error
        warnings.warn(f"the {kind.name} is not kept, {weights.parent} cannot be written: {reason}", stacklevel=2)


def _classifier(data: Dataset) -> Classifier:
    return Classifier(data.image_shape, int(checked_labels(data).max()) + 1)


def _classes_named(classifier: Classifier, test: Dataset) -> float:
    return float((seen(classifier, test)[1] == checked_labels(test)).double().mean())


CLASSIFIER = JudgeKind[Classifier](
    name="classifier",
    recipe=RECIPE,
    folder="classifiers",
    build=_classifier,
    training=classifier_training,
    accuracy=_classes_named,
    needs_labels=True,
    least_accuracy=0.9,
)
JIGSAW = JudgeKind[JigsawNetwork](
    name="jigsaw",
    recipe=JIGSAW_RECIPE,
    folder="features",
    build=lambda data: JigsawNetwork(data.image_shape[0]),
    training=jigsaw_training,
    accuracy=orders_named,
    needs_labels=False,
)
JUDGES: dict[str, JudgeKind[Any]] = {each.name: each for each in (CLASSIFIER, JIGSAW)}
