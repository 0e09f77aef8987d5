"""Each loss against Keras' own, or against its equation in numpy."""

import keras
import numpy as np
import pytest

from dcgan_exp import config
from dcgan_exp.losses import LOSSES, THRESHOLDS

LOGITS = np.array([[-30.0], [-2.0], [-0.5], [0.0], [0.7], [3.0], [40.0]], np.float32)


def test_non_saturating_is_keras_binary_cross_entropy() -> None:
    entropy = keras.losses.BinaryCrossentropy(from_logits=True)
    loss = LOSSES["non_saturating"]
    assert float(loss.real(LOGITS)) == pytest.approx(float(entropy(np.ones_like(LOGITS), LOGITS)), rel=1e-6)
    assert float(loss.generated(LOGITS)) == pytest.approx(float(entropy(np.zeros_like(LOGITS), LOGITS)), rel=1e-6)
    assert float(loss.generator(LOGITS)) == pytest.approx(float(entropy(np.ones_like(LOGITS), LOGITS)), rel=1e-6)


def test_least_squares_is_keras_mean_squared_error() -> None:
    square = keras.losses.MeanSquaredError()
    loss = LOSSES["least_squares"]
    assert float(loss.real(LOGITS)) == pytest.approx(float(square(np.ones_like(LOGITS), LOGITS)), rel=1e-6)
    assert float(loss.generated(LOGITS)) == pytest.approx(float(square(np.zeros_like(LOGITS), LOGITS)), rel=1e-6)


def test_hinge_is_keras_hinge_and_the_mean_logit() -> None:
    hinge = keras.losses.Hinge()
    loss = LOSSES["hinge"]
    assert float(loss.real(LOGITS)) == pytest.approx(float(hinge(np.ones_like(LOGITS), LOGITS)), rel=1e-6)
    assert float(loss.generated(LOGITS)) == pytest.approx(float(hinge(-np.ones_like(LOGITS), LOGITS)), rel=1e-6)
    assert float(loss.generator(LOGITS)) == pytest.approx(-LOGITS.mean(), rel=1e-6)


def test_names_agree() -> None:
    assert set(LOSSES) == set(THRESHOLDS) == set(config.NAMES["loss"]) == set(config.choices("loss"))
