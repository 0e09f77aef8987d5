"""The feature networks: small classifiers in whose features samples are scored. Build, train, load.

    python -m dcgan_exp.features mnist --output mnist.npz     # how dcgan_exp/weights/ was made

Scores of different networks can't be compared, so a network is named by the SHA-256 of its weights file. The two
shipped ones serve MNIST and Fashion-MNIST; any other labelled set gets its own, trained once and kept in the
user's cache folder, which is safe to delete. A set without labels is seen through fixed random convolutions.
"""

import argparse
import hashlib
import io
import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from dcgan_exp import user_cache
from dcgan_exp.config import ConfigError, compose
from dcgan_exp.data import DATASETS, Dataset, load
from dcgan_exp.image_arrays import Images, Labels, fit
from dcgan_exp.runs import whole_file

WEIGHTS_FOLDER = Path(__file__).resolve().parent / "weights"
SHIPPED = {"mnist": "mnist", "mnist_5k": "mnist", "fashion_mnist": "fashion_mnist"}  # data set -> weights
MOST_CLASSES, LEAST_OF_A_CLASS = 1000, 10  # more classes, or fewer images of each, are names rather than kinds
RECOGNISED_PERCENT = 85.0  # of a set's own labels: below, the set is another than its name says
RECIPE = 2  # part of a cached network's file name: a change of the training makes the old ones unused

FEATURES = 128
LARGEST_INPUT = 64  # pixels: larger images are averaged down
BATCH_SIZE, LEARNING_RATE, SHIFT = 256, 2e-3, 2  # images, Adam's at the start, pixels
EPOCHS, MOST_EPOCHS, LEAST_STEPS = 5, 40, 500  # the first for large sets; small ones need more to be learnt at all
INFERENCE_BATCH = 500

Note = Callable[[str], object]

log = logging.getLogger(__name__)


def ignore(_text: str) -> None:
    """For who does not want to know what takes so long."""


class FeatureNetwork:
    """Images -> features and class probabilities, with the name and the hash of the weights that decide them."""

    def __init__(self, name: str, content: bytes) -> None:
        """`content` is a weights file's. Raises nearly anything where it is damaged."""
        self.name = name
        self.sha256 = hashlib.sha256(content).hexdigest()
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            self.image_shape = tuple(int(size) for size in archive["image_shape"])
            self.labels: Labels | None = archive["labels"] if len(archive["labels"]) else None
            weights = [archive[f"{index:02d}"] for index in range(len(archive.files) - 2)]
        self._model = build(self.image_shape, 1 if self.labels is None else len(self.labels))
        self._model.set_weights([weight.astype(np.float32) for weight in weights])
        self._infer = tf.function(self._outputs, autograph=False, reduce_retracing=True)

    def _outputs(self, images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        features, logits = self._model(scaled(images), training=False)
        return features, tf.nn.softmax(logits)

    def __call__(self, images: Images) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
        """uint8 (n, height, width, channels), of any size -> features (n, 128), probabilities (n, classes).

        The probabilities are null for random convolutions.
        """
        size, _, channels = self.image_shape
        parts = [self._infer(fit(batch, size, channels)) for batch in batches(images, INFERENCE_BATCH)]
        features = np.concatenate([part[0].numpy() for part in parts]).astype(np.float64)
        if self.labels is None:
            return features, None
        return features, np.concatenate([part[1].numpy() for part in parts]).astype(np.float64)

    def accuracy(self, images: Images, labels: Labels) -> float:
        """The percentage of images whose label has the highest probability."""
        _, probabilities = self(images)
        assert probabilities is not None
        assert self.labels is not None
        return float(100 * np.mean(self.labels[probabilities.argmax(axis=1)] == labels))


def archive_labels(labels: Labels | None) -> Labels:
    """A weights file's entry: the labels in the order of the classes; none for random convolutions."""
    return np.zeros(0, np.int64) if labels is None else labels


def batches(images: Images, size: int) -> Iterator[Images]:
    """Consecutive slices of at most `size` images."""
    for start in range(0, len(images), size):
        yield images[start : start + size]


def scaled(images: tf.Tensor) -> tf.Tensor:
    """uint8 -> float32 in [-1, 1]."""
    return tf.cast(images, tf.float32) / 127.5 - 1.0


# Build and train ---------------------------------------------------------------------------------


def build(image_shape: Sequence[int], classes: int, seed: int = 0) -> keras.Model:
    """(n, *image_shape) in [-1, 1] -> features (n, 128), logits (n, classes).

    Convolutions of stride 2 lead down to 4 pixels or fewer; batch normalisation holds the features' mean square
    near one half, whatever the images.
    """
    layers, seeds = keras.layers, iter(range(100 * seed, 100 * seed + 100))
    inputs = outputs = keras.Input(image_shape)
    size = image_shape[0]
    if size > LARGEST_INPUT:
        outputs = layers.AveragePooling2D(-(-size // LARGEST_INPUT), padding="same")(outputs)
        size = outputs.shape[1]

    def convolution(outputs: keras.KerasTensor, width: int, stride: int) -> keras.KerasTensor:
        initializer = keras.initializers.HeNormal(next(seeds))
        convolved = layers.Conv2D(width, 3, stride, "same", use_bias=False, kernel_initializer=initializer)(outputs)
        return layers.ReLU()(layers.BatchNormalization(momentum=0.9)(convolved))

    outputs = convolution(outputs, 32, 1)
    while size > 4:
        outputs, size = convolution(outputs, 64, 2), -(-size // 2)
    initializer = keras.initializers.HeNormal(next(seeds))
    outputs = layers.Dense(FEATURES, use_bias=False, kernel_initializer=initializer)(layers.Flatten()(outputs))
    features = layers.ReLU(name="features")(layers.BatchNormalization(momentum=0.9)(outputs))
    dropped = layers.Dropout(0.3, seed=next(seeds))(features)
    logits = layers.Dense(classes, kernel_initializer=keras.initializers.GlorotUniform(next(seeds)))(dropped)
    return keras.Model(inputs, [features, logits])


def shifted(images: Images, random: np.random.Generator) -> Images:
    """Each image moved by up to SHIFT pixels in both directions; its border pixels fill the gap."""
    count, height, width = images.shape[:3]
    padded = np.pad(images, ((0, 0), (SHIFT, SHIFT), (SHIFT, SHIFT), (0, 0)), mode="edge")
    top, left = random.integers(0, 2 * SHIFT + 1, (2, count, 1))
    rows, columns = top + np.arange(height), left + np.arange(width)
    moved: Images = padded[np.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :]]
    return moved


def steps_per_epoch(images: Images) -> int:
    """The batches in which all images are learnt once."""
    return max(1, len(images) // BATCH_SIZE)


def train(images: Images, labels: Labels, epochs: int = EPOCHS, note: Note = ignore) -> bytes:
    """A weights file of a network that tells the labels apart: a function of images, labels and epochs alone.

    Adam with cosine decay, small shifts; the same bits on the same machine, versions and thread count. `note` is told
    before each step how far it is; what it raises ends the training.
    """
    classes, targets = np.unique(labels, return_inverse=True)
    model = build(images.shape[1:], len(classes))
    steps = steps_per_epoch(images)
    optimizer = keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(LEARNING_RATE, epochs * steps))
    optimizer.build(model.trainable_variables)

    def step(batch: tf.Tensor, batch_targets: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            _, logits = model(scaled(batch), training=True)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(batch_targets, logits)
            loss = tf.reduce_mean(losses)
        optimizer.apply(tape.gradient(loss, [v.value for v in model.trainable_variables]), model.trainable_variables)
        return loss

    compiled = tf.function(step, autograph=False, reduce_retracing=True)
    for epoch in range(epochs):
        random = np.random.Generator(np.random.PCG64([0, epoch]))
        order = random.permutation(len(images))
        for number, chosen in enumerate(np.array_split(order, steps)):
            note(f"training a feature network, once: {100 * (epoch * steps + number) // (epochs * steps)} %")
            loss = compiled(shifted(images[chosen], random), targets[chosen])
        log.info("feature network: epoch %d of %d, loss %.4f", epoch + 1, epochs, float(loss))
    return packed(model, images.shape[1:], classes)


def random_convolutions(image_shape: Sequence[int]) -> bytes:
    """A weights file of a network that was never trained: the same for every data set of this image shape."""
    return packed(build(image_shape, 1), image_shape, None)


def packed(model: keras.Model, image_shape: Sequence[int], labels: Labels | None) -> bytes:
    """A weights file: an .npz archive with the weights, as float16, in the order of the layers."""
    weights = [weight for weight in model.get_weights() if weight.dtype == np.float32]  # not the dropout's seed state
    arrays = {f"{index:02d}": weight.astype(np.float16) for index, weight in enumerate(weights)}
    file = io.BytesIO()
    np.savez_compressed(file, image_shape=np.array(image_shape), labels=archive_labels(labels), **arrays)
    return file.getvalue()


# Load --------------------------------------------------------------------------------------------


def network_for(dataset: Dataset, note: Note = ignore) -> FeatureNetwork:
    """The network that scores samples of a data set: shipped, cached, trained now, or random convolutions."""
    images, labels = dataset.images, dataset.labels
    classes = 0 if labels is None else len(np.unique(labels))
    if labels is None or not 2 <= classes <= min(MOST_CLASSES, len(images) // LEAST_OF_A_CLASS):
        return FeatureNetwork("random_convolutions", random_convolutions(images.shape[1:]))
    if dataset.name in SHIPPED:
        network = shipped(SHIPPED[dataset.name])
        some = np.linspace(0, len(images) - 1, min(1000, len(images))).astype(int)
        if network.accuracy(images[some], labels[some]) >= RECOGNISED_PERCENT:
            return network
    return cached(dataset.fingerprint, images, labels, note)


def shipped(name: str) -> FeatureNetwork:
    """One of this package's own networks: `mnist` or `fashion_mnist`."""
    return FeatureNetwork(name, (WEIGHTS_FOLDER / f"{name}.npz").read_bytes())


def cached(fingerprint: str, images: Images, labels: Labels, note: Note = ignore) -> FeatureNetwork:
    """The network of one labelled data set: from the cache folder, else trained and put there."""
    path = user_cache.cache_folder("features") / f"{fingerprint[:32]}-{RECIPE}.npz"
    name = f"trained on {fingerprint[:8]}"
    try:
        return FeatureNetwork(name, path.read_bytes())
    except OSError:  # absent
        pass
    except Exception as error:  # damaged bytes make the parsers stumble in many ways
        log.warning("%s is damaged (%s): the network is trained anew", path, error)
        path.unlink(missing_ok=True)
    log.info("training a feature network for this data set, once: it will be kept as %s", path)
    epochs = math.ceil(LEAST_STEPS / steps_per_epoch(images))
    content = train(images, labels, min(max(EPOCHS, epochs), MOST_EPOCHS), note)
    with suppress(OSError):  # a cache that can't be written to only costs another training
        user_cache.add(content, path)
        content = path.read_bytes()  # another process's that came first wins
    return FeatureNetwork(name, content)


# Command -----------------------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> int:
    """Train the feature network of a data set and write its weights file."""
    parser = argparse.ArgumentParser("python -m dcgan_exp.features", description=main.__doc__)
    parser.add_argument("data", choices=sorted(DATASETS))
    parser.add_argument("--path", help="the data set's file or folder, as data.path")
    parser.add_argument("--output", type=Path, required=True, help="the weights file, .npz")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    chosen = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        dataset = load(compose([f"data={chosen.data}", *([f"data.path={chosen.path}"] if chosen.path else [])]).data)
    except ConfigError as error:
        parser.error(str(error))
    if dataset.labels is None:
        parser.error(f"{dataset.source} holds no labels")
    tf.config.experimental.enable_op_determinism()
    started = time.perf_counter()
    content = train(dataset.images, dataset.labels, chosen.epochs)
    with whole_file(chosen.output) as path:
        path.write_bytes(content)
    network = FeatureNetwork(chosen.output.stem, content)
    log.info("%s: %d bytes, sha256 %s", chosen.output, len(content), network.sha256)
    if dataset.test_images is not None and dataset.test_labels is not None:
        log.info("test accuracy %.2f %%", network.accuracy(dataset.test_images, dataset.test_labels))
    log.info("%.0f seconds", time.perf_counter() - started)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
