"""Images from a run's generator: any number of them, and the way between two.

A `.keras` file is never deserialised, since a stranger's could run code: the network is built anew from the run's
configuration, and only numbers are read into it.
"""

import contextlib
import io
import math
import re
import zipfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from dcgan_exp import checkpoints, config, generator_files, runs
from dcgan_exp.concurrency import in_order
from dcgan_exp.images import Pixels
from dcgan_exp.models import Architecture, build_generator

BATCH = 100  # images drawn together, always all of them: what an image looks like must not depend on the count
AT_ONCE = 2  # batches drawn side by side, so that one fills the cores while small operations of the other keep one busy
WEIGHTS = "model.weights.h5"  # Keras' own name inside a .keras file
MOST_WEIGHTS_BYTES = 4 * 2**30


class Generator:
    """A run's generator, ready to draw from: latents -> images."""

    def __init__(self, network: keras.Model, source: str) -> None:
        self.network = network
        self.source = source  # which weights these are, for people
        self.latent_dim: int = network.input_shape[1]
        self.image_shape: tuple[int, int, int] = network.output_shape[1:]

    def __call__(self, latents: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Latents (n, latent_dim) -> float32 images (n, height, width, channels) in [-1, 1]. Raises ValueError."""
        given = np.asarray(latents, np.float32)
        if given.ndim != 2 or given.shape[1] != self.latent_dim:
            raise ValueError(f"latents of shape (n, {self.latent_dim}) are needed, not {given.shape}")
        parts = [self._images(tf.constant(part)).numpy()[:size] for part, size in _padded(given)]
        return np.concatenate(parts) if parts else np.zeros((0, *self.image_shape), np.float32)

    def pixels(self, latents: npt.NDArray[np.float32]) -> Pixels:
        """The same as uint8."""
        parts = [self._pixels(tf.constant(part)).numpy()[:size] for part, size in _padded(latents)]
        return np.concatenate(parts)

    def batches(self, count: int, seed: int) -> Iterator[Pixels]:
        """The first `count` images of a seed, uint8, some at a time."""

        def draw(first: int) -> Pixels:
            drawn: Pixels = self._pixels(self._latents(tf.constant([seed, first // BATCH], tf.int64))).numpy()
            return drawn[: count - first]

        with ThreadPoolExecutor(AT_ONCE) as executor:
            yield from in_order(executor, draw, range(0, count, BATCH), AT_ONCE)

    def sample(self, count: int, seed: int) -> Pixels:
        """The first `count` images of a seed, uint8 (count, height, width, channels)."""
        return np.concatenate([np.zeros((0, *self.image_shape), np.uint8), *self.batches(count, seed)])

    def latents(self, count: int, seed: int) -> npt.NDArray[np.float32]:
        """The latents of `sample`, N(0, 1), of shape (count, latent_dim): a function of the seed alone."""
        numbers = range(math.ceil(count / BATCH))
        parts = [self._latents(tf.constant([seed, number], tf.int64)).numpy() for number in numbers]
        return np.concatenate(parts)[:count]

    def _latents(self, seed: tf.Tensor) -> tf.Tensor:
        return tf.random.stateless_normal([BATCH, self.latent_dim], seed, alg="philox")

    @tf.function(autograph=False, reduce_retracing=True)
    def _images(self, latents: tf.Tensor) -> tf.Tensor:
        return self.network(latents, training=False)

    @tf.function(autograph=False, reduce_retracing=True)
    def _pixels(self, latents: tf.Tensor) -> tf.Tensor:
        """As `images.to_uint8`, within the graph."""
        values = self.network(latents, training=False)
        values = tf.clip_by_value(tf.where(tf.math.is_finite(values), values, -1.0), -1.0, 1.0)
        return tf.cast(tf.round((values + 1.0) * 127.5), tf.uint8)


def _padded(latents: npt.NDArray[np.float32]) -> Iterator[tuple[npt.NDArray[np.float32], int]]:
    """Batches of one size, and how many rows of each are real."""
    for first in range(0, len(latents), BATCH):
        part = latents[first : first + BATCH]
        yield np.pad(part, ((0, BATCH - len(part)), (0, 0))), len(part)


def spherical(first: npt.NDArray[Any], last: npt.NDArray[Any], steps: int) -> npt.NDArray[np.float32]:
    """(n, dim), (n, dim) -> (steps, n, dim): spherical interpolation (White 2016), both ends included.

    Normal latents lie near a sphere, and the straight line between two of them leaves it.
    """
    a, b = np.asarray(first, np.float64), np.asarray(last, np.float64)
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    cosine = np.clip(np.sum(a * b, axis=1) / np.maximum(lengths, 1e-12), -1, 1)
    angle = np.arccos(cosine)[None, :, None]
    way = np.linspace(0, 1, steps)[:, None, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        curved = (np.sin((1 - way) * angle) * a + np.sin(way * angle) * b) / np.sin(angle)
    return np.where(np.sin(angle) < 1e-6, (1 - way) * a + way * b, curved).astype(np.float32)


# Loading -----------------------------------------------------------------------------------------


def load_generator(
    run: runs.Run, checkpoint: str | None = None, raw: bool = False, precision: str | None = None
) -> Generator:
    """The generator of a run, with averaged weights where the run kept them and `raw` is false. Raises RunError.

    `checkpoint` is an iteration, `best` or `last`; null is what the run ended with, or its newest checkpoint while
    it trains. `precision` null is that of the run.
    """
    paths = generator_files.candidates(run, checkpoint, raw)
    with contextlib.suppress(RuntimeError):  # in use already
        for gpu in tf.config.list_physical_devices("GPU"):  # a run that trains there needs the rest of the memory
            tf.config.experimental.set_memory_growth(gpu, True)
    settings = _config(run)
    settings.precision = precision or settings.precision
    network = build_generator(Architecture.of(settings))
    weights, source = _weights(paths, network, raw)
    network.set_weights(weights)
    return Generator(network, source)


def _config(run: runs.Run) -> config.Config:
    try:
        return config.from_mapping(run.config())
    except config.ConfigError as error:
        raise runs.RunError(f"{run.folder / runs.CONFIG} can't be used: {error}") from error


def _weights(paths: Sequence[Path], network: keras.Model, raw: bool) -> tuple[list[npt.NDArray[Any]], str]:
    """The weights in the first of the files that is not a damaged checkpoint, and where they come from."""
    for path in paths:
        if path.suffix != runs.CHECKPOINT_SUFFIX:
            return read_weights(path, network), path.name
        try:
            return _checkpoint_weights(path, network, raw)
        except checkpoints.DamageError as error:  # or removed by the run at this instant
            damage = error
    raise runs.RunError(str(damage))


def _checkpoint_weights(path: Path, network: keras.Model, raw: bool) -> tuple[list[npt.NDArray[Any]], str]:
    """Raises DamageError and RunError."""
    arrays = checkpoints.load(path).arrays
    owner = "averaged_generator" if "averaged_generator.000" in arrays and not raw else "generator"
    found = [arrays.get(f"{owner}.{number:03}") for number in range(len(network.weights))]
    for number, (weight, array) in enumerate(zip(network.weights, found, strict=True)):
        if array is None or array.shape != tuple(weight.shape):
            told = "missing" if array is None else f"of shape {array.shape}"
            raise runs.RunError(f"{path} does not fit the configuration: {owner}.{number:03} is {told}")
    return [array for array in found if array is not None], f"checkpoint {int(path.stem)}"


def read_weights(path: Path, network: keras.Model) -> list[npt.NDArray[Any]]:
    """The numbers of a `.keras` file, in the order of `network.weights`. Raises RunError."""
    try:
        with zipfile.ZipFile(path) as archive:
            member = archive.getinfo(WEIGHTS)
            if member.file_size > MOST_WEIGHTS_BYTES:
                raise ValueError(f"it holds {member.file_size} bytes, too many")
            content = archive.read(member)
        with h5py.File(io.BytesIO(content), "r") as file:
            return _read_layers(file, network)
    except Exception as error:  # damaged bytes make the parsers stumble in many ways
        told = str(error).partition("\n")[0] or type(error).__name__
        raise runs.RunError(f"{path} can't be read as this run's generator: {told}") from error


def _read_layers(file: h5py.File, network: keras.Model) -> list[npt.NDArray[Any]]:
    """Keras numbers the layers of each class within a network: conv2d, conv2d_1, ..."""
    found, made = [], dict[str, int]()
    for layer in network.layers:
        name = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=.)(?=[A-Z][a-z])", "_", type(layer).__name__).lower()
        number = made[name] = made.get(name, -1) + 1
        place = f"layers/{name}_{number}" if number else f"layers/{name}"
        found += [_read_numbers(file, f"{place}/vars/{i}", tuple(w.shape)) for i, w in enumerate(layer.weights)]
    held = sum(len(group["vars"]) for group in file["layers"].values())
    if held != len(found):
        raise ValueError(f"it holds {held} tensors where the configuration asks for {len(found)}")
    return found


def _read_numbers(file: h5py.File, place: str, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    for depth in range(1, place.count("/") + 2):
        link = file.get("/".join(place.split("/")[:depth]), getlink=True)
        if not isinstance(link, h5py.HardLink):  # a link of another kind could reach into other files
            raise ValueError(f"{place} is missing" if link is None else f"{place} is no plain tensor")
    tensor = file[place]
    if not isinstance(tensor, h5py.Dataset) or tensor.external or tensor.is_virtual or tensor.dtype.kind not in "fV":
        raise ValueError(f"{place} is no plain tensor")
    if tensor.shape != shape:
        raise ValueError(f"{place} has the shape {tensor.shape} where the configuration asks for {shape}")
    return np.asarray(tensor[()], np.float32)
