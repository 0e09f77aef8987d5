"""Differentiable augmentation of the images that D judges (Zhao et al. 2020; Karras et al. 2020).

The same transformations meet real and generated images, and gradients pass through them to the generator.
"""

import tensorflow as tf

from dcgan_exp import replicas

ADAPTIVE_TARGET = 0.6  # the mean sign of D's logits on real images (Karras et al. 2020, section 3.1)
ADAPTIVE_STEP = 1e-3  # change of the probability in an iteration


def augmented(images: tf.Tensor, seed: tf.Tensor, probability: tf.Tensor | float = 1.0) -> tf.Tensor:
    """Brightness, contrast, translation by up to an eighth and a cutout of half the size, each image by itself.

    `images`: float (batch, height, width, channels) in [-1, 1]; `seed`: two integers that decide everything;
    `probability`: the fraction of images that is changed. Zhao et al. 2020, section 3.2.
    """
    seeds = tf.unstack(tf.random.split(seed, 7, alg="philox"))
    shape = [tf.shape(images)[0] * replicas.count(), 1, 1, 1]

    def uniform(index: int, low: float, high: float) -> tf.Tensor:
        return replicas.own_part(tf.random.stateless_uniform(shape, seeds[index], low, high, alg="philox"))

    changed = images + uniform(0, -0.5, 0.5)
    mean = tf.reduce_mean(changed, axis=[1, 2, 3], keepdims=True)
    changed = (changed - mean) * uniform(1, 0.5, 1.5) + mean
    changed = translated(changed, uniform(2, -1.0, 1.0), uniform(3, -1.0, 1.0))
    changed *= cutout(images.shape[1], uniform(4, 0.0, 1.0), uniform(5, 0.0, 1.0))
    chosen = uniform(6, 0.0, 1.0) < probability
    return tf.where(chosen, changed, images)


def translated(images: tf.Tensor, down: tf.Tensor, right: tf.Tensor) -> tf.Tensor:
    """Images moved by whole pixels, at most an eighth of their size at +-1; -1 (black) moves in."""
    size = images.shape[1]
    reach = max(size // 8, 1)
    offsets = [tf.cast(tf.round(move[:, 0, 0, 0] * reach), tf.int32) for move in (down, right)]
    padded = tf.pad(images, [[0, 0], [reach, reach], [reach, reach], [0, 0]], constant_values=-1.0)
    rows, columns = (tf.range(size)[None, :] + reach - offset[:, None] for offset in offsets)
    moved = tf.gather(padded, rows, axis=1, batch_dims=1)
    return tf.gather(moved, columns, axis=2, batch_dims=1)


def cutout(size: int, down: tf.Tensor, right: tf.Tensor) -> tf.Tensor:
    """Masks (batch, size, size, 1): 0 in a square of half the size around (down, right) in [0, 1], 1 elsewhere."""
    positions = tf.range(size, dtype=tf.float32)
    rows = tf.abs(positions[None, :, None, None] - tf.floor(down * size)) < size / 4
    columns = tf.abs(positions[None, None, :, None] - tf.floor(right * size)) < size / 4
    return 1.0 - tf.cast(rows & columns, tf.float32)


def adapted(probability: tf.Tensor, real_logits: tf.Tensor) -> tf.Tensor:
    """ADA's next probability: up while D overfits to the real images, else down (Karras et al. 2020, section 3.1)."""
    overfitting = replicas.mean(tf.reduce_mean(tf.sign(real_logits)))
    return tf.clip_by_value(probability + tf.sign(overfitting - ADAPTIVE_TARGET) * ADAPTIVE_STEP, 0.0, 1.0)


AUGMENTATIONS = ("none", "diffaugment", "ada")
