"""Files that hold arrays, against pickle's and numpy's own reading; tests/test_data.py damages them."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from cifar_files import cifar_batch, write_cifar

from dcgan_exp import array_files


@pytest.mark.filterwarnings("ignore:numpy.core:DeprecationWarning")  # the name of 2009 in the file
def test_a_batch_of_cifar10_is_read_as_unpickling_would() -> None:
    random = np.random.default_rng(0)
    content = cifar_batch(random.integers(0, 256, (4, 32, 32, 3), np.uint8), [3, 9, 0, 255])
    unpickled = pickle.loads(content, encoding="bytes")  # what Keras does
    images, labels = array_files.read_cifar(content)
    expected = unpickled[b"data"].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    np.testing.assert_array_equal(images, expected)
    assert labels.tolist() == unpickled[b"labels"]


def test_a_pickle_that_runs_code_only_fails(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(tmp_path / "made"),)

    with pytest.raises(ValueError, match="0 images"):
        array_files.read_cifar(pickle.dumps({"data": Bomb(), "labels": [1]}))
    assert not (tmp_path / "made").exists()


def test_the_folder_of_cifar10_is_read_in_its_order(tmp_path: Path) -> None:
    expected = write_cifar(tmp_path / "batches")
    parts = array_files.read_cifar_folder(tmp_path / "batches")
    assert parts.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(parts[name], array)


@pytest.mark.parametrize("key", ["x_train", "train_images", "images", "arr_0", "whatever"])
def test_an_archive_may_use_the_names_of_others(tmp_path: Path, key: str) -> None:
    images = np.arange(2 * 8 * 8, dtype=np.uint8).reshape(2, 8, 8)
    np.savez(tmp_path / "own.npz", **{key: images})
    np.testing.assert_array_equal(array_files.read_npz(tmp_path / "own.npz")["images"], images)


def test_an_array_of_objects_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "own.npy", np.array([{}]), allow_pickle=True)
    with pytest.raises(ValueError, match=r"allow_pickle|Python objects"):
        array_files.read_npy(tmp_path / "own.npy")
