"""Seconds until a folder of image files has been seen once: this project's decoding beside Keras' own.

    python benchmarks/decoding.py                        # 60,000 grey PNGs of 28 pixels, made for it
    python benchmarks/decoding.py --kind jpeg            # 5,000 RGB JPEGs of 32 pixels
    python benchmarks/decoding.py --folder photos --image-size 64

The contenders take turns; ours fills an empty cache each time, and its second reading, from the cache, is told too.
"""

import argparse
import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from PIL import Image

from dcgan_exp import image_folders
from dcgan_exp.config import DataConfig

KINDS = {"png": (60_000, 28, 1), "jpeg": (5_000, 32, 3)}  # files, pixels, channels


def make_files(folder: Path, kind: str) -> None:
    """Smooth random images in ten class folders, as compressible as drawings and photographs are."""
    count, size, channels = KINDS[kind]
    random = np.random.default_rng(0)
    for label in range(10):
        (folder / str(label)).mkdir()
    for index in range(count):
        coarse = Image.fromarray(random.integers(0, 256, (5, 5, 3), np.uint8)).convert("L" if channels == 1 else "RGB")
        coarse.resize((size, size), Image.Resampling.BICUBIC).save(folder / str(index % 10) / f"{index:05}.{kind}")


def keras_seconds(folder: Path, size: int, channels: int) -> float:
    """Keras' own data set, iterated once."""
    started = time.perf_counter()
    mode = "grayscale" if channels == 1 else "rgb"
    for _ in keras.utils.image_dataset_from_directory(
        folder, image_size=(size, size), color_mode=mode, batch_size=128, crop_to_aspect_ratio=True, verbose=False
    ):
        pass
    return time.perf_counter() - started


def our_seconds(folder: Path, size: int, channels: int) -> float:
    """Listing, decoding, writing the cache and the fingerprint; or what is left of it where the cache is filled."""
    started = time.perf_counter()
    image_folders.read(folder, DataConfig("image_folder", image_size=size, channels=channels))
    return time.perf_counter() - started


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", choices=KINDS, default="png")
    parser.add_argument("--folder", type=Path, help="a folder of your own instead")
    parser.add_argument("--image-size", type=int, help="pixels; default: the made files' own")
    parser.add_argument("--channels", type=int, choices=(1, 3))
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    size, channels = arguments.image_size or KINDS[arguments.kind][1], arguments.channels or KINDS[arguments.kind][2]
    with tempfile.TemporaryDirectory() as temporary:
        os.environ["XDG_CACHE_HOME"] = str(Path(temporary, "cache"))
        folder = arguments.folder or Path(temporary, "files")
        if not arguments.folder:
            folder.mkdir()
            make_files(folder, arguments.kind)
        keras_seconds(folder, size, channels)  # warm: TensorFlow, and the files in the page cache
        rounds = []
        for _ in range(arguments.rounds):
            shutil.rmtree(image_folders.cache_folder(), ignore_errors=True)
            theirs, ours = keras_seconds(folder, size, channels), our_seconds(folder, size, channels)
            rounds.append((theirs, ours, our_seconds(folder, size, channels)))
            print("keras {:.2f} s, ours {:.2f} s, from the cache {:.2f} s".format(*rounds[-1]))
    ratio = statistics.median(theirs / ours for theirs, ours, _ in rounds)
    print(f"decoding at {ratio:.2f} x the speed of keras.utils.image_dataset_from_directory")


if __name__ == "__main__":
    main()
