"""Losses of the two networks as pure functions of logits; all are means over the batch.

A `Loss` names three functions: the discriminator's loss on real images, its loss on generated ones, and the
generator's. Logits have shape (batch, 1) and float32; the results are scalars.
"""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

LogitsLoss = Callable[[tf.Tensor], tf.Tensor]


class Loss(NamedTuple):
    """What D minimises on real and on generated images, and what G minimises."""

    real: LogitsLoss
    generated: LogitsLoss
    generator: LogitsLoss


def _cross_entropy_to_real(logits: tf.Tensor) -> tf.Tensor:
    return tf.reduce_mean(tf.nn.softplus(-logits))  # -log sigmoid(logits)


def _cross_entropy_to_generated(logits: tf.Tensor) -> tf.Tensor:
    return tf.reduce_mean(tf.nn.softplus(logits))  # -log(1 - sigmoid(logits))


def _squares_to(target: float) -> LogitsLoss:
    return lambda logits: tf.reduce_mean(tf.square(logits - target))


LOSSES = {
    # Goodfellow et al. 2014, section 3: binary cross-entropy, with G maximising log D(G(z)).
    "non_saturating": Loss(_cross_entropy_to_real, _cross_entropy_to_generated, _cross_entropy_to_real),
    # Mao et al. 2017, equation 9 without its factor 1/2: a = 0, b = c = 1.
    "least_squares": Loss(_squares_to(1.0), _squares_to(0.0), _squares_to(1.0)),
    # Lim & Ye 2017; Miyato et al. 2018, equations 16 and 17.
    "hinge": Loss(
        lambda logits: tf.reduce_mean(tf.nn.relu(1.0 - logits)),
        lambda logits: tf.reduce_mean(tf.nn.relu(1.0 + logits)),
        lambda logits: -tf.reduce_mean(logits),
    ),
}
# Where a discriminator's logit is undecided: above it counts as `real`.
THRESHOLDS = {"non_saturating": 0.0, "least_squares": 0.5, "hinge": 0.0}
