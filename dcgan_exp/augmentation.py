"""Differentiable augmentation of the images that D judges (Zhao et al. 2020; Karras et al. 2020).

The same transformations meet real and generated images, and gradients pass through them to the generator.
"""

import tensorflow as tf

from dcgan_exp import replicas

ADAPTIVE_TARGET = 0.6  # the mean sign of D's logits on real images (Karras et al. 2020, section 3.1)
ADAPTIVE_IMAGES = 500_000  # real images within which the probability may go from 0 to 1 (as there)


def augmented(images: tf.Tensor, seed: tf.Tensor, probability: tf.Tensor | float = 1.0) -> tf.Tensor:
    """Brightness, saturation, contrast, translation by up to an eighth and a cutout of half the size, each image by
    itself.

    `images`: float (batch, height, width, channels) in [-1, 1]; `seed`: two integers that decide everything;
    `probability`: the fraction of images that is changed. Zhao et al. 2020, section 3.2.
    """
    seeds = tf.unstack(tf.random.split(seed, 8, alg="philox"))
    shape = [tf.shape(images)[0] * replicas.count(), 1, 1, 1]

    def uniform(index: int, low: float, high: float) -> tf.Tensor:
        return replicas.own_part(tf.random.stateless_uniform(shape, seeds[index], low, high, alg="philox"))

    changed = images + uniform(0, -0.5, 0.5)
    if images.shape[3] > 1:
        changed = stretched(changed, uniform(7, 0.0, 2.0), [3])  # saturation
    changed = stretched(changed, uniform(1, 0.5, 1.5), [1, 2, 3])  # contrast
    changed = translated(changed, uniform(2, 0.0, 1.0), uniform(3, 0.0, 1.0))
    changed *= cutout(images.shape[1], uniform(4, 0.0, 1.0), uniform(5, 0.0, 1.0))
    chosen = uniform(6, 0.0, 1.0) < probability
    return tf.where(chosen, changed, images)


def stretched(images: tf.Tensor, factors: tf.Tensor, axes: list[int]) -> tf.Tensor:
    """Images whose distances from their means over some axes are multiplied."""
    means = tf.reduce_mean(images, axes, keepdims=True)
    return (images - means) * factors + means


def translated(images: tf.Tensor, down: tf.Tensor, right: tf.Tensor) -> tf.Tensor:
    """Images moved by whole pixels, from minus an eighth of their size at 0 to an eighth at 1; -1 (black) moves in."""
    size = images.shape[1]
    reach = (size + 4) // 8
    offsets = [tf.cast(tf.floor(move[:, 0, 0, 0] * (2 * reach + 1)), tf.int32) - reach for move in (down, right)]
    padded = tf.pad(images, [[0, 0], [reach, reach], [reach, reach], [0, 0]], constant_values=-1.0)
    rows, columns = (tf.range(size)[None, :] + reach - offset[:, None] for offset in offsets)
    moved = tf.gather(padded, rows, axis=1, batch_dims=1)
    return tf.gather(moved, columns, axis=2, batch_dims=1)


def cutout(size: int, down: tf.Tensor, right: tf.Tensor) -> tf.Tensor:
    """Masks (batch, size, size, 1): 0 in a square of half the size around (down, right) in [0, 1], 1 elsewhere."""
    positions, hole = tf.range(size, dtype=tf.float32), (size + 1) // 2
    centers = (tf.floor(place * (size + 1 - hole % 2)) for place in (down, right))
    rows, columns = (
        (-(hole // 2) <= distances) & (distances < hole - hole // 2)
        for distances in (positions[None, :] - center[:, 0, 0] for center in centers)
    )
    return 1.0 - tf.cast(rows[:, :, None, None] & columns[:, None, :, None], tf.float32)


def adapted(probability: tf.Tensor, real_logits: tf.Tensor, batch_size: int) -> tf.Tensor:
    """ADA's next probability: up while D overfits to the real images, else down (Karras et al. 2020, section 3.1).

    It moves after each batch, where the paper waits for four, and decides of all transformations of an image at once.
    """
    overfitting = replicas.mean(tf.reduce_mean(tf.sign(real_logits)))
    step = batch_size / ADAPTIVE_IMAGES
    return tf.clip_by_value(probability + tf.sign(overfitting - ADAPTIVE_TARGET) * step, 0.0, 1.0)


AUGMENTATIONS = ("none", "diffaugment", "ada")
