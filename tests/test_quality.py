"""The metrics against closed forms and independent implementations, and what they must notice in real digits."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from scipy.linalg import sqrtm
from scipy.stats import entropy, wasserstein_distance
from sklearn.metrics.pairwise import polynomial_kernel
from sklearn.neighbors import NearestNeighbors

from dcgan_exp import features, quality
from dcgan_exp.data import Dataset


@pytest.fixture(scope="module")
def random() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture(scope="module")
def yardstick(all_digits: Dataset) -> quality.Yardstick:
    """Real digits: 1,250 to learn from, 1,250 others to test with."""
    return quality.Yardstick(halves(all_digits))


def halves(all_digits: Dataset) -> Dataset:

    assert all_digits.labels is not None
    return replace(
        all_digits, images=all_digits.images[::4], labels=all_digits.labels[::4], test_images=all_digits.images[1::4]
    )


def test_frechet_distance_of_known_gaussians() -> None:
    first = quality.Gaussian(np.array([0.0, 0.0]), np.diag([1.0, 4.0]))
    second = quality.Gaussian(np.array([3.0, 4.0]), np.diag([9.0, 4.0]))
    assert quality.frechet_distance(first, second) == pytest.approx(25 + (3 - 1) ** 2)
    assert quality.frechet_distance(first, first) == pytest.approx(0, abs=1e-9)


def test_frechet_distance_equals_the_one_by_scipys_matrix_root(random: np.random.Generator) -> None:
    first = random.standard_normal((300, 20)) @ random.standard_normal((20, 20))
    second = random.standard_normal((400, 20)) @ random.standard_normal((20, 20)) + 1
    covariances = np.cov(first.T), np.cov(second.T)
    expected = (
        np.sum((first.mean(0) - second.mean(0)) ** 2)
        + np.trace(covariances[0] + covariances[1])
        - 2 * np.trace(sqrtm(covariances[0] @ covariances[1]).real)
    )
    ours = quality.frechet_distance(quality.Gaussian.of(first), quality.Gaussian.of(second))
    assert ours == pytest.approx(expected, rel=1e-8)


def test_frechet_distance_survives_singular_covariances() -> None:
    constant = quality.Gaussian.of(np.ones((10, 3)))
    assert quality.frechet_distance(constant, constant) == 0


def test_kernel_equals_scikit_learns(random: np.random.Generator) -> None:
    first, second = random.standard_normal((30, 8)), random.standard_normal((20, 8))
    np.testing.assert_allclose(
        quality.polynomial_kernel(first, second), polynomial_kernel(first, second, degree=3, coef0=1)
    )


def test_kernel_distance_equals_the_u_statistic(random: np.random.Generator) -> None:
    first, second = random.standard_normal((40, 5)), random.standard_normal((50, 5)) + 0.5
    pairs = [polynomial_kernel(a, b, degree=3, coef0=1) for a, b in ((first, first), (second, second), (first, second))]
    expected = sum((k.sum() - np.trace(k)) / (len(k) * (len(k) - 1)) for k in pairs[:2]) - 2 * pairs[2].mean()
    assert quality.kernel_distance(first, second) == pytest.approx(expected)  # each subset is the whole set


def test_kernel_distance_is_unbiased(random: np.random.Generator) -> None:
    values = [quality.kernel_distance(*random.standard_normal((2, 30, 4))) for _ in range(200)]
    assert abs(np.mean(values)) < 4 * np.std(values) / np.sqrt(len(values))
    assert min(values) < 0


def test_kernel_distance_of_shifted_means_for_a_known_expectation(random: np.random.Generator) -> None:
    """In one dimension E k(x, y) = E (xy + 1)^3 = m3(x)m3(y) + 3 m2(x)m2(y) + 3 m1(x)m1(y) + 1."""
    moments = [(0.0, 1.0, 0.0), (1.0, 2.0, 4.0)]  # of N(0, 1) and N(1, 1)

    def kernel(i: int, j: int) -> float:
        first, second = moments[i], moments[j]
        return first[2] * second[2] + 3 * first[1] * second[1] + 3 * first[0] * second[0] + 1

    expected = kernel(0, 0) + kernel(1, 1) - 2 * kernel(0, 1)
    ours = quality.kernel_distance(random.standard_normal((10000, 1)), random.standard_normal((10000, 1)) + 1)
    assert ours == pytest.approx(expected, rel=0.15)


def test_density_and_coverage_equal_brute_force(random: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quality, "BLOCK", 7)
    real, generated = random.standard_normal((60, 3)), random.standard_normal((45, 3)) * 1.5
    radii = NearestNeighbors(n_neighbors=6).fit(real).kneighbors(real)[0][:, 5]
    inside = [[np.linalg.norm(g - r) < radius for r, radius in zip(real, radii, strict=True)] for g in generated]
    ours = quality.density_and_coverage(real, generated, quality.squared_radii(real))
    assert ours == pytest.approx((np.sum(inside) / (5 * 45), np.mean(np.any(inside, axis=0))))


def test_density_and_coverage_of_the_same_and_of_far_away_features(random: np.random.Generator) -> None:
    real = random.standard_normal((200, 4))
    radii = quality.squared_radii(real)
    assert quality.density_and_coverage(real, real, radii)[1] == 1
    assert quality.density_and_coverage(real, real + 100, radii) == (0, 0)
    assert quality.density_and_coverage(real, real[:1].repeat(200, axis=0), radii)[1] < 0.1


def test_classifier_score_in_closed_form() -> None:
    assert quality.classifier_score(np.eye(10).repeat(3, axis=0)) == pytest.approx(10)
    assert quality.classifier_score(np.full((20, 10), 0.1)) == pytest.approx(1)
    assert quality.classifier_score(np.eye(10)[:2]) == pytest.approx(2)


def test_class_histogram() -> None:
    probabilities = np.eye(3)[[0, 0, 1, 2]]
    assert quality.class_shares(probabilities).tolist() == [0.5, 0.25, 0.25]
    real = np.array([0.2, 0.3, 0.5])
    shares = quality.class_shares(probabilities)
    assert quality.class_divergence(shares, real) == pytest.approx(entropy(shares, real))
    assert quality.class_divergence(real, real) == 0


def test_sliced_wasserstein_distance(monkeypatch: pytest.MonkeyPatch, small_images: np.ndarray) -> None:
    assert quality.sliced_wasserstein_distance(small_images, small_images) == 0
    monkeypatch.setattr(quality, "DIRECTIONS", 3)
    directions = np.random.default_rng(quality.SEED).standard_normal((784, 3))
    directions /= np.linalg.norm(directions, axis=0)
    other = 255 - small_images
    projected = [images.reshape(64, 784) @ directions for images in (small_images, other)]
    expected = np.mean([wasserstein_distance(projected[0][:, k], projected[1][:, k]) for k in range(3)])
    assert quality.sliced_wasserstein_distance(small_images, other) == pytest.approx(expected, rel=1e-9)


def test_scores_are_a_function_of_the_images(yardstick: quality.Yardstick, all_digits: Dataset) -> None:
    images = all_digits.images[:200]
    assert yardstick.score(images) == yardstick.score(images.copy())


def test_real_digits_score_best(yardstick: quality.Yardstick, all_digits: Dataset) -> None:
    floor = yardstick.score(all_digits.images[2::4])
    assert abs(floor["kernel_classifier_distance"]) < 0.005
    assert floor["classifier_score"] > 9.5
    assert floor["coverage"] > 0.9
    assert floor["density"] == pytest.approx(1, abs=0.1)
    assert floor["rarest_class"] == pytest.approx(10, abs=0.5)
    assert floor["class_divergence"] < 0.001


Damage = Callable[[np.ndarray, float], np.ndarray]


def blurred(images: np.ndarray, amount: float) -> np.ndarray:
    wide = images.astype(float)
    wide = sum(np.roll(wide, (y, x), (1, 2)) for y in (-1, 0, 1) for x in (-1, 0, 1)) / 9
    return (images + amount * (wide - images)).round().astype(np.uint8)


def noisy(images: np.ndarray, amount: float) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, 80 * amount, images.shape)
    return (images + noise).clip(0, 255).round().astype(np.uint8)


def without_digits(images: np.ndarray, amount: float) -> np.ndarray:
    return images[: round(len(images) * (1 - 0.5 * amount))]  # they are sorted by digit


@pytest.mark.parametrize("damage", [blurred, noisy, without_digits])
def test_more_damage_is_a_worse_score(yardstick: quality.Yardstick, all_digits: Dataset, damage: Damage) -> None:
    scores = [yardstick.score(damage(all_digits.images[2::4], amount)) for amount in (0, 0.4, 0.9)]
    for column in ("kernel_classifier_distance", "frechet_classifier_distance", "training_kernel_distance"):
        assert scores[0][column] < scores[1][column] < scores[2][column]
    assert scores[0]["coverage"] > scores[1]["coverage"] > scores[2]["coverage"]


def test_dropped_digits_show_in_the_histogram(yardstick: quality.Yardstick, all_digits: Dataset) -> None:
    scores = yardstick.score(all_digits.images[:4000:4])
    assert scores["rarest_class"] < 0.5
    assert scores["class_divergence"] == pytest.approx(np.log(10 / 8), abs=0.05)


def test_the_choice_does_not_look_at_test_images(all_digits: Dataset, yardstick: quality.Yardstick) -> None:

    assert all_digits.test_images is None
    other = quality.Yardstick(replace(halves(all_digits), test_images=all_digits.images[:500]), yardstick.network)
    name, images = "training_kernel_distance", all_digits.images[:300]
    assert other.score(images)[name] == yardstick.score(images)[name]


def test_the_facts_name_the_network_and_warn_of_few_images(all_digits: Dataset, yardstick: quality.Yardstick) -> None:
    assert yardstick.facts["sha256"] == features.shipped("mnist").sha256
    assert "1,250 test images" in yardstick.facts["warning"]

    alone = quality.Yardstick(replace(all_digits, images=all_digits.images[::50], test_images=None), yardstick.network)
    assert "100 training images" in alone.facts["warning"]


def test_images_without_labels_have_their_own_names(all_digits: Dataset) -> None:

    few = replace(all_digits, images=all_digits.images[:100], labels=None, test_images=all_digits.images[100:200])
    scores = quality.Yardstick(few).score(all_digits.images[:100])
    names = {"random_feature_kernel_distance", "sliced_wasserstein_distance", "training_kernel_distance"}
    assert set(scores) == names
