"""A small classifier of a labelled data set, and its features: the eyes of scores that need no download.

Inception features know nothing of grey images of 28x28; a classifier of the data set itself does. Feature distances
compare between models that are seen by the same classifier only, so always state which one it was.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genprior.data import Dataset
from genprior.errors import GenpriorError
from genprior.models.layers import Conv2d
from genprior.seeding import derived_generator, initialised

IMAGES_AT_ONCE = 500


class Classifier(nn.Module):
    """x (B, C, H, W) in [0, 1] -> class logits (B, classes); square images of 8 pixels or more.

    Arguments:
        image_shape: (C, H, W).
        classes: Number of classes.
    """

    num_features = 128

    def __init__(self, image_shape: tuple[int, int, int], classes: int) -> None:
        super().__init__()
        channels, size, _ = image_shape
        self.first, self.second = Conv2d(channels, 32, 4, 2, 1), Conv2d(32, 64, 4, 2, 1)
        self.hidden = nn.Linear(64 * (size // 4) ** 2, self.num_features)
        self.out = nn.Linear(self.num_features, classes)

    def features(self, x: Tensor) -> Tensor:
        """Returns the last hidden layer (B, 128), at least 0."""
        x = F.relu(self.second(F.relu(self.first(x))))
        return F.relu(self.hidden(x.flatten(1)))

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.out(self.features(x))
        return logits


def train_classifier(data: Dataset, *, seed: int = 0, epochs: int = 4, batch_size: int = 128) -> Classifier:
    """Returns a classifier of `data`; on MNIST it reaches 99 % on the test set in half a minute on two cores.

    Arguments:
        data: With labels 0 ... classes - 1.
        seed: The same seed gives the same classifier on the same machine.
        epochs: At least 1.
        batch_size: At least 1.

    Raises:
        GenpriorError: The data have no labels.
    """
    if data.labels is None:
        raise GenpriorError(f"{data.name} has no labels to train a classifier on", argument="data")
    classes = int(data.labels.max()) + 1
    classifier = initialised(lambda: Classifier(data.image_shape, classes), seed, "classifier")
    steps = epochs * (len(data) // batch_size)
    optimiser = torch.optim.Adam(classifier.parameters(), lr=0.002, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=0.004, total_steps=steps)
    for epoch in range(epochs):
        order = torch.randperm(len(data), generator=derived_generator(seed, "classifier order", epoch))
        for batch in range(len(data) // batch_size):
            indices = order[batch * batch_size : (batch + 1) * batch_size]
            loss = F.cross_entropy(classifier(data.take(indices)), data.labels[indices])
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
    return classifier.eval().requires_grad_(False)


@torch.no_grad()
def features_and_classes(classifier: Classifier, x: Tensor) -> tuple[Tensor, Tensor]:
    """Returns features (B, 128) and the most likely class (B,) of x (B, C, H, W) in [0, 1]."""
    parts = [classifier.features(part) for part in torch.split(x, IMAGES_AT_ONCE)]
    features = torch.cat(parts)
    return features, classifier.out(features).argmax(1)
