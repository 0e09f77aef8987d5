"""The feature networks: the shipped ones' worth, training to the bit, the cache."""

import hashlib
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dcgan_exp import features
from dcgan_exp.config import compose
from dcgan_exp.data import DEBIAN_FASHION_MNIST, Dataset, load
from dcgan_exp.user_cache import cache_folder

SHARED_MNIST = Path(__file__).resolve().parents[2] / "shared" / "data" / "mnist.npz"


@pytest.fixture(scope="module")
def blobs() -> Dataset:
    """Two classes that a classifier learns at once: bright and dark 8-pixel squares."""
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, 600) * 7 + 3  # labels need not count from 0
    images = (random.integers(0, 60, (600, 8, 8, 1)) + 150 * (labels == 10)[:, None, None, None]).astype(np.uint8)
    return Dataset("blobs", images, labels, None, None, "made here", "f" * 64)


def test_shipped_weights_are_small_and_hold_no_pickle() -> None:
    for name in set(features.SHIPPED.values()):
        path = features.WEIGHTS_FOLDER / f"{name}.npz"
        assert path.stat().st_size < 500_000
        with np.load(path, allow_pickle=False) as archive:
            assert all(archive[key].dtype != object for key in archive.files)


def test_a_network_is_named_by_its_files_hash() -> None:
    content = (features.WEIGHTS_FOLDER / "mnist.npz").read_bytes()
    assert features.shipped("mnist").sha256 == hashlib.sha256(content).hexdigest()


def test_mnist_network_knows_the_bundled_digits(all_digits: Dataset) -> None:
    assert all_digits.labels is not None
    assert features.shipped("mnist").accuracy(all_digits.images[::10], all_digits.labels[::10]) >= 99.2


@pytest.mark.skipif(not SHARED_MNIST.exists(), reason="needs the full MNIST")
def test_mnist_network_has_the_promised_accuracy() -> None:
    dataset = load(compose(["data=mnist", f"data.path={SHARED_MNIST}"]).data)
    assert dataset.test_images is not None
    assert dataset.test_labels is not None
    assert features.shipped("mnist").accuracy(dataset.test_images, dataset.test_labels) >= 99.2


@pytest.mark.skipif(not DEBIAN_FASHION_MNIST.exists(), reason="needs Debian's dataset-fashion-mnist")
def test_fashion_mnist_network_has_the_promised_accuracy() -> None:
    dataset = load(compose(["data=fashion_mnist", f"data.path={DEBIAN_FASHION_MNIST}"]).data)
    assert dataset.test_images is not None
    assert dataset.test_labels is not None
    assert features.shipped("fashion_mnist").accuracy(dataset.test_images, dataset.test_labels) >= 91


def test_features_have_a_known_shape_and_scale(all_digits: Dataset) -> None:
    values, probabilities = features.shipped("mnist")(all_digits.images[::25])
    assert values.shape == (200, features.FEATURES)
    assert 0.1 < (values**2).mean() < 2
    assert probabilities is not None
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)


def test_features_do_not_depend_on_the_other_images(all_digits: Dataset) -> None:
    network = features.shipped("mnist")
    images = all_digits.images[::8]
    np.testing.assert_allclose(network(images)[0][600:], network(images[600:])[0], atol=1e-4)


def test_other_sizes_are_brought_to_the_networks(all_digits: Dataset) -> None:
    assert all_digits.labels is not None
    larger = np.repeat(all_digits.images[::50].repeat(2, axis=1).repeat(2, axis=2), 3, axis=3)
    assert features.shipped("mnist").accuracy(larger, all_digits.labels[::50]) >= 97


@pytest.mark.parametrize("image_shape", [(8, 8, 1), (28, 28, 1), (64, 64, 3), (100, 100, 3)])
def test_a_network_for_each_image_shape(image_shape: tuple[int, int, int]) -> None:
    assert [output.shape for output in features.build(image_shape, 7).outputs] == [(None, 128), (None, 7)]


def test_shifted_images_are_moved_whole() -> None:
    images = np.zeros((50, 9, 9, 1), np.uint8)
    images[:, 4, 4] = 200
    moved = features.shifted(images, np.random.default_rng(0))
    assert (moved.sum(axis=(1, 2, 3)) == 200).all()
    assert len({tuple(np.argwhere(image)[0]) for image in moved}) > 10


TRAIN = """
import sys, hashlib, tensorflow as tf, numpy as np
from dcgan_exp import features
tf.config.threading.set_intra_op_parallelism_threads(2)
tf.config.experimental.enable_op_determinism()
images = np.random.default_rng(0).integers(0, 256, (600, 8, 8, 1)).astype(np.uint8)
content = features.train(images, np.arange(600) % 3, epochs=2)
print(hashlib.sha256(content).hexdigest())
"""


def test_training_gives_the_same_bytes_in_another_process() -> None:
    hashes = {
        subprocess.run([sys.executable, "-c", TRAIN], capture_output=True, check=True).stdout.strip() for _ in range(2)
    }
    assert len(hashes) == 1


def test_a_labelled_set_is_trained_for_once(blobs: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    first = features.network_for(blobs)
    assert blobs.labels is not None
    assert first.accuracy(blobs.images, blobs.labels) > 95
    monkeypatch.setattr(features, "train", None)
    assert features.network_for(blobs).sha256 == first.sha256
    assert len(list(cache_folder("features").iterdir())) == 1


def test_a_training_that_is_stopped_leaves_nothing(
    blobs: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    told = []

    def note(text: str) -> None:
        told.append(text)
        if len(told) == 3:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        features.network_for(blobs, note)
    assert told[0] == "training a feature network, once: 0 %"
    assert list(tmp_path.rglob("*.npz")) == []


def test_a_damaged_cache_or_one_that_cannot_be_written_is_no_obstacle(
    blobs: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert blobs.labels is not None
    content = features.train(blobs.images[:50], blobs.labels[:50], epochs=1)
    monkeypatch.setattr(features, "train", lambda *_: content)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    sound = features.cached("damaged", blobs.images, blobs.labels)
    (path,) = cache_folder("features").iterdir()
    path.write_bytes(content[:1000])
    assert features.cached("damaged", blobs.images, blobs.labels).sha256 == sound.sha256
    assert path.read_bytes() == content
    monkeypatch.setenv("XDG_CACHE_HOME", "/dev/null")
    assert features.cached("unwritable", blobs.images, blobs.labels).sha256 == sound.sha256


def test_a_set_that_is_not_what_its_name_says_gets_its_own_network(
    blobs: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    content = features.train(blobs.images[:50], blobs.labels[:50], epochs=1)
    monkeypatch.setattr(features, "train", lambda *_: content)
    assert features.network_for(replace(blobs, name="mnist")).name == "trained on ffffffff"


def test_a_set_without_labels_gets_fixed_random_convolutions(blobs: Dataset) -> None:
    networks = [features.network_for(replace(blobs, labels=None)) for _ in range(2)]
    assert networks[0].sha256 == networks[1].sha256
    assert networks[0](blobs.images[:10])[1] is None


def test_a_set_of_names_rather_than_kinds_gets_them_too(blobs: Dataset) -> None:
    people = replace(blobs, labels=np.arange(600) // 3)
    assert features.network_for(people).name == "random_convolutions"


def test_command_trains_and_says_the_hash(tmp_path: Path, all_digits: Dataset) -> None:
    path, output = tmp_path / "few.npz", tmp_path / "weights.npz"
    assert all_digits.labels is not None
    np.savez(path, x_train=all_digits.images[::10], y_train=all_digits.labels[::10])
    command = [sys.executable, "-m", "dcgan_exp.features", "mnist", "--path", path, "--output", output, "--epochs", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert hashlib.sha256(output.read_bytes()).hexdigest() in done.stderr
