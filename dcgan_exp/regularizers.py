"""Penalties on the discriminator's gradients with respect to images; scalars added to its loss.

Each is a function of (discriminator, real images, generated images, mixing numbers), the last uniform in [0, 1] and
of shape (batch, 1, 1, 1).
"""

from collections.abc import Callable

import keras
import tensorflow as tf

Regularizer = Callable[[keras.Model, tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor]


def squared_norms(discriminator: keras.Model, images: tf.Tensor) -> tf.Tensor:
    """|d logit / d image|^2 of each image, of shape (batch,)."""
    with tf.GradientTape() as tape:
        tape.watch(images)
        logits = discriminator(images, training=True)
    gradients = tf.cast(tape.gradient(logits, images), tf.float32)
    return tf.reduce_sum(tf.square(gradients), axis=[1, 2, 3])


def r1(discriminator: keras.Model, real: tf.Tensor, _: tf.Tensor, __: tf.Tensor) -> tf.Tensor:
    """Half the mean squared gradient on real images (Mescheder et al. 2018, equation 9)."""
    return tf.reduce_mean(squared_norms(discriminator, real)) / 2


def r1_r2(discriminator: keras.Model, real: tf.Tensor, generated: tf.Tensor, _: tf.Tensor) -> tf.Tensor:
    """The same on real and on generated images (Mescheder et al. 2018, equations 9 and 10)."""
    norms = squared_norms(discriminator, real) + squared_norms(discriminator, generated)
    return tf.reduce_mean(norms) / 2


def gradient_penalty(discriminator: keras.Model, real: tf.Tensor, generated: tf.Tensor, mixing: tf.Tensor) -> tf.Tensor:
    """Gradients of norm 1 between real and generated images (Gulrajani et al. 2017, equation 3)."""
    between = mixing * real + (1 - mixing) * generated
    norms = tf.sqrt(squared_norms(discriminator, between) + 1e-12)
    return tf.reduce_mean(tf.square(norms - 1))


REGULARIZERS: dict[str, Regularizer | None] = {
    "none": None,
    "r1": r1,
    "r1_r2": r1_r2,
    "gradient_penalty": gradient_penalty,
}
