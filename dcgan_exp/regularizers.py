"""Penalties on the discriminator's gradients with respect to images; scalars added to its loss.

Each is a function of (judge, real images, generated images, mixing numbers): `judge` gives D's logits of images in
training mode, augmented as they are elsewhere; the numbers are uniform in [0, 1], of shape (batch, 1, 1, 1).

D's loss is the mean of its halves on real and on generated images. Where a paper takes their sum (the non-saturating
and the hinge loss), its weight is twice the one here.
"""

from collections.abc import Callable

import tensorflow as tf

Judge = Callable[[tf.Tensor], tf.Tensor]
Regularizer = Callable[[Judge, tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor]


def squared_norms(judge: Judge, images: tf.Tensor) -> tf.Tensor:
    """|d logit / d image|^2 of each image, of shape (batch,)."""
    with tf.GradientTape() as tape:
        tape.watch(images)
        logits = judge(images)
    gradients = tf.cast(tape.gradient(logits, images), tf.float32)
    return tf.reduce_sum(tf.square(gradients), axis=[1, 2, 3])


def r1(judge: Judge, real: tf.Tensor, _: tf.Tensor, __: tf.Tensor) -> tf.Tensor:
    """Half the mean squared gradient on real images (Mescheder et al. 2018, equation 9)."""
    return tf.reduce_mean(squared_norms(judge, real)) / 2


def r1_r2(judge: Judge, real: tf.Tensor, generated: tf.Tensor, _: tf.Tensor) -> tf.Tensor:
    """The same on real and on generated images (Mescheder et al. 2018, equations 9 and 10)."""
    norms = squared_norms(judge, real) + squared_norms(judge, generated)
    return tf.reduce_mean(norms) / 2


def gradient_penalty(judge: Judge, real: tf.Tensor, generated: tf.Tensor, mixing: tf.Tensor) -> tf.Tensor:
    """Gradients of norm 1 between real and generated images (Gulrajani et al. 2017, equation 3)."""
    between = mixing * real + (1 - mixing) * generated
    norms = tf.sqrt(squared_norms(judge, between) + 1e-12)
    return tf.reduce_mean(tf.square(norms - 1))


REGULARIZERS: dict[str, Regularizer | None] = {
    "none": None,
    "r1": r1,
    "r1_r2": r1_r2,
    "gradient_penalty": gradient_penalty,
}
