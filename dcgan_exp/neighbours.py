"""Does a generator copy? Each sample beside the training image that is nearest to it.

Distances are root mean square differences of grey levels, 0 to 255, over all pixels and channels.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from dcgan_exp.images import Pixels, encode_png

BLOCK = 4096  # training images compared at a time
REFERENCES = 200  # training images whose own nearest neighbours are the measure
CELL = 84  # pixels at least of one enlarged image
MARGIN = 10

Distances = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Neighbours:
    """What the search found."""

    indices: Indices  # (n,) of the nearest training image
    distances: Distances  # (n,)
    usual: Distances  # of training images to the nearest other training image

    @property
    def copies(self) -> int:
        """Samples as near to a training image as the nearest 5 % of the training images are to each other."""
        return int(np.sum(self.distances <= np.quantile(self.usual, 0.05)))

    def summary(self) -> str:
        """One line for people."""
        median, usual = np.median(self.distances), np.median(self.usual)
        return (
            f"median distance to the nearest training image {median:.1f} of 255 (between training images {usual:.1f}); "
            f"{self.copies} of {len(self.distances)} as near as the nearest 5 % of training images are to each other"
        )


def search(samples: Pixels, training: Pixels) -> Neighbours:
    """The nearest of the training images to each sample; both uint8 (n, h, w, c)."""
    chosen = np.linspace(0, len(training) - 1, min(len(training), REFERENCES)).astype(np.int64)
    indices, distances = nearest(samples, training)
    _, usual = nearest(training[chosen], training, chosen)
    return Neighbours(indices, distances, usual)


def nearest(queries: Pixels, training: Pixels, itself: Indices | None = None) -> tuple[Indices, Distances]:
    """(index of the nearest training image, its distance); `itself` is an index to leave out for each query."""
    wanted = _flat(queries)
    best, found = np.full(len(wanted), np.inf, np.float32), np.zeros(len(wanted), np.int64)
    for first in range(0, len(training), BLOCK):
        block = _flat(training[first : first + BLOCK])
        # |q - t|^2 less |q|^2, which is the same for all t
        squares = np.einsum("ij,ij->i", block, block)[None, :] - 2 * wanted @ block.T
        if itself is not None:
            rows = np.flatnonzero((itself >= first) & (itself < first + len(block)))
            squares[rows, itself[rows] - first] = np.inf
        nearest_here = squares.argmin(axis=1)
        values = squares[np.arange(len(wanted)), nearest_here]
        found = np.where(values < best, nearest_here + first, found)
        best = np.minimum(values, best)
    differences = queries.reshape(len(queries), -1).astype(np.float64) - training[found].reshape(len(queries), -1)
    return found, np.sqrt(np.mean(differences**2, axis=1))


def _flat(images: Pixels) -> npt.NDArray[np.float32]:
    """Centred, so that float32 loses little in the squares."""
    return images.reshape(len(images), -1).astype(np.float32) / np.float32(127.5) - np.float32(1)


def picture(samples: Pixels, training: Pixels, labels: npt.NDArray[Any] | None, found: Neighbours) -> bytes:
    """A PNG of pairs, sample left and neighbour right, the nearest pair first, with distance, index and label."""
    order = np.argsort(found.distances, kind="stable")
    factor = max(1, -(-CELL // samples.shape[2]))
    height, width = samples.shape[1] * factor, samples.shape[2] * factor
    font = ImageFont.load_default(13)
    columns = min(4, len(samples))
    rows = -(-len(samples) // columns)
    pair_width, pair_height = 2 * width + 2, height + 38
    size = (columns * (pair_width + 2 * MARGIN), rows * (pair_height + MARGIN) + 46)
    canvas = Image.new("RGB", (max(size[0], 420), size[1]), "white")
    pen = ImageDraw.Draw(canvas)
    pen.text((MARGIN, 6), "left: generated   right: nearest training image", "black", font)
    pen.text(
        (MARGIN, 24),
        f"RMS difference of grey levels; between training images {np.median(found.usual):.1f}",
        "#555555",
        font,
    )
    for position, index in enumerate(order):
        x = MARGIN + position % columns * (pair_width + 2 * MARGIN)
        y = 46 + position // columns * (pair_height + MARGIN)
        for offset, image in ((0, samples[index]), (width + 2, training[found.indices[index]])):
            canvas.paste(_enlarged(image, factor), (x + offset, y))
        where = f"nearest #{found.indices[index]}" + (
            "" if labels is None else f"  class {labels[found.indices[index]]}"
        )
        pen.text((x, y + height + 2), f"sample {index}: {found.distances[index]:.1f}", "black", font)
        pen.text((x, y + height + 18), where, "#555555", font)
    return encode_png(np.asarray(canvas))


def _enlarged(image: Pixels, factor: int) -> Image.Image:
    large = image.repeat(factor, axis=0).repeat(factor, axis=1)
    return Image.fromarray(large[..., 0] if large.shape[2] == 1 else large).convert("RGB")
