"""Jobs side by side against jobs one after the other, in one run on one machine.

    python benchmarks/sweep_parallel.py [--jobs 4]

1. A sweep of short jobs (60 iterations, batch 32): serial seconds / seconds with two at a time; at least 1.3 is wanted.
2. Throughput at batch 128: iterations/s of two jobs with one thread each, together, against one job with two threads;
   at least 1.0 is wanted. Measured between the second and the last row of metrics.csv, while both jobs train.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from dcgan_exp import runs
from dcgan_exp.sweep_folders import Sweep

ROOT = Path(__file__).resolve().parent.parent
PARALLEL = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]


def sweep(folder: Path, *overrides: str) -> tuple[float, list[Path]]:
    """Seconds of a whole sweep, and its run folders."""
    words = [sys.executable, str(ROOT / "run.py"), "-m", "data=mnist_5k", *overrides, f"hydra.sweep.dir={folder}"]
    started = time.perf_counter()
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    seconds = time.perf_counter() - started
    return seconds, [folder / job.folder for job in Sweep(folder).jobs()]


def iterations_per_second(folder: Path) -> float:
    """From the second row on, since tracing takes much of the first."""
    metrics = runs.read(folder).metrics()
    iterations, seconds = metrics["iteration"], metrics["seconds"]
    return (iterations[-1] - iterations[1]) / (seconds[-1] - seconds[1])


def main() -> None:
    """Print both ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=4)
    parser.add_argument("--iterations", type=int, default=120, help="of each job of the second measurement")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        short = ["iterations=60", "batch_size=32", "sample_interval=30", f"seed=range(0,{options.jobs})"]
        serial, _ = sweep(root / "serial", *short)
        parallel, _ = sweep(root / "parallel", *short, *PARALLEL)
        print(f"{options.jobs} jobs of 60 iterations, batch 32: {serial:.1f} s one after the other, "
              f"{parallel:.1f} s two at a time: {serial / parallel:.2f} times sooner")  # fmt: skip
        long = [f"iterations={options.iterations}", "batch_size=128", "sample_interval=20"]
        _, alone = sweep(root / "alone", *long, "seed=0", "threads=2")
        _, together = sweep(root / "together", *long, "seed=0,1", *PARALLEL)
        one, two = iterations_per_second(alone[0]), sum(iterations_per_second(folder) for folder in together)
        print(f"batch 128: {one:.2f} iterations/s of one job with two threads, "
              f"{two:.2f} of two with one thread each: {two / one:.2f}")  # fmt: skip


if __name__ == "__main__":
    main()
