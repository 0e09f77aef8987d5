"""The nearest training image is found, and a copier is told from a generator."""

import io

import numpy as np
import pytest
from PIL import Image

from dcgan_exp import neighbours


def test_copies_are_found(small_images: np.ndarray) -> None:
    found = neighbours.search(small_images[[5, 60, 7]], small_images)
    assert found.indices.tolist() == [5, 60, 7]
    assert found.distances.tolist() == [0, 0, 0]
    assert found.copies == 3
    assert "3 of 3 as near" in found.summary()


def test_copies_are_found_where_training_images_repeat(small_images: np.ndarray) -> None:
    assert neighbours.search(small_images[:5], np.concatenate([small_images, small_images])).copies == 5


def test_distances_are_root_mean_squares(small_images: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "BLOCK", 10)
    queries = np.clip(small_images[:9].astype(int) + 30, 0, 255).astype(np.uint8)
    differences = queries[:, None].astype(float) - small_images[None]
    expected = np.sqrt(np.mean(differences**2, axis=(2, 3, 4)))
    indices, distances = neighbours.nearest(queries, small_images)
    np.testing.assert_array_equal(indices, expected.argmin(axis=1))
    np.testing.assert_allclose(distances, expected.min(axis=1))


def test_a_training_image_is_not_its_own_neighbour(small_images: np.ndarray) -> None:
    indices, distances = neighbours.nearest(small_images[:9], small_images, np.arange(9))
    assert not np.any(indices == np.arange(9))
    assert np.all(distances > 0)


def test_the_picture_has_a_pair_for_each_sample(small_images: np.ndarray) -> None:
    found = neighbours.search(small_images[:6], small_images)
    with Image.open(io.BytesIO(neighbours.picture(small_images[:6], small_images, np.arange(64), found))) as picture:
        assert picture.size == (4 * 190, 46 + 2 * 132)
