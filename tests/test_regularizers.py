"""Gradient penalties against closed forms and finite differences."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from dcgan_exp import config
from dcgan_exp.regularizers import REGULARIZERS, gradient_penalty, r1, r1_r2, squared_norms

REAL = tf.random.stateless_normal([3, 4, 4, 1], [1, 1])
GENERATED = tf.random.stateless_normal([3, 4, 4, 1], [2, 2])
MIXING = tf.constant([0.0, 0.5, 1.0])[:, None, None, None]


def linear(slope: float) -> keras.Model:
    """A discriminator whose gradient is `slope` at every one of 16 pixels."""
    kernel = keras.initializers.Constant(slope)
    layers = [keras.Input((4, 4, 1)), keras.layers.Flatten(), keras.layers.Dense(1, kernel_initializer=kernel)]
    return keras.Sequential(layers)


def test_penalties_of_a_linear_discriminator_are_known() -> None:
    norm_squared = 16 * 0.5**2
    assert float(r1(linear(0.5), REAL, GENERATED, MIXING)) == pytest.approx(norm_squared / 2)
    assert float(r1_r2(linear(0.5), REAL, GENERATED, MIXING)) == pytest.approx(norm_squared)
    assert float(gradient_penalty(linear(0.5), REAL, GENERATED, MIXING)) == pytest.approx((norm_squared**0.5 - 1) ** 2)
    assert float(gradient_penalty(linear(0.25), REAL, GENERATED, MIXING)) == pytest.approx(0, abs=1e-6)


def test_gradients_equal_finite_differences() -> None:
    layers = [keras.Input((4, 4, 1)), keras.layers.Conv2D(3, 3, activation="tanh"), keras.layers.Flatten()]
    network = keras.Sequential([*layers, keras.layers.Dense(1)])
    step, images = 1e-2, REAL.numpy()
    gradients = np.zeros((3, 16))
    for pixel in range(16):
        moved = np.zeros((1, 16), np.float32)
        moved[0, pixel] = step
        moved = moved.reshape(1, 4, 4, 1)
        gradients[:, pixel] = (network(images + moved) - network(images - moved)).numpy()[:, 0] / (2 * step)
    np.testing.assert_allclose(squared_norms(network, REAL), (gradients**2).sum(1), rtol=1e-2)


def test_names_agree() -> None:
    assert set(REGULARIZERS) == set(config.NAMES["regularizer"]) == set(config.choices("regularizer"))
