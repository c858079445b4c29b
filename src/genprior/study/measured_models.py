"""What is measured of a run of a study, as stored in its folder. Imports no torch.

Lists "of each image" belong to the same held-out images in the same order in all runs of a study: differences between
runs are taken image by image.
"""

from genprior.settings import Model, Number

Each = tuple[Number, ...]
"""A number of each image."""

SATURATED = 0.02  # a loss factor below it teaches next to nothing


class NetworkSizes(Model):
    """Numbers that networks learn, by the player's name; and the shape of the images (C, H, W)."""

    parameters: dict[str, int]
    image_shape: tuple[int, int, int]


class TrainingCurves(Model):
    """The record of two players, averaged over stretches of equal length.

    Attributes:
        images: Images seen at the end of each stretch.
        discriminator_loss, generator_loss: Means.
        loss_factor: Mean of the root mean square of dL/da over fakes.
        effective_share: Of the fakes that make the gradient, in [0, 1].
        accuracy: Of the discriminator, real images and fakes counting alike.
        accuracy_real, accuracy_fake: Of each alone; empty in older records.
        largest_losses: Of the discriminator and of the generator, over all steps.
        steps: Of the generator.
        factor_first_below: Images seen when the loss factor first fell below 0.02; None: never.
    """

    images: Each
    discriminator_loss: Each
    generator_loss: Each
    loss_factor: Each
    effective_share: Each
    accuracy: Each
    accuracy_real: Each = ()
    accuracy_fake: Each = ()
    largest_losses: tuple[Number, Number]
    steps: int
    factor_first_below: int | None


class SampleQuality(Model):
    """Samples of a run as its judge sees them.

    Attributes:
        distance: Fréchet distance of samples to learned images, in the judge's features.
        untrained: The same of the generator before its first step; NaN where there is none.
        floor: The same of held-out images.
        modes, of: Classes that samples hold, and that there are; 0 where the judge knows no classes.
        rarest: Share of the rarest class of the samples over its share in the data; NaN likewise.
        diversity: Total variance of samples over that of learned images.
        judge: What judged.
    """

    distance: Number
    untrained: Number
    floor: Number
    modes: int
    of: int
    rarest: Number
    diversity: Number
    judge: str


class InversionErrors(Model):
    """Held-out images inverted by one search.

    Attributes:
        error: Mean squared error of each image.
        at_edges, at_corners, elsewhere: The same over its pixels near edges, near corners, and in even places.
        bands: Power of the residual over that of the image, by spatial frequency from low to high, mean over images.
        band_limits: Upper ends of the bands, in cycles a pixel.
        bands_of: The same ratios of each image, low and high band.
        sharpness_made: Share of power above a quarter of a cycle a pixel in inverted images, of each image.
        sharpness_real: The same in the images themselves.
        sharpness_samples: The same in samples of the run, of each sample.
        constant_error: Of each image by the mean image of the learned ones in its place.
        constant_at_edges, constant_at_corners, constant_elsewhere: The same by place; empty in older records.
    """

    error: Each
    at_edges: Each
    at_corners: Each
    elsewhere: Each
    bands: Each
    band_limits: Each
    bands_of: tuple[tuple[Number, Number], ...]
    sharpness_made: Each
    sharpness_real: Each
    sharpness_samples: Each
    constant_error: Each
    constant_at_edges: Each = ()
    constant_at_corners: Each = ()
    constant_elsewhere: Each = ()


class ReportInversion(InversionErrors):
    """By the report's search: one start, Adam, no energy."""


class DefaultInversion(InversionErrors):
    """By the default search of genprior."""


class RestoredTask(Model):
    """Held-out images damaged and restored, PSNR in dB of each image.

    Attributes:
        seen: Of the damaged image.
        l2, l1: Of the image restored with that data term.
        classical: Of a restoration without a trained model: total variation, its weight chosen on learned images.
        mean_image: Of the mean of learned images, which looks at nothing.
        hidden_error: Mean squared error of each image over the pixels of the hole: of hidden ones by the L1 data term,
            of noisy ones by L2; empty: not measured.
        hidden_fill: The same of the mean of learned images in their place.
    """

    seen: Each
    l2: Each
    l1: Each
    classical: Each = ()
    mean_image: Each = ()
    hidden_error: Each = ()
    hidden_fill: Each = ()


class RestoredImages(Model):
    """What a run restores.

    Attributes:
        noise: Gaussian noise of standard deviation 0.5.
        variation_weight: Of total variation there, and whether it is the smallest or largest that was tried.
        hole: A hole half as wide as the image, and a little noise.
        outliers: Salt and pepper on a tenth of the pixels.
        labels: Class of each image; empty: not known.
    """

    noise: RestoredTask
    hole: RestoredTask
    outliers: RestoredTask
    labels: tuple[int, ...] = ()
    variation_weight: tuple[Number, bool] | None = None


class ClassProbabilities(Model):
    """Posterior draws of images whose lower half is hidden, as the judge names them.

    Attributes:
        probabilities: Of each class, for each image: shares of its draws.
        truth: Class of each image, as the judge names the undamaged one.
        real_accuracy: Of the judge on real images.
    """

    probabilities: tuple[tuple[Number, ...], ...]
    truth: tuple[int, ...]
    real_accuracy: Number


class Likelihoods(Model):
    """How probable a run finds held-out images.

    Attributes:
        bits_per_dim: Of each image; empty: the family has no density.
        how: How it was found, in a few words.
        first_bits_per_dim: On training batches at the start of training; NaN: not recorded.
    """

    bits_per_dim: Each = ()
    how: str = ""
    first_bits_per_dim: Number


class PriorScores(Model):
    """What a run is good for as a prior, at the default search: the same three questions for all families.

    Attributes:
        inversion: Mean squared error of each held-out image.
        denoising, filling: PSNR in dB of each image, noise of 0.3 and a hole.
        seconds: For each image, of the three together.
    """

    inversion: Each
    denoising: Each
    filling: Each
    seconds: Number


class LossFactors(Model):
    """dL/da of a generator's loss at logits, by autograd and by the closed form.

    Attributes:
        logits: a.
        saturating, non_saturating: By autograd.
        saturating_form, non_saturating_form: -s and s - 1 with s = sigmoid(a).
    """

    logits: Each
    saturating: Each
    non_saturating: Each
    saturating_form: Each
    non_saturating_form: Each
