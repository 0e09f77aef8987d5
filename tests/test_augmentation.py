"""Augmentation: what moves where, by which seed, and that gradients pass."""

import numpy as np
import pytest
import tensorflow as tf

from dcgan_exp import config
from dcgan_exp.augmentation import ADAPTIVE_STEP, AUGMENTATIONS, adapted, augmented, cutout, translated

IMAGES = tf.random.stateless_uniform([8, 16, 16, 1], [3, 4], -1.0, 1.0)
SEED = tf.constant([5, 6], tf.int64)


def column(*values: float) -> tf.Tensor:
    return tf.constant(values)[:, None, None, None]


def test_translation_is_numpys_roll_with_black_moving_in() -> None:
    moved = translated(IMAGES[:2], column(1.0, -0.5), column(0.0, 0.5)).numpy()  # at most 16 // 8 = 2 pixels
    expected = np.full((16, 16, 1), -1.0, np.float32)
    expected[2:] = IMAGES[0, :-2]
    np.testing.assert_array_equal(moved[0], expected)
    np.testing.assert_array_equal(moved[1, :-1, 1:], IMAGES[1, 1:, :-1])
    assert (moved[1, -1] == -1).all()
    assert (moved[1, :, 0] == -1).all()


def test_cutout_is_a_square_of_half_the_size() -> None:
    mask = cutout(16, column(0.5), column(0.5)).numpy()[0, :, :, 0]
    assert mask.sum() == 16 * 16 - 7 * 7
    assert (mask[5:12, 5:12] == 0).all()


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
    assert float(adapted(probability, tf.ones([8, 1]))) == pytest.approx(0.5 + ADAPTIVE_STEP)
    assert float(adapted(probability, -tf.ones([8, 1]))) == pytest.approx(0.5 - ADAPTIVE_STEP)
    assert float(adapted(tf.constant(0.0), -tf.ones([8, 1]))) == 0


def test_names_agree() -> None:
    assert set(AUGMENTATIONS) == set(config.NAMES["augment"]) == set(config.choices("augment"))
