"""Augmentation: what moves where, by which seed, and that gradients pass."""

import numpy as np
import pytest
import tensorflow as tf

from dcgan_exp import config
from dcgan_exp.augmentation import ADAPTIVE_IMAGES, AUGMENTATIONS, adapted, augmented, cutout, stretched, translated

IMAGES = tf.random.stateless_uniform([8, 16, 16, 1], [3, 4], -1.0, 1.0)
SEED = tf.constant([5, 6], tf.int64)


def column(*values: float) -> tf.Tensor:
    return tf.constant(values)[:, None, None, None]


def test_translation_is_numpys_roll_with_black_moving_in() -> None:
    # At most 2 pixels: of the five places, 2 and -1 down, 0 and 1 to the right.
    moved = translated(IMAGES[:2], column(0.99, 0.3), column(0.5, 0.7)).numpy()
    expected = np.full((16, 16, 1), -1.0, np.float32)
    expected[2:] = IMAGES[0, :-2]
    np.testing.assert_array_equal(moved[0], expected)
    np.testing.assert_array_equal(moved[1, :-1, 1:], IMAGES[1, 1:, :-1])
    assert (moved[1, -1] == -1).all()
    assert (moved[1, :, 0] == -1).all()


def test_cutout_is_a_square_of_half_the_size() -> None:
    mask = cutout(16, column(0.5), column(0.5)).numpy()[0, :, :, 0]
    assert mask.sum() == 16 * 16 - 8 * 8
    assert (mask[4:12, 4:12] == 0).all()
    corner = cutout(15, column(0.0), column(0.99)).numpy()[0, :, :, 0]
    assert (corner[:4, 11:] == 0).all()  # of 8, four lie outside
    assert corner.sum() == 15 * 15 - 4 * 4


@pytest.mark.parametrize("size", [16, 28])
def test_all_translations_are_equally_likely(size: int) -> None:
    places = tf.reshape((tf.range(1000, dtype=tf.float32) + 0.5) / 1000, [-1, 1, 1, 1])
    one = np.full((1000, size, size, 1), -1.0, np.float32)
    one[:, size // 2, size // 2] = 1.0
    rows = translated(tf.constant(one), places, tf.fill([1000, 1, 1, 1], 0.5)).numpy()[..., 0].max(2).argmax(1)
    offsets, counts = np.unique(rows - size // 2, return_counts=True)
    reach = int(size / 8 + 0.5)
    np.testing.assert_array_equal(offsets, np.arange(-reach, reach + 1))
    assert counts.max() - counts.min() <= 1


def test_contrast_and_saturation_are_numpys() -> None:
    images = np.random.default_rng(0).uniform(-1, 1, (2, 4, 4, 3)).astype(np.float32)
    for axes, mean in (([1, 2, 3], images.mean((1, 2, 3), keepdims=True)), ([3], images.mean(3, keepdims=True))):
        changed = stretched(tf.constant(images), column(0.5, 2.0), axes).numpy()
        np.testing.assert_allclose(changed[0], (0.5 * images + 0.5 * mean)[0], atol=1e-6)
        np.testing.assert_allclose(changed[1], (2.0 * images - mean)[1], atol=1e-6)


def test_saturation_leaves_grey_images_grey() -> None:
    grey = tf.repeat(IMAGES, 3, axis=3)
    changed = augmented(grey, SEED).numpy()
    np.testing.assert_allclose(changed, changed[..., :1].repeat(3, 3), atol=1e-6)
    colours = tf.random.stateless_uniform([8, 16, 16, 3], [3, 4], -1.0, 1.0)
    assert np.isfinite(augmented(colours, SEED)).all()


def test_the_seed_decides_and_images_differ() -> None:
    first, again, other = augmented(IMAGES, SEED), augmented(IMAGES, SEED), augmented(IMAGES, SEED + 1)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    same = augmented(tf.repeat(IMAGES[:1], 8, axis=0), SEED).numpy()
    assert len(np.unique(same.reshape(8, -1), axis=0)) == 8


def test_probability_is_the_fraction_of_changed_images() -> None:
    many = tf.repeat(IMAGES, 100, axis=0)
    assert np.array_equal(augmented(many, SEED, 0.0), many)
    changed = np.any(augmented(many, SEED, 0.3).numpy() != many.numpy(), axis=(1, 2, 3))
    assert changed.mean() == pytest.approx(0.3, abs=0.06)


def test_gradients_reach_the_images() -> None:
    with tf.GradientTape() as tape:
        tape.watch(IMAGES)
        total = tf.reduce_sum(augmented(IMAGES, SEED))
    gradients = tape.gradient(total, IMAGES).numpy()
    assert np.isfinite(gradients).all()
    assert (np.abs(gradients).sum((1, 2, 3)) > 0).all()


def test_adaptation_follows_the_sign_of_real_logits() -> None:
    probability = tf.constant(0.5)
    step = 8 / ADAPTIVE_IMAGES
    assert float(adapted(probability, tf.ones([8, 1]), 8)) == pytest.approx(0.5 + step, rel=1e-6)
    assert float(adapted(probability, -tf.ones([8, 1]), 8)) == pytest.approx(0.5 - step, rel=1e-6)
    assert float(adapted(tf.constant(0.0), -tf.ones([8, 1]), 8)) == 0


def test_names_agree() -> None:
    assert set(AUGMENTATIONS) == set(config.NAMES["augment"]) == set(config.choices("augment"))
