"""Images that stay in their file, as those of a large folder do, beside the same ones in memory.

    python benchmarks/folder_training.py                  # 4 GB of 64x64 RGB images; they need as much disk
    python benchmarks/folder_training.py --gigabytes 8 --rounds 5

It prints the time of an iteration from the file as a share of that from memory, medians of rounds in turns, and the
anonymous memory (RssAnon) of this process while it trains from the large file.
"""

import argparse
import os
import re
import statistics
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from dcgan_exp import gan as gan_module
from dcgan_exp.config import compose
from dcgan_exp.gan import GAN
from dcgan_exp.image_arrays import IN_MEMORY_BYTES, Images

SIZE, FEW = 64, 5_000  # pixels; images that fit into memory
NETWORKS = ("model=paper", "model.generator.widths=[128,64,32,16]", "model.discriminator.widths=[16,32,64,128]")


def images_on_disk(path: Path, count: int) -> Images:
    """Random images in a file, mapped into memory, as the cache of a folder is."""
    some = np.random.default_rng(0).integers(0, 256, (1_000, SIZE, SIZE, 3), np.uint8)
    with open(path, "wb") as file:
        for first in range(0, count, len(some)):
            file.write(some[: count - first].tobytes())
    return np.memmap(path, np.uint8, "r", shape=(count, SIZE, SIZE, 3))


def anonymous_gigabytes() -> float:
    """RssAnon: what this process holds beside files that are mapped."""
    found = re.search(r"RssAnon:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return int(found[1]) / 1e6


def make_gan(images: Images, is_mapped: bool) -> GAN:
    """A GAN that takes its images from where the test wants them, whatever their size."""
    gan_module.IN_MEMORY_BYTES = 0 if is_mapped else images.nbytes
    overrides = (f"data.image_size={SIZE}", "data.channels=3", "batch_size=64", "update=shared", *NETWORKS)
    gan = GAN(compose(["data=image_folder", *overrides]), images)
    gan.train(0, 2)  # traced, compiled and warm
    return gan


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=4.0, help="of the file that memory is watched with")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--iterations", type=int, default=20, help="in each round")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        few = images_on_disk(Path(temporary, "few"), FEW)
        gans = {"memory": make_gan(np.array(few), False), "file": make_gan(few, True)}
        seconds: dict[str, list[float]] = {name: [] for name in gans}
        for turn in range(chosen.rounds):
            for name, gan in gans.items():
                started = time.perf_counter()
                gan.train(2 + turn * chosen.iterations, chosen.iterations)
                seconds[name].append((time.perf_counter() - started) / chosen.iterations)
        medians = {name: statistics.median(values) for name, values in seconds.items()}
        print(
            f"an iteration from memory {1e3 * medians['memory']:.0f} ms, from the file {1e3 * medians['file']:.0f} ms"
        )
        shares = [file / memory for file, memory in zip(seconds["file"], seconds["memory"], strict=True)]
        print(f"from the file: {statistics.median(shares):.3f} of the time from memory")
        del gans
        many = images_on_disk(Path(temporary, "many"), int(chosen.gigabytes * 1e9) // few[0].nbytes)
        assert many.nbytes > IN_MEMORY_BYTES
        before, gan, most = anonymous_gigabytes(), make_gan(many, True), 0.0
        for iteration in range(2, 2 + chosen.iterations):
            gan.train(iteration, 1)
            most = max(most, anonymous_gigabytes())
        print(f"training from {many.nbytes / 1e9:.2f} GB: at most {most:.2f} GB anonymous, {before:.2f} before")


if __name__ == "__main__":
    main()
