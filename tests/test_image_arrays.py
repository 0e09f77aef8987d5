"""Arrays of images, against Pillow and numpy."""

import numpy as np
import pytest
from PIL import Image

from dcgan_exp import image_arrays


@pytest.fixture
def arrays():
    return {"x_train": np.random.default_rng(0).integers(0, 256, (20, 28, 28), np.uint8)}


def test_grey_to_rgb_repeats(arrays):
    images = arrays["x_train"][..., None]
    rgb = image_arrays.fit(images, 28, 3)
    assert rgb.shape == (20, 28, 28, 3)
    for channel in range(3):
        np.testing.assert_array_equal(rgb[..., channel], images[..., 0])


def test_rgb_to_grey_is_pillows_luma():
    images = np.random.default_rng(0).integers(0, 256, (4, 9, 9, 3), np.uint8)
    weighted = images @ np.array([0.299, 0.587, 0.114])
    assert np.abs(image_arrays.fit(images, 9, 1)[..., 0] - weighted).max() <= 0.51


@pytest.mark.parametrize(("size", "channels"), [(32, 1), (32, 3), (64, 1), (14, 1)])
def test_resizing_gives_uint8_of_the_wanted_shape(arrays, size, channels):
    images = arrays["x_train"] // 2 + 64  # so that no overshoot is clipped
    fitted = image_arrays.fit(images[..., None], size, channels)
    assert fitted.shape == (20, size, size, channels)
    assert fitted.dtype == np.uint8
    # Against Pillow's integer path, which rounds between its two passes too.
    pillow = Image.fromarray(images[0]).resize((size, size), Image.Resampling.BICUBIC)
    assert np.abs(fitted[0, ..., 0].astype(int) - np.asarray(pillow)).max() <= 1


def test_shrinking_is_antialiased():
    stripes = np.tile(np.array([0, 255], np.uint8), (1, 64, 32))[..., None]
    assert np.abs(image_arrays.fit(stripes, 16, 1)[0, 2:-2, 2:-2].astype(int) - 127).max() <= 2


def test_what_is_not_square_is_cut_not_stretched(arrays):
    images = arrays["x_train"][..., None]
    wide = np.pad(images, ((0, 0), (0, 0), (10, 10), (0, 0)))
    np.testing.assert_array_equal(image_arrays.fit(wide, 28, 1), images)


def test_without_a_crop_the_whole_image_is_squeezed():
    wide = np.random.default_rng(0).integers(64, 192, (1, 20, 40, 1), np.uint8)
    pillow = Image.fromarray(wide[0, ..., 0]).resize((10, 10), Image.Resampling.BICUBIC)
    assert np.abs(image_arrays.fit(wide, 10, 1, "none")[0, ..., 0].astype(int) - np.asarray(pillow)).max() <= 1


def test_a_mapped_array_that_fits_is_not_copied(tmp_path):
    np.save(tmp_path / "images.npy", np.zeros((3, 8, 8, 1), np.uint8))
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    assert image_arrays.fit(mapped, 8, 1) is mapped
    assert image_arrays.fingerprint(mapped, None) == image_arrays.fingerprint(np.array(mapped), None)
