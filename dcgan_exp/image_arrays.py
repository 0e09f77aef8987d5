"""Arrays of images, wherever they came from: one type, one size, one number of channels, one fingerprint.

Needs nothing but numpy and Pillow, so that the processes that decode files start at once.
"""

import hashlib

import numpy as np
from numpy.typing import NDArray
from PIL import Image

IN_MEMORY_BYTES = 512 * 2**20  # of images that are copied into memory; more of them stay in their file

Images = NDArray[np.uint8]
Labels = NDArray[np.int64]


def fingerprint(images: Images, labels: Labels | None) -> str:
    """SHA-256, in hexadecimal, over type, shape and bytes of both arrays."""
    digest = hashlib.sha256()
    for array in (images, labels):
        if array is not None:
            digest.update(f"{array.dtype.str} {array.shape} ".encode())
            digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def fit(images: Images, size: int, channels: int, crop: str = "center") -> Images:
    """(n, height, width, 1 or 3) -> (n, size, size, channels), both uint8.

    What exceeds a centred square is cut off; with `crop="none"` the whole image is squeezed into the square. RGB
    becomes grey by the luma of ITU-R 601, as in Pillow.
    """
    if channels == 1 and images.shape[3] == 3:
        images = _luma(images)
    if images.shape[1:3] != (size, size):
        if crop == "center":
            height, width = images.shape[1:3]
            side = min(height, width)
            top, left = (height - side) // 2, (width - side) // 2
            images = images[:, top : top + side, left : left + side]
        images = _resized(images, size)
    return images if images.shape[3] == channels else np.repeat(images, channels, axis=3)


def _luma(images: Images) -> Images:
    grey = np.empty((*images.shape[:3], 1), np.uint8)
    for image, result in zip(images, grey, strict=True):
        result[..., 0] = Image.fromarray(image).convert("L")
    return grey


def _resized(images: Images, size: int) -> Images:
    """Antialiased bicubic resampling in floating point, rounded once (Parmar et al. 2022, "On aliased resizing")."""
    if images.shape[1:3] == (size, size):
        return images
    count, channels = images.shape[0], images.shape[3]
    result = np.empty((count, size, size, channels), np.uint8)
    for index in range(count):
        for channel in range(channels):
            plane = Image.fromarray(images[index, :, :, channel].astype(np.float32))
            resampled = plane.resize((size, size), Image.Resampling.BICUBIC)
            result[index, :, :, channel] = np.clip(np.rint(np.asarray(resampled)), 0, 255)
    return result
