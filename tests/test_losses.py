"""Each loss against Keras' own, or against its equation in numpy."""

import keras
import numpy as np
import pytest

from dcgan_exp import config
from dcgan_exp.losses import LOSSES, THRESHOLDS

LOGITS = np.array([[-30.0], [-2.0], [-0.5], [0.0], [0.7], [3.0], [40.0]], np.float32)


def test_non_saturating_is_keras_binary_cross_entropy() -> None:
    entropy = keras.losses.BinaryCrossentropy(from_logits=True)
    loss = LOSSES["non_saturating"](0.0)
    assert float(loss.real(LOGITS)) == pytest.approx(float(entropy(np.ones_like(LOGITS), LOGITS)), rel=1e-6)
    assert float(loss.generated(LOGITS)) == pytest.approx(float(entropy(np.zeros_like(LOGITS), LOGITS)), rel=1e-6)
    assert float(loss.generator(LOGITS)) == pytest.approx(float(entropy(np.ones_like(LOGITS), LOGITS)), rel=1e-6)


def test_least_squares_is_keras_mean_squared_error() -> None:
    square = keras.losses.MeanSquaredError()
    loss = LOSSES["least_squares"](0.0)
    assert float(loss.real(LOGITS)) == pytest.approx(float(square(np.ones_like(LOGITS), LOGITS)), rel=1e-6)
    assert float(loss.generated(LOGITS)) == pytest.approx(float(square(np.zeros_like(LOGITS), LOGITS)), rel=1e-6)


def test_hinge_is_keras_hinge_and_the_mean_logit() -> None:
    hinge = keras.losses.Hinge()
    loss = LOSSES["hinge"](0.0)
    assert float(loss.real(LOGITS)) == pytest.approx(float(hinge(np.ones_like(LOGITS), LOGITS)), rel=1e-6)
    assert float(loss.generated(LOGITS)) == pytest.approx(float(hinge(-np.ones_like(LOGITS), LOGITS)), rel=1e-6)
    assert float(loss.generator(LOGITS)) == pytest.approx(-LOGITS.mean(), rel=1e-6)


def test_label_smoothing_is_keras_on_the_real_side_only() -> None:
    entropy = keras.losses.BinaryCrossentropy(from_logits=True, label_smoothing=0.2)  # 1 becomes 0.9
    smoothed, plain = LOSSES["non_saturating"](0.1), LOSSES["non_saturating"](0.0)
    assert float(smoothed.real(LOGITS)) == pytest.approx(float(entropy(np.ones_like(LOGITS), LOGITS)), rel=1e-6)
    assert smoothed.generated(LOGITS) == plain.generated(LOGITS)
    assert smoothed.generator(LOGITS) == plain.generator(LOGITS)
    square = keras.losses.MeanSquaredError()
    expected = float(square(np.full_like(LOGITS, 0.9), LOGITS))
    assert float(LOSSES["least_squares"](0.1).real(LOGITS)) == pytest.approx(expected, rel=1e-6)


def test_wasserstein_halves_average_to_the_difference_of_means() -> None:
    loss, other = LOSSES["wasserstein"](0.0), LOGITS[::-1] + 1
    mean = (float(loss.real(LOGITS)) + float(loss.generated(other))) / 2
    assert mean == pytest.approx(other.mean() - LOGITS.mean(), rel=1e-5)


def test_relativistic_is_its_equation_in_numpy() -> None:
    loss, other = LOSSES["relativistic"](0.0), LOGITS * 0.3 - 1
    expected = -np.log(1 / (1 + np.exp(-(LOGITS - other).astype(np.float64)))).mean()
    assert float(loss.discriminator(LOGITS, other)) == pytest.approx(expected, rel=1e-5)
    assert float(loss.generator(other, LOGITS)) == pytest.approx(expected, rel=1e-5)


def test_names_agree() -> None:
    assert set(LOSSES) == set(THRESHOLDS) == set(config.NAMES["loss"]) == set(config.choices("loss"))
