"""What telling a tracker costs a run, as a share of its time.

    python benchmarks/trackers.py                               # the defaults
    python benchmarks/trackers.py training=quick model=narrow   # any overrides

Each tracker that is installed is told a whole run: start, a row and a grid for each `sample_interval`, end. Its
processor time (that of all this process's threads, none of which does anything else then) and the time that the
training waits are set beside the run's iterations, of which some are timed before. W&B's own process counts too.
"""

import argparse
import importlib.util
import os
import resource
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from dcgan_exp import images
from dcgan_exp.config import Config, compose
from dcgan_exp.gan import GAN
from dcgan_exp.runs import MEASURES
from dcgan_exp.trackers import PACKAGES, Tracker


def iteration_seconds(config: Config, iterations: int = 30) -> float:
    """Of this machine, now."""
    gan = GAN(config, np.random.default_rng(0).integers(0, 256, (5_000, *config.data.image_shape), dtype=np.uint8))
    gan.train(0, 3)  # traced and warm
    started = time.perf_counter()
    gan.train(3, iterations)
    return (time.perf_counter() - started) / iterations


def processor_seconds() -> float:
    """Of this process, and of those that it started and that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(times.ru_utime + times.ru_stime for times in used)


def told(config: Config, folder: Path, grid: Path, count: int) -> tuple[float, float]:
    """(processor seconds, seconds that the training waited) of telling a run with so many rows."""
    before, waited = processor_seconds(), 0.0
    tracker = Tracker(config, folder)
    for number in range(1, count + 1):
        measures = dict.fromkeys(MEASURES, 1.0 / number)
        started = time.perf_counter()
        tracker.report(number * config.sample_interval, measures, grid)
        waited += time.perf_counter() - started
    tracker.finish("finished")
    return processor_seconds() - before, waited


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("overrides", nargs="*")
    overrides = parser.parse_args().overrides
    config = compose(overrides)
    count = config.iterations // config.sample_interval
    training = iteration_seconds(config) * config.iterations
    print(f"{config.iterations:,} iterations, {count} rows and grids: about {training:.0f} s")
    samples = np.random.default_rng(0).integers(0, 256, (16, *config.data.image_shape), dtype=np.uint8)
    with tempfile.TemporaryDirectory() as temporary:
        grid = Path(temporary, "grid.png")
        grid.write_bytes(images.grid_png(samples))
        for name in (name for name, package in PACKAGES.items() if importlib.util.find_spec(package)):
            folder = Path(temporary, name)
            folder.mkdir()
            own = [f"tracker.uri={(folder / 'store').as_uri()}"] if name == "mlflow" else []
            worked, waited = told(compose([*overrides, f"tracker={name}", *own]), folder, grid, count)
            share = worked / training
            print(f"{name}: {worked:.2f} s of processor time, {share:.3%}; the training waited {waited:.4f} s")


if __name__ == "__main__":
    main()
