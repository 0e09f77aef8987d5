"""CIFAR-10's files as Python 2 wrote them, with few images: the opcodes of the real ones."""

import struct
from pathlib import Path

import numpy as np


def cifar_batch(images: np.ndarray, labels: list[int]) -> bytes:
    """The pickle of a batch: images (n, 32, 32, 3)."""
    pixels = images.transpose(0, 3, 1, 2).tobytes()

    def text(value: str) -> bytes:
        return b"U" + bytes([len(value)]) + value.encode()

    array = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\0tU\x01btR"
    dtype = b"cnumpy\ndtype\n(U\x02u1K\0K\x01tR(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb"
    shape = b"M" + struct.pack("<H", len(images)) + b"M" + struct.pack("<H", 3072) + b"\x86"
    state = b"(K\x01" + shape + dtype + b"\x89T" + struct.pack("<i", len(pixels)) + pixels + b"tb"
    return b"".join(
        [
            *(b"\x80\x02}(", text("batch_label"), text("training batch 1 of 5")),
            *(text("labels"), b"](", *(b"K" + bytes([label]) for label in labels), b"e"),
            *(text("data"), array, state),
            *(text("filenames"), b"](", *(text(f"{label}.png") for label in labels), b"e"),
            b"u.",
        ]
    )


def write_cifar(folder: Path) -> dict[str, np.ndarray]:
    """The six files of the extracted archive, three images in each; returns what they hold."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (18, 32, 32, 3), np.uint8)
    labels = random.integers(0, 10, 18)
    for number, name in enumerate([*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"]):
        part = slice(3 * number, 3 * number + 3)
        (folder / name).write_bytes(cifar_batch(images[part], labels[part].tolist()))
    return {"images": images[:15], "labels": labels[:15], "test_images": images[15:], "test_labels": labels[15:]}
