"""Losses of the two networks as pure functions of logits; all are means over the batch.

Logits have shape (batch, 1) and float32; the results are scalars. `LOSSES[name](smoothing)` makes a `Loss`, which
judges each image by itself, or a `PairLoss`, which judges real and generated images against each other.
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


class PairLoss(NamedTuple):
    """What D and G minimise, each a function of (real logits, generated logits)."""

    discriminator: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
    generator: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


def discriminator_losses(
    loss: Loss | PairLoss, real_logits: tf.Tensor, generated_logits: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """D's loss on real and on generated images; a pair's loss counts once for each."""
    if isinstance(loss, PairLoss):
        return (both := loss.discriminator(real_logits, generated_logits)), both
    return loss.real(real_logits), loss.generated(generated_logits)


def non_saturating(smoothing: float) -> Loss:
    """Binary cross-entropy, with G maximising log D(G(z)) (Goodfellow et al. 2014, section 3).

    One-sided label smoothing trains D towards 1 - smoothing on real images (Salimans et al. 2016, section 3.4).
    """

    def to_real(logits: tf.Tensor) -> tf.Tensor:
        return tf.reduce_mean(tf.nn.softplus(-logits))  # -log sigmoid(logits)

    def to_generated(logits: tf.Tensor) -> tf.Tensor:
        return tf.reduce_mean(tf.nn.softplus(logits))  # -log(1 - sigmoid(logits))

    def to_smoothed(logits: tf.Tensor) -> tf.Tensor:
        return (1 - smoothing) * to_real(logits) + smoothing * to_generated(logits)

    return Loss(to_smoothed if smoothing else to_real, to_generated, to_real)


def least_squares(smoothing: float) -> Loss:
    """Squared distances of the logits to 1 and 0 (Mao et al. 2017, equation 9 without its factor 1/2)."""

    def squares_to(target: float) -> LogitsLoss:
        return lambda logits: tf.reduce_mean(tf.square(logits - target))

    return Loss(squares_to(1.0 - smoothing), squares_to(0.0), squares_to(1.0))


def hinge(_: float) -> Loss:
    """Margins at +1 and -1 (Lim & Ye 2017; Miyato et al. 2018, equations 16 and 17)."""
    return Loss(
        lambda logits: tf.reduce_mean(tf.nn.relu(1.0 - logits)),
        lambda logits: tf.reduce_mean(tf.nn.relu(1.0 + logits)),
        lambda logits: -tf.reduce_mean(logits),
    )


def wasserstein(_: float) -> Loss:
    """Differences of mean logits (Arjovsky et al. 2017); wants a gradient penalty. The two halves of D's loss
    are twice the terms of its equation 2, so that their mean is its loss."""
    return Loss(
        lambda logits: -2.0 * tf.reduce_mean(logits),
        lambda logits: 2.0 * tf.reduce_mean(logits),
        lambda logits: -tf.reduce_mean(logits),
    )


def relativistic(_: float) -> PairLoss:
    """A real image shall look more real than a generated one (Jolicoeur-Martineau 2019, equations 3 and 4)."""

    def shall_exceed(more: tf.Tensor, less: tf.Tensor) -> tf.Tensor:
        return tf.reduce_mean(tf.nn.softplus(less - more))

    return PairLoss(shall_exceed, lambda real_logits, generated_logits: shall_exceed(generated_logits, real_logits))


LOSSES: dict[str, Callable[[float], Loss | PairLoss]] = {
    "non_saturating": non_saturating,
    "least_squares": least_squares,
    "hinge": hinge,
    "wasserstein": wasserstein,
    "relativistic": relativistic,
}
# Where a logit is undecided: above it counts as `real`. Two losses leave a common offset of all logits open: null
# stands for the middle between the means of real and generated images.
THRESHOLDS = {"non_saturating": 0.0, "least_squares": 0.5, "hinge": 0.0, "wasserstein": None, "relativistic": None}
