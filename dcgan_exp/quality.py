"""The quality yardstick: how far generated images are from real ones, in the features of a small classifier.

The metrics are pure functions of features in float64. `Yardstick` holds the real side, measured once, and scores
samples. None of these numbers is an FID: that name belongs to ImageNet's Inception features.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dcgan_exp.data import Dataset
from dcgan_exp.features import FeatureNetwork, Note, ignore, network_for
from dcgan_exp.image_arrays import Images

Floats = NDArray[np.float64]

REFERENCE_IMAGES = 10_000  # real images that samples are compared with, where there are so many
SMALL = 5_000  # fewer real images than this deserve a warning
SEED = 20_260_101  # of every choice below, so that two scores differ by their images only
SUBSETS, SUBSET_SIZE = 20, 1_000  # of the kernel distance
NEIGHBOURS = 5  # Naeem et al. 2020
BLOCK = 250  # rows of a distance matrix held at a time
DIRECTIONS = 256  # of the sliced Wasserstein distance


# Frechet distance --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Gaussian:
    """The mean (d,) and the covariance (d, d) of features."""

    mean: Floats
    covariance: Floats

    @classmethod
    def of(cls, features: Floats) -> "Gaussian":
        """Fitted to features (n, d)."""
        return cls(features.mean(axis=0), np.atleast_2d(np.cov(features, rowvar=False)))


def frechet_distance(first: Gaussian, second: Gaussian) -> float:
    """Squared Wasserstein-2 distance of two Gaussians (Dowson & Landau 1982), as in Heusel et al. 2017.

    The trace of (S1 S2)^(1/2) comes from the symmetric S1^(1/2) S2 S1^(1/2), which has the same eigenvalues.
    """
    values, vectors = np.linalg.eigh(first.covariance)
    root = (vectors * np.sqrt(values.clip(min=0))) @ vectors.T
    products = np.linalg.eigvalsh(root @ second.covariance @ root)
    traces = np.trace(first.covariance) + np.trace(second.covariance)
    difference = first.mean - second.mean
    distance = difference @ difference + traces - 2 * np.sqrt(products.clip(min=0)).sum()
    return max(0.0, float(distance))


# Kernel distance ---------------------------------------------------------------------------------


def polynomial_kernel(first: Floats, second: Floats) -> Floats:
    """(x . y / d + 1)^3, the kernel of Binkowski et al. 2018."""
    base: Floats = first @ second.T
    base /= first.shape[1]
    base += 1.0
    kernel: Floats = base * base
    kernel *= base
    return kernel


def subsets(count: int, side: int) -> Iterator[NDArray[np.int64]]:
    """The fixed index sets of one side of the kernel distance, each drawn without replacement."""
    for subset in range(SUBSETS):
        yield np.random.default_rng([SEED, side, subset]).permutation(count)[:SUBSET_SIZE]


def kernel_within(features: Floats, side: int) -> float:
    """The mean kernel of two different features of one side, (n, d)."""
    means = []
    for chosen in subsets(len(features), side):
        kernel = polynomial_kernel(features[chosen], features[chosen])
        means.append((kernel.sum() - np.trace(kernel)) / (len(kernel) * (len(kernel) - 1)))
    return float(np.mean(means))


def kernel_between(first: Floats, second: Floats) -> float:
    """The mean kernel of a feature of side 0 and one of side 1."""
    pairs = zip(subsets(len(first), 0), subsets(len(second), 1), strict=True)
    return float(np.mean([polynomial_kernel(first[i], second[j]).mean() for i, j in pairs]))


def kernel_distance(first: Floats, second: Floats) -> float:
    """Unbiased squared maximum mean discrepancy, averaged over fixed subsets; below zero is possible.

    Binkowski et al. 2018, equation 4. Features (n, d) and (m, d); the expectation does not depend on n and m.
    """
    return kernel_within(first, 0) + kernel_within(second, 1) - 2 * kernel_between(first, second)


# Density and coverage ----------------------------------------------------------------------------


def squared_distances(first: Floats, second: Floats) -> Floats:
    """(n, d), (m, d) -> (n, m)."""
    distances: Floats = first @ (-2 * second.T)  # in place from here: these are the yardstick's largest arrays
    distances += (first * first).sum(axis=1)[:, None]
    distances += (second * second).sum(axis=1)
    np.maximum(distances, 0, out=distances)
    return distances


def squared_radii(real: Floats, neighbours: int = NEIGHBOURS) -> Floats:
    """The squared distance of each real feature from its k-th nearest other one."""
    neighbours = min(neighbours, len(real) - 1)
    radii = np.empty(len(real))
    for start in range(0, len(real), BLOCK):
        # The nearest of all is the feature itself.
        distances = squared_distances(real[start : start + BLOCK], real)
        radii[start : start + BLOCK] = np.partition(distances, neighbours, axis=1)[:, neighbours]
    return radii


def density_and_coverage(
    real: Floats, generated: Floats, radii: Floats, neighbours: int = NEIGHBOURS
) -> tuple[float, float]:
    """Naeem et al. 2020, equations 4 and 5: fidelity (about 1 for real images) and diversity (0 to 1).

    `radii` are `squared_radii(real)`. Density counts the real neighbourhoods around each generated feature,
    coverage the real neighbourhoods that hold a generated one.
    """
    inside, covered = 0, np.zeros(len(real), bool)
    for start in range(0, len(generated), BLOCK):
        hits = squared_distances(generated[start : start + BLOCK], real) < radii
        inside += int(np.count_nonzero(hits))
        covered |= hits.any(axis=0)
    return inside / (neighbours * len(generated)), float(covered.mean())


# Class probabilities -----------------------------------------------------------------------------


def classifier_score(probabilities: Floats) -> float:
    """exp of the mean KL divergence of p(y|x) from p(y): 1 to the number of classes (Salimans et al. 2016).

    The inception score's formula, over all samples at once, with this project's own classifier.
    """
    marginal = probabilities.mean(axis=0)
    return float(np.exp(_divergence(probabilities, marginal).mean()))


def _divergence(first: Floats, second: Floats) -> Floats:
    """KL(first || second) in nats along the last axis; 0 log 0 = 0."""
    tiny = np.finfo(np.float64).tiny
    divergence: Floats = (first * (np.log(first.clip(tiny)) - np.log(second.clip(tiny)))).sum(axis=-1)
    return divergence


def class_shares(probabilities: Floats) -> Floats:
    """The fraction of samples whose most probable class is each class."""
    return np.bincount(probabilities.argmax(axis=1), minlength=probabilities.shape[1]) / len(probabilities)


def class_divergence(generated_shares: Floats, real_shares: Floats) -> float:
    """KL(generated || real) of the class histograms, in nats; hundreds where a generated class is not real."""
    return float(_divergence(generated_shares, real_shares))


# Images without labels ---------------------------------------------------------------------------


def sliced_wasserstein_distance(first: Images, second: Images) -> float:
    """Mean Wasserstein-1 distance of the pixels' projections on fixed random unit directions (Rabin et al. 2011).

    uint8 images (n, ...) and (m, ...), in units of 0 to 255 a pixel; the projections' quantiles are compared.
    """
    directions = np.random.default_rng(SEED).standard_normal((int(np.prod(first.shape[1:])), DIRECTIONS))
    directions /= np.linalg.norm(directions, axis=0)
    count = min(len(first), len(second))
    quantiles = (np.arange(count) + 0.5) / count
    sorted_projections = [
        np.quantile(_projected(images, directions), quantiles, axis=0, method="hazen") for images in (first, second)
    ]
    return float(np.abs(sorted_projections[0] - sorted_projections[1]).mean())


def _projected(images: Images, directions: Floats) -> Floats:
    flat = images.reshape(len(images), -1)
    return np.concatenate([flat[start : start + BLOCK] @ directions for start in range(0, len(flat), BLOCK)])


# The yardstick -----------------------------------------------------------------------------------


class Yardstick:
    """The real images of a data set, measured once; scores of samples against them.

    Scores are against the test images where there are any; `training_kernel_distance`, against fixed training
    images, is what the best generator is chosen by, so that the test images play no part in the choice.
    """

    def __init__(self, dataset: Dataset, network: FeatureNetwork | None = None, note: Note = ignore) -> None:
        """`network` is `network_for(dataset, note)` unless given: `note` is told of a network's training."""
        self.network = network or network_for(dataset, note)
        training_images = fixed_choice(dataset.images)
        self.real_images = training_images if dataset.test_images is None else fixed_choice(dataset.test_images)
        self.real, probabilities = self.network(self.real_images)
        self.training = self.network(training_images)[0]
        self.real_within, self.training_within = kernel_within(self.real, 1), kernel_within(self.training, 1)
        self.facts: dict[str, Any] = {
            "network": self.network.name,
            "sha256": self.network.sha256,
            "reference": _reference(dataset),
            "reference_images": len(self.real),
            "training_images": len(self.training),
            "warning": _warning(_reference(dataset), len(self.real)),
        }
        if probabilities is not None:
            self.gaussian, self.radii = Gaussian.of(self.real), squared_radii(self.real)
            self.shares = class_shares(probabilities)

    def score(self, images: Images) -> dict[str, float]:
        """The quality columns of generated images, uint8 (n, height, width, channels), n at least 2."""
        features, probabilities = self.network(images)
        within = kernel_within(features, 0)
        kernel = within + self.real_within - 2 * kernel_between(features, self.real)
        training = within + self.training_within - 2 * kernel_between(features, self.training)
        if probabilities is None:
            distance = sliced_wasserstein_distance(images, self.real_images)
            scores = {"random_feature_kernel_distance": kernel, "sliced_wasserstein_distance": distance}
        else:
            scores = {"kernel_classifier_distance": kernel, **self._classifier_scores(features, probabilities)}
        return {**scores, "training_kernel_distance": training}

    def _classifier_scores(self, features: Floats, probabilities: Floats) -> dict[str, float]:
        density, coverage = density_and_coverage(self.real, features, self.radii)
        shares = class_shares(probabilities)
        return {
            "frechet_classifier_distance": frechet_distance(Gaussian.of(features), self.gaussian),
            "classifier_score": classifier_score(probabilities),
            "density": density,
            "coverage": coverage,
            "rarest_class": float(100 * shares.min()),
            "class_divergence": class_divergence(shares, self.shares),
        }


def fixed_choice(images: Images) -> Images:
    """At most REFERENCE_IMAGES images, the same each time."""
    if len(images) <= REFERENCE_IMAGES:
        return images
    return images[np.sort(np.random.default_rng(SEED).permutation(len(images))[:REFERENCE_IMAGES])]


def _reference(dataset: Dataset) -> str:
    if dataset.test_images is None:
        return "training images"
    return "held-out images" if dataset.is_held_out else "test images"


def _warning(reference: str, count: int) -> str | None:
    if reference == "training images":
        return f"scored against {count:,} training images, for want of others: copying them would score best"
    if count < SMALL:
        return f"scored against only {count:,} {reference}: compare with scores against as many only"
    return None
