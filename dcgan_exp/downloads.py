"""Files of Keras' data sets: its cache, and the download into it.

A file that is there is only ever read; a download is added where there is none.
"""

import gzip
import hashlib
import logging
import os
import queue
import threading
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

from dcgan_exp import user_cache

# Where Keras downloads from. Each file of its cache with the SHA-256 of what it holds, a .gz file's uncompressed:
# Debian's Fashion-MNIST holds the same bytes under another gzip header.
ORIGIN = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/"
DOWNLOADS = {
    "mnist.npz": "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1",
    "fashion-mnist/train-images-idx3-ubyte.gz": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "fashion-mnist/train-labels-idx1-ubyte.gz": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "fashion-mnist/t10k-images-idx3-ubyte.gz": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "fashion-mnist/t10k-labels-idx1-ubyte.gz": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    "cifar-10-batches-py-target_archive": "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
}
CIFAR10_ORIGIN = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
SILENCE_SECONDS = 5.0  # to connect to one address, and between two packets
ANSWER_SECONDS = 15.0  # until the server answers, over all its addresses and the look-up of its name
DOWNLOAD_SECONDS = 60.0  # for one file, once the server has answered; ten times as long for CIFAR-10's 170 MB
DOWNLOAD_BYTES = 256 * 2**20

log = logging.getLogger(__name__)


def keras_cache() -> Path:
    """The folder in which Keras keeps its data sets."""
    return Path(os.environ.get("KERAS_HOME") or Path("~", ".keras").expanduser(), "datasets")


def fetch(file: str, url: str | None = None) -> BytesIO:
    """A file of Keras' cache from its origin, or from a URL of its own, and into the cache. Raises OSError."""
    seconds = DOWNLOAD_SECONDS if url is None else 10 * DOWNLOAD_SECONDS
    url = url or ORIGIN + file.rpartition("/")[2]
    content = _download(url, seconds)
    if _digest(content, compressed=file.endswith(".gz")) != DOWNLOADS[file]:
        raise OSError(f"{url} gave {len(content)} bytes that are not the known file")
    with suppress(OSError):  # a cache that can't be written to only costs another download
        user_cache.add(content, keras_cache() / file)
    return BytesIO(content)


def _download(url: str, download_seconds: float) -> bytes:
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
    for seconds in (ANSWER_SECONDS, download_seconds):
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
