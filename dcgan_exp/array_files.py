"""Files that hold arrays of images: NumPy's, LeCun's IDX and CIFAR-10's batches. None of them can run code here."""

import gzip
import math
import pickletools
import tarfile
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Parts = dict[str, NDArray[Any]]  # images, labels, test_images, test_labels: any of them

NPZ_KEYS = {  # Keras' names first, then those of others
    "images": ("x_train", "train_images", "images", "x", "arr_0"),
    "labels": ("y_train", "train_labels", "labels", "y", "arr_1"),
    "test_images": ("x_test", "test_images"),
    "test_labels": ("y_test", "test_labels"),
}
IDX_FILES = {
    "images": "train-images-idx3-ubyte.gz",
    "labels": "train-labels-idx1-ubyte.gz",
    "test_images": "t10k-images-idx3-ubyte.gz",
    "test_labels": "t10k-labels-idx1-ubyte.gz",
}
CIFAR_FOLDER = "cifar-10-batches-py"  # in the archive, and in Keras' cache
CIFAR_FILES = {"images": [f"data_batch_{number}" for number in range(1, 6)], "test_images": ["test_batch"]}
CIFAR_FILE_BYTES = 64 * 2**20
ARRAY_BYTES = 4 * 2**30  # a header that declares more is taken for damage


def read_npz(file: Path | BytesIO) -> Parts:
    """An archive's arrays under any of the names of NPZ_KEYS; or the only array that there is, as the images."""
    with zipfile.ZipFile(file) as archive:
        members = {member.filename.removesuffix(".npy"): member for member in archive.infolist()}
        found = {part: next((key for key in keys if key in members), None) for part, keys in NPZ_KEYS.items()}
        if found["images"] is None and len(members) == 1:
            found["images"] = next(iter(members))
        return {part: _read_member(archive, members[key]) for part, key in found.items() if key is not None}


def read_npy(file: Path) -> Parts:
    """The images of one array, mapped into memory."""
    return {"images": np.load(file, mmap_mode="r", allow_pickle=False)}


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> NDArray[Any]:
    _check_size(member.file_size)  # zipfile reads no more than this
    with archive.open(member) as stream:
        array: NDArray[Any] = np.lib.format.read_array(stream, allow_pickle=False)
        if stream.read(1):  # the byte after the last makes zipfile compare the checksum
            raise ValueError(f"{member.filename} holds more than its header says")
    return array


def read_idx(file: Path | BytesIO) -> NDArray[np.uint8]:
    """LeCun's format: two zero bytes, the type, the number of dimensions, each as a big-endian uint32, the values."""
    with gzip.open(file) as stream:
        magic = stream.read(4)
        if len(magic) < 4 or magic[:3] != b"\0\0\x08" or magic[3] not in (1, 3):
            raise ValueError(f"it starts with 0x{magic.hex()} where an IDX file has 0x00000803 or 0x00000801")
        shape = tuple(int(size) for size in np.frombuffer(stream.read(4 * magic[3]), ">u4"))
        if len(shape) != magic[3]:
            raise EOFError("its header is cut off")
        size = math.prod(shape)
        _check_size(size)
        values = stream.read(size + 1)  # here it is gzip that compares
    if len(values) != size:
        raise ValueError(f"its header says {size} bytes and it holds {'more' if len(values) > size else len(values)}")
    return np.frombuffer(values, np.uint8).reshape(shape)


def _check_size(size: int) -> None:
    if size > ARRAY_BYTES:
        raise ValueError(f"its header says {size} bytes, more than {ARRAY_BYTES}")


def read_cifar_folder(folder: Path) -> Parts:
    """The extracted folder of CIFAR-10's Python version."""

    def content(name: str) -> bytes:
        with open(folder / name, "rb") as file:
            return file.read(CIFAR_FILE_BYTES)

    return _cifar_parts(content)


def read_cifar_archive(file: Path | BytesIO) -> Parts:
    """The .tar.gz of CIFAR-10's Python version. Nothing is extracted."""
    with tarfile.open(**({"name": file} if isinstance(file, Path) else {"fileobj": file})) as archive:

        def content(name: str) -> bytes:
            member = archive.extractfile(f"{CIFAR_FOLDER}/{name}")
            if member is None:
                raise ValueError(f"{name} is no file")
            return member.read(CIFAR_FILE_BYTES)

        return _cifar_parts(content)


def _cifar_parts(content: Callable[[str], bytes]) -> Parts:
    parts = {}
    for part, names in CIFAR_FILES.items():
        batches = [read_cifar(content(name)) for name in names]
        parts[part] = np.concatenate([images for images, _ in batches])
        parts[part.replace("images", "labels")] = np.concatenate([labels for _, labels in batches])
    return parts


def read_cifar(content: bytes) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """(images (n, 32, 32, 3), labels (n,)) of one batch file.

    It is a pickle, which could run any code; here its opcodes are only looked through for what is written out in it:
    the pixels, red, green and blue planes in turn, and the list of labels.
    """
    key, pixels, labels = None, b"", []
    for _, value, _ in pickletools.genops(content):
        if value in ("data", "labels", "filenames", "batch_label"):
            key = value
        elif key == "data" and isinstance(value, str | bytes) and len(value) >= 3072:
            pixels = value.encode("latin-1") if isinstance(value, str) else value
        elif key == "labels" and isinstance(value, int) and not isinstance(value, bool):
            labels.append(value)
    images = np.frombuffer(pixels, np.uint8).reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    if len(images) == 0 or len(labels) < len(images):
        raise ValueError(f"it holds {len(images)} images and {len(labels)} labels")
    return images, np.array(labels, np.int64)
